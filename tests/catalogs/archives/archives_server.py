"""The galaxy of `archives_sky`, served in the way that each archive documents.

The sky within 0.2 deg of it is observed; beyond, each archive answers in its own way.
"""

import contextlib
import io
import itertools
import json
import re
from urllib.parse import parse_qsl

import numpy as np
from archives_sky import DEC, EXPOSURE_S, RA, fits_bytes, observed, sky, tan_wcs
from astropy.io import fits
from astropy.io.votable.tree import (
    Field,
    Group,
    Param,
    Resource,
    TableElement,
    VOTableFile,
)
from PIL import Image
from server import ArchiveServer, Reply

from catalogs.archives.http import Http
from catalogs.archives.limits import Limits
from galaxy_da.surveys import get_survey

_names = map("test-archive-{}".format, itertools.count())


@contextlib.contextmanager
def serving(reply):
    """Yield a server and its own client."""
    limits = Limits(requests_per_second=500, concurrency=4)
    client = Http(next(_names), limits, timeout_s=5.0, attempts=2, backoff_s=0.01)
    with ArchiveServer(reply) as server, client as http:
        yield server, http


def fits_reply(*args, **cards):
    return Reply(fits_bytes(*args, **cards), content_type="image/fits")


def position(request):
    return float(request.params["ra"]), float(request.params["dec"])


LAYERS = (
    "ls-dr11-south", "ls-dr11-north", "ls-dr10-south", "ls-dr9-north", "ls-dr9-south",
)  # fmt: skip


def legacy(request, cap=3000, layers=LAYERS):
    name = request.path.rpartition("/")[2]
    if not request.path.startswith("/viewer/") or name not in ("cutout.fits", "cutout.jpg"):
        return Reply(b"no such page", 404, "text/plain")
    if not {"ra", "dec"} <= request.params.keys():
        return Reply(b"Need ra, dec", 400, "text/plain")
    if request.params.get("layer") not in layers:
        return Reply(b"Invalid layer", 404, "text/plain")
    ra, dec = position(request)
    size = min(int(request.params.get("size", 256)), cap)
    scale = float(request.params.get("pixscale", 0.262))
    wcs = tan_wcs(ra, dec, scale, size, size)
    # interpolated to other pixel scales without rescaling the flux
    cube = np.stack([sky(wcs, size, size, b) for b in request.params["bands"]])
    cube *= observed(ra, dec) * (0.262 / scale) ** 2
    if name == "cutout.jpg":
        return jpeg_reply(viewer_colours(cube[::-1]))
    bands = request.params["bands"]
    numbered = {f"BAND{i}": band for i, band in enumerate(bands)}
    return fits_reply(cube, wcs, SURVEY="LegacySurvey", VERSION="DR10", BANDS=bands, **numbered)


def viewer_colours(zrg, m=0.03, q=20):
    """The viewer's dr2_rgb of (3, y, x) nMgy: the south at the bottom."""
    shifted = zrg * np.array([2.2, 3.4, 6.0])[:, None, None] + m
    intensity = np.maximum(shifted, 0).mean(0) + 1e-6
    return np.moveaxis(shifted * np.arcsinh(q * intensity) / np.sqrt(q) / intensity, 0, -1)[::-1]


def jpeg_reply(colours):
    buffer = io.BytesIO()
    pixels = (np.clip(colours, 0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100, subsampling=0)
    return Reply(buffer.getvalue(), content_type="image/jpeg")


def skyserver(request, release=19):
    if not request.path.lower().endswith("/skyserverws/imgcutout/getjpeg"):
        return Reply(b"", 404)
    ra, dec = position(request)
    side = [int(np.clip(int(request.params[n]), 64, 2048)) for n in ("width", "height")]
    if not observed(ra, dec):
        if release >= 18:
            return Reply(b"Requested (ra, dec) is outside the SDSS footprint.", 404, "text/plain")
        tile = np.zeros((side[1], side[0], 3))
        tile[8:18, 5:-5] = np.arange(side[0] - 10)[None, :, None] % 2  # the words
        return jpeg_reply(tile)
    scale = float(request.params["scale"])
    wcs = tan_wcs(ra, dec, scale, *side)
    flux = np.stack([sky(wcs, *side, b) for b in "irg"]) * (0.396 / scale) ** 2
    noise = np.random.default_rng(0).normal(0, 5e-4, flux.shape)
    scaled = (flux + noise) * np.array([2.57, 2.91, 3.46])[:, None, None]
    intensity = np.maximum(scaled.mean(0), 1e-6)
    stretched = scaled * np.arcsinh(9.62 * intensity) / 9.62 / intensity
    return jpeg_reply(np.moveaxis(stretched, 0, -1)[::-1])


def panstarrs(request, compressed=True):
    ra, dec = position(request)
    if request.path == "/cgi-bin/ps1filenames.py":
        head = "projcell subcell ra dec filter mjd type filename shortname badflag"
        rows = [
            f"1329 5 {ra} {dec} {b} 0 stack /rings.v3.skycell/1329/005/c.stk.{b}.fits c.{b}.fits 0"
            for b in request.params["filters"]
            if observed(ra, dec)
        ]
        return Reply("\n".join([head, *rows, ""]).encode(), content_type="text/plain")
    if request.path != "/cgi-bin/fitscut.cgi" or request.params["format"] != "fits":
        return Reply(b"", 404)
    band = request.params["red"].split(".")[-2]
    size = int(request.params["size"])
    wcs = tan_wcs(ra, dec, 0.25, size, size)
    zeropoint = 25 + 2.5 * np.log10(EXPOSURE_S[band])
    counts = sky(wcs, size, size, band) * 10 ** (0.4 * (zeropoint - 22.5))
    cards = {"EXPTIME": EXPOSURE_S[band], "RADESYS": "FK5"}
    if compressed:
        alpha, soften, offset = 1.0857362, 95.4, 2.25
        counts = alpha * np.arcsinh((counts - offset) / (2 * soften))
        cards |= {"BSOFTEN": soften, "BOFFSET": offset}
    data = fits_bytes(counts, wcs, **cards)
    with fits.open(io.BytesIO(data)) as hdus:  # the archive's obsolete WCS cards
        header = hdus[0].header
        header["CDELT1"] = abs(header["CDELT1"])
        for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
            header[f"PC00{i}00{j}"] = {(1, 1): -1.0, (2, 2): 1.0}.get((i, j), 0.0)
        buffer = io.BytesIO()
        hdus.writeto(buffer)
    return Reply(buffer.getvalue(), content_type="image/fits")


def das_cutout(request, account=("astronomer", "secret")):
    if request.account != account:
        headers = {"WWW-Authenticate": 'Basic realm="HSC"'}
        return Reply(b"Unauthorized", 401, "text/plain", headers)
    if request.path != "/das_cutout/pdr3/cgi-bin/cutout" or request.params["type"] != "coadd":
        return Reply(b"bad request", 400, "text/plain")
    if request.params["image"] != "on" or request.params["rerun"] not in ("pdr3_wide",):
        return Reply(b"bad request", 400, "text/plain")
    ra, dec = position(request)
    if not observed(ra, dec):
        return Reply(b"No image", 404, "text/plain")
    semi = [float(request.params[name].removesuffix("arcsec")) for name in ("sw", "sh")]
    width, height = (2 * round(s / 0.168) + 1 for s in semi)
    band = request.params["filter"].removeprefix("HSC-").lower()
    wcs = tan_wcs(ra, dec, 0.168, width, height)
    counts = sky(wcs, width, height, band) * 10 ** (0.4 * (27 - 22.5))
    return fits_reply(counts, wcs, in_extension=True, FLUXMAG0=10 ** (0.4 * 27))


def hips2fits(request):
    problem = {"title": "Bad request", "description": "unknown HiPS"}
    if not request.params["hips"].startswith("CDS/P/"):
        return Reply(json.dumps(problem).encode(), 400, "application/json")
    ra, dec = position(request)
    width, height = int(request.params["width"]), int(request.params["height"])
    scale = float(request.params["fov"]) * 3600 / max(width, height)
    wcs = tan_wcs(ra, dec, scale, width, height)
    flux = sky(wcs, width, height, request.params["hips"].rpartition("/")[2])
    return fits_reply(np.where(observed(ra, dec), flux, np.nan), wcs)


def votable(columns, rows, services=()):
    """VOTable of text and float columns; services are (ivoid, url, parameters)."""
    file = VOTableFile()
    resource = Resource(type="results")
    file.resources.append(resource)
    table = TableElement(file)
    resource.tables.append(table)
    for name, ucd in columns.items():
        text = not name.startswith(("s_", "em_", "ra", "dec"))
        kind = {"datatype": "char", "arraysize": "*"} if text else {"datatype": "double"}
        table.fields.append(Field(file, name=name, ID=name, ucd=ucd or None, **kind))
    table.create_arrays(len(rows))
    for number, row in enumerate(rows):
        table.array[number] = tuple(row[name] for name in columns)
    for ivoid, url, parameters in services:
        meta = Resource(type="meta", utype="adhoc:service")
        for name, value in (("standardID", ivoid), ("accessURL", url)):
            meta.params.append(Param(file, name=name, datatype="char", arraysize="*", value=value))
        group = Group(file, name="inputParams")
        for name, value in parameters.items():
            kind = {"datatype": "double", "arraysize": "3"} if name == "CIRCLE" else {}
            kind = kind or {"datatype": "char", "arraysize": "*"}
            value = [0.0, 0.0, 0.0] if name == "CIRCLE" else value
            xtype = "circle" if name == "CIRCLE" else None
            param = Param(file, name=name, value=value, xtype=xtype, **kind)
            group.entries.append(param)
        meta.groups.append(group)
        file.resources.append(meta)
    buffer = io.BytesIO()
    file.to_xml(buffer)
    return Reply(buffer.getvalue(), content_type="application/x-votable+xml")


OBSCORE = {
    "obs_id": "",
    "obs_collection": "",
    "dataproduct_subtype": "",
    "energy_bandpassname": "",
    "access_url": "meta.ref.url",
    "access_format": "meta.code.mime",
    "s_ra": "",
    "s_dec": "",
    "em_min": "",
    "em_max": "",
}


def image_access(
    request, survey, subtype, base, format_="application/x-votable+xml;content=datalink"
):
    """SIA 2 and the services in its records: DataLink and SODA, or IRSA's cutouts by parameter."""
    definition = get_survey(survey)
    if request.path == "/sia/query":
        ra, dec, _ = (float(word) for word in request.params["POS"].split()[1:])
        kinds = (subtype, "raw")
        rows = [
            {
                "obs_id": f"{band.name}{shift}",
                "obs_collection": request.params.get("COLLECTION", ""),
                "dataproduct_subtype": kind,
                "energy_bandpassname": band.name,
                "access_url": f"{base()}/links?ID={band.name}"
                if "datalink" in format_
                else f"{base()}/ibe/data/{band.name}.fits",
                "access_format": format_,
                "s_ra": RA + shift,
                "s_dec": DEC,
                "em_min": (band.wavelength_nm - 40) * 1e-9,
                "em_max": (band.wavelength_nm + 40) * 1e-9,
            }
            for band in definition.bands
            for shift in (0.1, 0.0)
            for kind in kinds
            if observed(ra, dec)
        ]
        return votable(OBSCORE, rows)
    if request.path == "/links":
        columns = dict.fromkeys(("ID", "access_url", "service_def", "semantics"), "")
        row = dict.fromkeys(columns, "") | {"ID": request.params["ID"], "semantics": "#this"}
        parameters = {"ID": request.params["ID"], "CIRCLE": ""}
        soda = ("ivo://ivoa.net/std/SODA#sync-1.0", f"{base()}/soda", parameters)
        return votable(columns, [row], [soda])
    if request.path == "/soda":
        ra, dec, radius = (float(word) for word in request.params["CIRCLE"].split())
        band, side = request.params["ID"], 2 * radius * 3600
    elif request.path.startswith("/ibe/data/"):
        ra, dec = (float(w) for w in request.params["center"].removesuffix("deg").split(","))
        band, side = request.path[10:-5], float(request.params["size"].removesuffix("arcsec"))
    else:
        return Reply(b"", 404)
    return cut_square(ra, dec, band, side, definition)


def cut_square(ra, dec, band, side_arcsec, definition, **cards):
    side = round(side_arcsec / definition.pixel_scale_arcsec)
    wcs = tan_wcs(ra, dec, definition.pixel_scale_arcsec, side, side)
    flux = sky(wcs, side, side, band) / definition.nanomaggy_per_unit
    return fits_reply(flux, wcs, in_extension=True, **cards)


SIA1 = {
    "access_url": "VOX:Image_AccessReference",
    "format": "VOX:Image_Format",
    "obs_bandpass": "VOX:BandPass_ID",
    "proctype": "",
    "prodtype": "",
}


def noirlab(request, base):
    if request.path == "/sia/des_dr2":
        ra, dec = (float(word) for word in request.params["POS"].split(","))
        rows = [
            {
                "access_url": f"{base()}/svc/cutout?siaRef=c_{band}.fits.fz&extn=1"
                f"&POS={ra},{dec}&SIZE={request.params['SIZE']}",
                "format": "image/fits",
                "obs_bandpass": band,
                "proctype": proctype,
                "prodtype": "image",
            }
            for band in "grizY"
            for proctype in ("InstCal", "Stack")
            if observed(ra, dec)
        ]
        reply = votable(SIA1, rows)
        status = b'<INFO name="QUERY_STATUS" value="OK"/>'
        body = reply.body.replace(
            b'<RESOURCE type="results">', b'<RESOURCE type="results">' + status
        )
        return Reply(body, content_type=reply.content_type)
    ra, dec = (float(word) for word in request.params["POS"].split(","))
    side = float(request.params["SIZE"].split(",")[0]) * 3600
    band = request.params["siaRef"][2]
    return cut_square(ra, dec, band, side, get_survey("des"), MAGZERO=30.0)


def euclid(request, zeropoint=23.9):
    form = dict(parse_qsl(request.body.decode()))
    if request.path == "/tap-server/tap/sync":
        words = re.split(r"[\s,()]+", form["QUERY"])
        ra, dec = (float(word) for word in words[words.index("'ICRS'") + 1 :][:2])
        columns = dict.fromkeys(("file_path", "file_name", "tile_index", "ra", "dec"), "")
        rows = [
            {
                "file_path": "/euclid/repository/NMER",
                "file_name": f"EUC_MER_BGSUB-MOSAIC-VIS_TILE{tile}.fits",
                "tile_index": tile,
                "ra": RA + shift,
                "dec": DEC,
            }
            for tile, shift in (("102018", 0.2), ("102019", 0.01))
            if observed(ra, dec)
        ]
        return votable(columns, rows)
    if request.path != "/sas-cutout/cutout" or form["OBSID"] != "102019":
        return Reply(b"no such file", 404, "text/plain")
    shape, ra, dec, radius = form["POS"].split(",")
    assert shape == "CIRCLE"
    survey = get_survey("euclid-vis")
    side = round(2 * float(radius) * 3600 / survey.pixel_scale_arcsec)
    wcs = tan_wcs(float(ra), float(dec), survey.pixel_scale_arcsec, side, side)
    flux = sky(wcs, side, side, "VIS") * 10 ** (0.4 * (zeropoint - 22.5))
    return fits_reply(flux, wcs, MAGZERO=zeropoint)


WRONG = {
    "html": "unreadable",
    "empty": "unreadable",
    "truncated": "unreadable",
    "zero": "no_data",
    "nan": "no_data",
    "clipped": "failed_quality",
}


def wrong(kind, serve):
    """Serve as `serve` does, but break every FITS image."""

    def reply(request):
        good = serve(request)
        if good.content_type != "image/fits":
            return good
        if kind == "html":
            return Reply(b"<html><body>Internal error</body></html>", 200, "text/html")
        if kind == "empty":
            return Reply(b"", 200, "image/fits")
        if kind == "truncated":
            return Reply(good.body[: len(good.body) // 2 // 2880 * 2880], 200, "image/fits")
        with fits.open(io.BytesIO(good.body)) as hdus:
            image = next(hdu for hdu in hdus if hdu.shape)
            if kind == "clipped":
                image.data = image.data[..., : image.data.shape[-1] * 3 // 4]
            else:
                image.data = np.full_like(image.data, {"zero": 0, "nan": np.nan}[kind])
            buffer = io.BytesIO()
            hdus.writeto(buffer)
        return Reply(buffer.getvalue(), content_type="image/fits")

    return reply


def status_only(code, serve, image="image/fits"):
    """Answer every request for an image with an error status."""

    def reply(request):
        good = serve(request)
        return Reply(b"no", code, "text/plain") if good.content_type == image else good

    return reply

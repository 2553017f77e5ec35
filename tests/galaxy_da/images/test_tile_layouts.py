"""Tiles as the surveys publish them are read with their masks and noise, by names and headers."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import get_survey

SIDE, CUT_PX = 150, 41
RA, DEC = 150.001, 2.002


def wcs_of(scale):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 2.0), (SIDE / 2, SIDE / 2)
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def flux(seed, sigma=1.0):
    return np.random.default_rng(seed).normal(0, sigma, (SIDE, SIDE)).astype(np.float32)


def header(scale, **cards):
    head = wcs_of(scale).to_header()
    head.update(cards)
    return head


def marked(scale, dtype=np.int32):
    """Zeros, and the row and column of a pixel near the galaxy."""
    x, y = (round(float(v)) for v in wcs_of(scale).world_to_pixel_values(RA, DEC))
    return np.zeros((SIDE, SIDE), dtype), (y + 3, x - 5)


def packed(array, head, **options):
    return fits.CompImageHDU(array, head, compression_type="GZIP_2", quantize_level=0, **options)


def write(path, *hdus):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(list(hdus)).writeto(path)


def cut(survey, scale, files, planes=()):
    side = CUT_PX * scale
    mosaic = Mosaic(files=str(files), planes=planes, survey=get_survey(survey), side_arcsec=side)
    [number] = mosaic.assign(np.array([RA]), np.array([DEC]))
    [cutout] = mosaic.cutouts(int(number), [{"ra": RA, "dec": DEC}])
    if isinstance(cutout, CutoutError):
        raise cutout
    return cutout


def by_astropy(pixels, scale, missing=()):
    pixels = pixels.copy()
    for place in missing:
        pixels[place] = np.nan
    wcs = wcs_of(scale)
    return Cutout2D(pixels, wcs.world_to_pixel_values(RA, DEC), CUT_PX).data


def test_bricks_of_the_legacy_surveys(tmp_path):
    folder = tmp_path / "coadd" / "000" / "0001m002"
    bits, place = marked(0.262, np.int16)
    saturated = place[0] + 2, place[1]
    bits[place], bits[saturated] = 1 << 0, 1 << 2  # outside the unique area; saturated in g
    for k, band in enumerate("grz"):
        cards = {"FILTER": f"{band} DECam c{k + 1:04d} 6420.0 1480.0", "FILTERX": band}
        cards |= {"FILTER1": f"{band} DECam SDSS c{k + 1:04d} 6415.0 1480.0"}
        unit = {"IMTYPE": "image", "MAGZERO": 22.5, "BUNIT": "nanomaggy"}
        inverse = {"IMTYPE": "invvar", "BUNIT": "1/nanomaggy^2"}
        for name, values, own in (("image", flux(k), unit), ("invvar", flux(0) * 0 + 400, inverse)):
            path = folder / f"legacysurvey-0001m002-{name}-{band}.fits.fz"
            write(path, fits.PrimaryHDU(), packed(values, header(0.262, **cards, **own)))
    wise = np.full((SIDE, SIDE), 255, np.uint8)
    write(
        folder / "legacysurvey-0001m002-maskbits.fits.fz",
        fits.PrimaryHDU(),
        packed(bits, header(0.262, MASKTYPE="maskbits"), name="MASKBITS"),
        packed(wise, header(0.262), name="WISEM1"),
    )
    names = str(tmp_path / "coadd/*/*/legacysurvey-*-{}.fits.fz")
    planes = names.format("invvar-{band}"), names.format("maskbits")
    cutout = cut("decals", 0.262, names.format("image-{band}"), planes)
    assert cutout.bands == ("g", "r", "z")
    for k in range(3):
        wanted = by_astropy(flux(k), 0.262, [saturated])
        np.testing.assert_array_equal(cutout.pixels[k], wanted)
    assert cutout.noise == pytest.approx((0.05,) * 3, rel=1e-4)


def test_a_tile_without_its_plane_is_named(tmp_path):
    for tile in "ab":
        write(tmp_path / f"{tile}-image-g.fits", fits.PrimaryHDU(flux(0), header(0.262)))
    write(tmp_path / "a-invvar-g.fits", fits.PrimaryHDU(flux(0) ** 2, header(0.262)))
    with pytest.raises(SurveyError, match=r"no such file of g for the tile of b-image-g\.fits"):
        cut(
            "decals",
            0.262,
            tmp_path / "*-image-{band}.fits",
            (f"{tmp_path}/*-invvar-{{band}}.fits",),
        )


def test_tiles_of_des(tmp_path):
    mask, place = marked(0.263, np.int16)
    weight = np.full((SIDE, SIDE), 2.0, np.float32)
    mask[place], weight[place[0] - 2, place[1]] = 4, 0
    for k, band in enumerate("griz"):
        cards = {"MAGZERO": 30.0, "BAND": band, "BUNIT": "electrons"}
        cards |= {"FILTER": f"{band} DECam SDSS c0001 4720.0 1520.0"}
        head = header(0.263, **cards)
        head.comments["MAGZERO"] = "Mag Zero-point in magnitudes/s"
        write(
            tmp_path / f"DES0151+0001_r4907p01_{band}.fits.fz",
            fits.PrimaryHDU(),
            packed(flux(k), head, name="SCI"),
            packed(mask, header(0.263, BAND=band), name="MSK"),
            packed(weight, header(0.263, BAND=band), name="WGT"),
        )
    cutout = cut("des", 0.263, tmp_path / "DES*_r*_{band}.fits.fz")
    missing = [place, (place[0] - 2, place[1])]
    assert cutout.bands == tuple(b for b in get_survey("des").band_names if b in "griz")
    for k in range(4):
        np.testing.assert_allclose(cutout.pixels[k], by_astropy(flux(k), 0.263, missing), rtol=1e-6)


def test_patches_of_hsc(tmp_path):
    planes = {
        "MP_BAD": 0,
        "MP_SAT": 1,
        "MP_CR": 3,
        "HIERARCH MP_DETECTED": 5,
        "HIERARCH MP_NO_DATA": 8,
    }
    mask, place = marked(0.168)
    mask[place], mask[place[0] + 2, place[1]] = 1 << 5, 1 << 8 | 1 << 5
    variance = np.full((SIDE, SIDE), 0.04, np.float32)
    for k, band in enumerate("GRIZ"):
        primary = fits.PrimaryHDU(header=fits.Header({"FLUXMAG0": 63095734448.0194}))
        write(
            tmp_path / f"HSC-{band}" / "9813" / "4,4" / f"calexp-HSC-{band}-9813-4,4.fits",
            primary,
            packed(flux(k), header(0.168), name="IMAGE"),
            packed(mask, header(0.168, **planes), name="MASK"),
            packed(variance, header(0.168), name="VARIANCE"),
            fits.BinTableHDU.from_columns(
                [fits.Column("id", "J", array=[1])], name="ARCHIVE_INDEX"
            ),
        )
    (tmp_path / "NB0921" / "9813" / "4,4").mkdir(parents=True)
    files = tmp_path / "{band}" / "*" / "*" / "calexp-{band}-*.fits"
    cutout = cut("hsc", 0.168, files)
    assert cutout.bands == ("g", "r", "i", "z")
    for k in range(4):
        wanted = by_astropy(flux(k), 0.168, [(place[0] + 2, place[1])])
        np.testing.assert_allclose(cutout.pixels[k], wanted, rtol=1e-6)
    assert cutout.noise == pytest.approx((0.2,) * 4, rel=1e-5)


def test_deep_coadds_of_rubin(tmp_path):
    planes = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_NO_DATA": 8, "HIERARCH MP_SENSOR_EDGE": 14}
    mask, place = marked(0.2)
    mask[place] = 1 << 1
    for k, band in enumerate("griz"):
        write(
            tmp_path / band / f"deep_coadd_5063_14_{band}_LSSTComCam.fits",
            fits.PrimaryHDU(header=fits.Header({"FILTER": band})),
            packed(flux(k, 50), header(0.2, BUNIT="nJy"), name="IMAGE"),
            packed(mask, header(0.2, **planes), name="MASK"),
            packed(flux(0) * 0 + 400, header(0.2, BUNIT="nJy2"), name="VARIANCE"),
            fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1])], name="PSF"),
        )
    cutout = cut("rubin", 0.2, tmp_path / "{band}" / "deep_coadd_*_{band}_LSSTComCam.fits")
    assert cutout.bands == ("g", "r", "i", "z")
    for k in range(4):
        np.testing.assert_array_equal(cutout.pixels[k], by_astropy(flux(k, 50), 0.2, [place]))
    assert cutout.noise == pytest.approx((20.0,) * 4)


def test_mer_tiles_of_euclid(tmp_path):
    """RMS maps are files of their own, whose names have another hash and date."""
    rms, name = np.full((SIDE, SIDE), 0.02, np.float32), tmp_path / "EUC_MER_{}.fits"
    _, place = marked(0.1)
    rms[place] = 0
    for tile, seed in (("102018211", 1), ("102018212", 2)):
        dates = f"{tile}-ACBD03_20241018T142710.276838Z_00.00", f"{tile}-B3070B_20241018T14_00.00"
        image = fits.PrimaryHDU(flux(seed), header(0.1, MAGZERO=23.9))
        if seed == 2:
            image.header["CRVAL1"] = 151.0
        write(tmp_path / f"EUC_MER_BGSUB-MOSAIC-VIS_TILE{dates[0]}.fits", image)
        write(tmp_path / f"EUC_MER_MOSAIC-VIS-RMS_TILE{dates[1]}.fits",
              fits.PrimaryHDU(rms, header(0.1)))  # fmt: skip
    files = str(name).format("BGSUB-MOSAIC-VIS_TILE{tile}-*")
    planes = (str(name).format("MOSAIC-VIS-RMS_TILE{tile}-*"),)
    cutout = cut("euclid-vis", 0.1, files, planes)
    np.testing.assert_allclose(cutout.pixels[0], by_astropy(flux(1), 0.1, [place]), rtol=1e-6)
    assert cutout.noise == pytest.approx((0.02,), rel=1e-6)
    with pytest.raises(SurveyError, match="no such file"):  # * is then what differs between tiles
        cut("euclid-vis", 0.1, files.replace("{tile}-", ""), (planes[0].replace("{tile}-", ""),))


def test_two_files_of_one_tile_and_band_are_refused(tmp_path):
    for version in (1, 2):
        write(tmp_path / f"t1-g-v{version}.fits", fits.PrimaryHDU(flux(0), header(0.262)))
    with pytest.raises(SurveyError, match=r"t1-g-v1\.fits and t1-g-v2\.fits are of the same tile"):
        cut("decals", 0.262, tmp_path / "{tile}-{band}-v*.fits")


def test_a_file_of_planes_that_holds_an_image_is_refused(tmp_path):
    for name in ("image", "extra"):
        write(tmp_path / f"a-{name}-g.fits", fits.PrimaryHDU(flux(0), header(0.262)))
    with pytest.raises(CutoutError, match=r"a-extra-g\.fits: holds no mask, weight or noise"):
        cut(
            "decals",
            0.262,
            tmp_path / "*-image-{band}.fits",
            (f"{tmp_path}/*-extra-{{band}}.fits",),
        )

"""Find the image files of a folder, and read what each says of itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from astropy.io.fits import Header

from galaxy_da.errors import CutoutError, GalaxyDAError, first_line
from galaxy_da.images.arrays import image_planes, read_array
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.fits import read_fits
from galaxy_da.images.fits_source import FitsImage
from galaxy_da.images.hdu_roles import role_of
from galaxy_da.images.pictures import colour_planes, read_picture
from galaxy_da.images.placement import locate
from galaxy_da.images.wcs import celestial_wcs, sky_of
from galaxy_da.io.storage import Location, list_files, read_bytes
from galaxy_da.surveys import Survey, get_survey

_SUFFIX = re.compile(r"\.((fits|fit|fts)(\.gz|\.bz2|\.fz)?|npy|jpe?g|png)\Z", re.IGNORECASE)
_ID_CARDS = (
    "OBJID", "OBJ_ID", "OBJECTID", "OBJECT_ID", "SOURCEID", "SOURCE_ID", "TARGETID", "TARGET_ID",
    "TARGNAME", "OBJECT", "OBJNAME", "TARGET", "ID", "NAME",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image file."""

    name: str  # path below the folder
    kind: str  # FITS, array (of flux) or picture
    shape: tuple[int, int, int]  # planes, y, x
    unit: str  # of the pixels, and its origin
    bands: list[str] | None = None  # of the planes, by the header or the stretch of a picture
    cards: tuple[str, ...] = ()  # header cards that may hold an id
    zeropoint_mag: float | None = None  # of one unit of the file [AB mag]
    centre: tuple[float, float] | None = None  # middle of the image by its WCS [ICRS deg]
    pixel_scale_arcsec: float | None = None  # by the WCS


def find_images(folder: Location) -> list[str]:
    """Return the image files below a folder, without hidden ones, as paths relative to it."""
    base = _path(folder)
    names = (PurePosixPath(_path(file)).relative_to(base) for file in list_files(folder))
    return [
        str(name)
        for name in names
        if _SUFFIX.search(name.name) and not any(part.startswith(".") for part in name.parts)
    ]


def path_stem(name: str) -> str:
    """Return a path without the suffixes of an image, such as ``.fits.gz``."""
    return _SUFFIX.sub("", name)


def relative_uri(file: Location, folder: Location) -> str:
    """Return a file relative to a folder; a URL, or an absolute path if the folder is a URL."""
    if isinstance(file, Path):
        return os.path.relpath(file, folder) if isinstance(folder, Path) else str(file.resolve())
    return str(file)


def read_image_file(
    folder: Location, name: str, survey: Survey, stretch: str | None, planes: int | None = None
) -> ImageFile:
    """Read an image file below a folder; an array has `planes`, by default the survey's bands.

    A file that cannot be used raises CutoutError, whose message does not name it.
    """
    if set("#{}") & set(name):
        raise CutoutError("the name has one of '#', '{', '}', which a sample table cannot hold")
    suffix = name.removeprefix(path_stem(name)).lower()
    try:
        if suffix.startswith((".fit", ".fts")):
            return _read_fits(folder / name, name, survey)
        if suffix != ".npy":
            return _picture(name, read_picture(read_bytes(folder / name)).colour, survey, stretch)
        pixels = read_array(folder / name)
        if pixels.dtype == np.uint8:
            return _picture(name, colour_planes(pixels).colour, survey, stretch)
        n, height, width = image_planes(pixels, [""] * planes if planes else None, survey).shape
    except GalaxyDAError as error:
        text = str(error).replace(f"{PurePosixPath(name).name}#: ", "")
        raise CutoutError(text.replace(f"{PurePosixPath(name).name}: ", "")) from error
    except Exception as error:  # one file never ends a run
        kind = type(error).__name__
        raise CutoutError(f"cannot be read ({kind}: {first_line(error)})") from error
    unit, zeropoint = f"{survey.flux_unit} (survey)", survey.zeropoint_mag
    shape = n, height, width
    return ImageFile(name=name, kind="array", shape=shape, unit=unit, zeropoint_mag=zeropoint)


def _read_fits(file: Location, name: str, survey: Survey) -> ImageFile:
    _refuse_auxiliary(name, survey)
    images = read_fits(read_bytes(file), survey)
    header = images[0].header
    height, width = images[0].pixels.shape[1:]
    place = locate(header, (height, width))
    scale = place.pixel_scale_arcsec if place else None
    centre, wcs = None, celestial_wcs(header)
    if wcs is not None:
        ra, dec = sky_of(wcs, [(width - 1) / 2], [(height - 1) / 2])
        centre = (float(ra[0]) % 360, float(dec[0]))
    unit = str(header.get("BUNIT") or "").strip()
    pixel = scale or survey.pixel_scale_arcsec
    zeropoints = [_zeropoint(image, survey, pixel) for image in images]
    return ImageFile(
        name=name,
        kind="FITS",
        shape=(sum(len(image.pixels) for image in images), height, width),
        bands=[band for image in images for band in image.bands or []] or None,
        unit=f"{unit} (BUNIT)" if unit else f"{survey.flux_unit} (survey)",
        zeropoint_mag=zeropoints[0],
        cards=tuple(str(header[card]).strip() for card in _ID_CARDS if card in header),
        centre=centre,
        pixel_scale_arcsec=scale,
    )


def _zeropoint(image: FitsImage, survey: Survey, pixel_scale_arcsec: float) -> float:
    """Return the AB magnitude of one linear unit of the first plane, as it is calibrated."""
    linear = image.header.copy()
    for card in ("BSOFTEN", "BOFFSET"):  # the zeropoint is that after asinh scaling
        linear.remove(card, ignore_missing=True)
    ones = np.ones((len(image.pixels), 1, 1), np.float32)
    one = calibrate(ones, linear, survey, pixel_scale_arcsec)[0]
    return survey.zeropoint_mag - 2.5 * float(np.log10(one.item()))


def _picture(name: str, colour: np.ndarray, survey: Survey, stretch: str | None) -> ImageFile:
    bands = list(survey.stretch_of(stretch).planes)
    _, height, width = colour.shape
    unit = f"8-bit colour ({stretch or survey.name} stretch)"
    return ImageFile(name=name, kind="picture", shape=(3, height, width), unit=unit, bands=bands)


def _refuse_auxiliary(name: str, survey: Survey) -> None:
    """Refuse a file that is named as a mask, weight or noise image, or ends in PSF and the like."""
    words = re.findall(r"[^\W_]+", PurePosixPath(path_stem(name)).name)
    kinds = [_kind(w) for w in words if w.isascii() and w not in survey.band_names]
    if set(kinds) - {"science", "other"} or kinds[-1:] == ["other"]:
        raise CutoutError("named as a mask, weight, noise or PSF image", status="no_data")


@lru_cache(maxsize=1024)
def _kind(word: str) -> str:
    return role_of(Header([("EXTNAME", word)]), get_survey("decals")).kind


def _path(where: Location) -> str:
    return where.as_posix() if isinstance(where, Path) else where.path

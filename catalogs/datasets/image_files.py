"""Find the image files of a folder, and read what each says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError, GalaxyDAError, first_line
from galaxy_da.images.arrays import image_planes, read_array
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.fits import read_fits
from galaxy_da.images.hdu_roles import role_of
from galaxy_da.images.pictures import colour_planes, read_picture
from galaxy_da.images.wcs import celestial_wcs, locate, sky_of
from galaxy_da.io.storage import Location, list_files, read_bytes
from galaxy_da.surveys import Survey, get_survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["ImageFile", "find_images", "path_stem", "read_image_file"]

_FITS, _NPY, _PICTURES = (".fits", ".fit", ".fts"), (".npy",), (".jpg", ".jpeg", ".png")
_COMPRESSED = (".gz", ".bz2", ".fz")
_ID_CARDS = (
    "OBJID", "OBJ_ID", "OBJECTID", "OBJECT_ID", "SOURCEID", "SOURCE_ID", "TARGETID", "TARGET_ID",
    "TARGNAME", "OBJECT", "OBJNAME", "TARGET", "ID", "NAME",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image file.

    Attributes
    ----------
    name : str
        Path below the folder.
    kind : str
        ``FITS``, ``array`` of flux, or ``picture``.
    shape : (planes, y, x) int
        Size of the image.
    unit : str
        Unit of the pixels, and its origin.
    bands : list of str or None
        Names of the planes in the header, or in the stretch of a picture.
    cards : tuple of str
        Values of header cards that may hold an id.
    zeropoint_mag : float or None
        AB magnitude of one unit of the file [mag].
    centre : (ra, dec) float or None
        Position of the middle of the image by its WCS [ICRS deg].
    pixel_scale_arcsec : float or None
        Side of a pixel by the WCS [arcsec].
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    unit: str
    bands: list[str] | None = None
    cards: tuple[str, ...] = ()
    zeropoint_mag: float | None = None
    centre: tuple[float, float] | None = None
    pixel_scale_arcsec: float | None = None


def find_images(folder: Location) -> list[str]:
    """Return the image files below a folder, without hidden ones, as paths relative to it."""
    base = _path(folder)
    names = (PurePosixPath(_path(file)).relative_to(base) for file in list_files(folder))
    return [
        str(name)
        for name in names
        if _suffix(name.name) and not any(part.startswith(".") for part in name.parts)
    ]


def path_stem(name: str) -> str:
    """Return a path without the suffixes of an image, such as ``.fits.gz``."""
    return name.removesuffix(_suffix(PurePosixPath(name).name))


def read_image_file(
    folder: Location, name: str, survey: Survey, stretch: str | None, planes: int | None = None
) -> ImageFile:
    """Read an image file, and what it says of itself.

    Parameters
    ----------
    folder : Location
        Folder of the images.
    name : str
        Path of the file below the folder.
    survey : Survey
        Survey of the images.
    stretch : str, optional
        Name of the stretch of pictures.
    planes : int, optional
        Number of planes of an array; by default that of the survey's bands.

    Raises
    ------
    CutoutError
        If the file cannot be used; the message does not name it.
    """
    suffix = _suffix(PurePosixPath(name).name).lower()
    if set("#{}") & set(name):
        raise CutoutError("the name has one of '#', '{', '}', which a sample table cannot hold")
    try:
        if suffix.endswith((*_FITS, *_COMPRESSED)):
            return _read_fits(folder / name, name, survey)
        if suffix in _NPY:
            return _read_npy(folder / name, name, survey, stretch, planes)
        return _picture(name, read_picture(read_bytes(folder / name)).colour, survey, stretch)
    except GalaxyDAError as error:
        text = str(error).replace(f"{PurePosixPath(name).name}#: ", "")
        raise CutoutError(text.replace(f"{PurePosixPath(name).name}: ", "")) from error
    except Exception as error:  # one file never ends a run
        kind = type(error).__name__
        raise CutoutError(f"cannot be read ({kind}: {first_line(error)})") from error


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
    cards = tuple(str(header[card]).strip() for card in _ID_CARDS if card in header)
    bands = [band for image in images for band in image.bands or []]
    unit = str(header.get("BUNIT") or "").strip()
    zeropoints = [
        _zeropoint(image.header, survey, scale or survey.pixel_scale_arcsec) for image in images
    ]
    return ImageFile(
        name=name,
        kind="FITS",
        shape=(sum(len(image.pixels) for image in images), height, width),
        bands=bands or None,
        unit=f"{unit} (BUNIT)" if unit else f"{survey.flux_unit} (survey)",
        zeropoint_mag=zeropoints[0],
        cards=cards,
        centre=centre,
        pixel_scale_arcsec=scale,
    )


def _zeropoint(header: Header, survey: Survey, pixel_scale_arcsec: float) -> float:
    """Return the AB magnitude of one linear unit of the file, as the reader calibrates it."""
    linear = header.copy()
    for card in ("BSOFTEN", "BOFFSET"):  # the zeropoint is that after asinh scaling
        linear.remove(card, ignore_missing=True)
    one = calibrate(np.ones((1, 1, 1), np.float32), linear, survey, pixel_scale_arcsec)
    return survey.zeropoint_mag - 2.5 * float(np.log10(one.item()))


def _read_npy(
    file: Location, name: str, survey: Survey, stretch: str | None, planes: int | None
) -> ImageFile:
    pixels = read_array(file)
    if pixels.dtype == np.uint8:
        return _picture(name, colour_planes(pixels).colour, survey, stretch)
    shape = image_planes(pixels, [""] * planes if planes else None, survey).shape
    unit = f"{survey.flux_unit} (survey)"
    return ImageFile(
        name=name, kind="array", shape=(shape[0], shape[1], shape[2]), unit=unit,
        zeropoint_mag=survey.zeropoint_mag,
    )  # fmt: skip


def _picture(name: str, colour: np.ndarray, survey: Survey, stretch: str | None) -> ImageFile:
    bands = list(survey.stretch_of(stretch).planes)
    _, height, width = colour.shape
    unit = f"8-bit colour ({stretch or survey.name} stretch)"
    return ImageFile(name=name, kind="picture", shape=(3, height, width), unit=unit, bands=bands)


def _refuse_auxiliary(name: str, survey: Survey) -> None:
    """Refuse a file that is named as a mask, weight or noise image, or ends in PSF and the like."""
    stem = PurePosixPath(path_stem(name)).name
    kinds = [_kind(word) for word in _words(stem) if word not in survey.band_names]
    if set(kinds) - {"science", "other"} or kinds[-1:] == ["other"]:
        raise CutoutError("named as a mask, weight, noise or PSF image", status="no_data")


@lru_cache(maxsize=1024)
def _kind(word: str) -> str:
    """Return the kind of an HDU of that name."""
    from astropy.io.fits import Header

    return role_of(Header([("EXTNAME", word)]), get_survey("decals")).kind


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text).split()


def _suffix(name: str) -> str:
    """Return the suffixes of an image's name, empty for other files."""
    lower = name.lower()
    endings = [*_FITS, *(f + c for f in _FITS for c in _COMPRESSED), *_NPY, *_PICTURES]
    return next((name[-len(end) :] for end in endings if lower.endswith(end)), "")


def _path(where: Location) -> str:
    return where.as_posix() if isinstance(where, Path) else where.path

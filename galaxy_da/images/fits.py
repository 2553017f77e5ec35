"""Read the images of a FITS file: choose them by what the file says, and leave out masked pixels.

The image is the one HDU with pixels, or the one that is named as science data, or one HDU per band.
Masks, weights and noise planes are recognised by ``EXTNAME`` or ``IMAGETYP``: their masked pixels
become NaN, and the noise that they state is kept.
"""

from __future__ import annotations

import bz2
import gzip
import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, first_line, shape_text
from galaxy_da.images.bands import check_agree, find_band, header_bands
from galaxy_da.images.calibration import linearise, noise_header, states_unit
from galaxy_da.images.hdu_roles import NOISE_KINDS, Role, role_of
from galaxy_da.images.masks import bad_pixels, noise_of
from galaxy_da.images.pictures import refuse_colour_values
from galaxy_da.images.plain_fits import read_plain
from galaxy_da.images.quiet import quiet
from galaxy_da.images.wcs import is_wcs_card
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["FitsImage", "decompress", "is_fits", "read_fits", "select_hdus", "without_blank"]

_FITS_MAGIC = b"SIMPLE"
_LARGEST_BYTES = 1 << 30
"""Largest size of a file after decompression."""

_LARGEST_PIXELS = 1 << 29  # a tile of Euclid has 3.7e8
_MOST_MASKED = 0.9
"""Share of masked pixels above which an image is refused with the name of its mask."""


@dataclass(frozen=True, kw_only=True)
class FitsImage:
    """One image of a FITS file, in the file's own unit.

    Attributes
    ----------
    pixels : (planes, y, x) float32 array
        NaN where the file masks a pixel.
    header : Header
        Header of the image, with the cards of a primary HDU that has no pixels of its own.
    bands : list of str or None
        Names of the planes, if the file states them.
    noise : (planes,) float32 array or None
        Standard deviation of a pixel, if the file states it: the median over the image.
    noise_headers : list of Header or None
        For each plane, the header that calibrates its noise, which may have a unit of its own.
    """

    pixels: np.ndarray
    header: Header
    bands: list[str] | None
    noise: np.ndarray | None = None
    noise_headers: list[Header] | None = None


def is_fits(data: bytes) -> bool:
    """Test if bytes are a FITS file, or begin as a compressed file may."""
    return data.startswith((_FITS_MAGIC, b"\x1f\x8b", b"BZh"))


def decompress(data: bytes) -> bytes:
    """Return the content of gzip or bzip2 data, or the data itself.

    Raises
    ------
    CutoutError
        If the data are cut off, corrupt, or larger than 1 GiB when decompressed.
    """
    if data.startswith(b"\x1f\x8b"):
        stream: Any = gzip.GzipFile(fileobj=io.BytesIO(data))
    elif data.startswith(b"BZh"):
        stream = bz2.BZ2File(io.BytesIO(data))
    else:
        return data
    try:
        content: bytes = stream.read(_LARGEST_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CutoutError(f"compressed file is corrupt or cut off ({first_line(error)})") from error
    if len(content) > _LARGEST_BYTES:
        raise CutoutError(f"larger than {_LARGEST_BYTES >> 20} MiB when decompressed")
    return content


def read_fits(data: bytes, survey: Survey) -> list[FitsImage]:
    """Read the images of a FITS file: one image or cube, or one image per band.

    Parameters
    ----------
    data : bytes
        The file, plain or compressed with gzip or bzip2; tile-compressed HDUs are read too.
    survey : Survey
        Survey of the image, whose band names tell HDUs apart.

    Returns
    -------
    list of FitsImage
        More than one where each band has its own HDU, in the survey's order.

    Raises
    ------
    CutoutError
        If the file is corrupt or truncated, holds no image, or several that nothing tells apart.
    """
    from astropy.io import fits

    content = decompress(data)
    if not content.startswith(_FITS_MAGIC):
        raise CutoutError("the compressed file is not FITS")
    try:
        with quiet():
            plain = read_plain(content)
            if plain is not None:
                return _read([plain], survey)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                _check_length(hdus, content)
                return _read(hdus, survey)
    except CutoutError:
        raise
    except Exception as error:  # astropy raises many kinds for damaged files
        raise CutoutError(f"corrupt or truncated FITS ({first_line(error)})") from error


def select_hdus(
    hdus: Sequence[Any], survey: Survey
) -> tuple[list[tuple[Role, Any]], list[tuple[Role, Any]]]:
    """Return the HDUs of the image and those of its masks, weights and noise, with their roles.

    Raises
    ------
    CutoutError
        If there is no image, or several that nothing tells apart.
    """
    images = [(role_of(hdu.header, survey), hdu) for hdu in hdus if _is_image(hdu)]
    if not images:
        raise CutoutError("the FITS file holds no image")
    science = [item for item in images if item[0].kind == "science"]
    if not science:
        listed = ", ".join(f"{_name(hdu)} ({role.kind})" for role, hdu in images)
        raise CutoutError(
            f"the FITS file holds no science image, only {listed}; name the extension of the image "
            "SCI"
        )
    others = [item for item in images if item[0].kind not in ("science", "other")]
    return _choose(science, survey), others


def _choose(images: list[tuple[Role, Any]], survey: Survey) -> list[tuple[Role, Any]]:
    """Return the HDU of the image, or those of its bands in the survey's order."""
    if len(images) == 1:
        return images
    named = [item for item in images if item[0].is_named]
    if len(named) == 1:
        return named
    per_band = [
        [item for item in (named or images) if item[0].band == band] for band in survey.band_names
    ]
    if any(per_band) and all(len(items) < 2 for items in per_band):
        return [items[0] for items in per_band if items]
    listed = ", ".join(_name(hdu) for _, hdu in images)
    raise CutoutError(
        f"the file holds {len(images)} images and nothing says which to use (extensions {listed}); "
        "name the extension of the image SCI, or one extension per band"
    )


def _check_length(hdus: Sequence[Any], content: bytes) -> None:
    """Refuse a file that ends before its data, or within the header of a further HDU."""
    for hdu in hdus:
        place = hdu.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > len(content):
            raise CutoutError(
                f"corrupt or truncated FITS: extension {_name(hdu)} ends at byte {end} but the "
                f"file has {len(content)}"
            )
    if content[place["datLoc"] + place["datSpan"] :].startswith(b"XTENSION"):
        raise CutoutError(
            "corrupt or truncated FITS: a header after the last extension cannot be read"
        )


def _read(hdus: Sequence[Any], survey: Survey) -> list[FitsImage]:
    chosen, masks = select_hdus(hdus, survey)
    images = []
    for role, hdu in chosen:
        header = _full_header(hdu, hdus[0])
        if len(chosen) > 1 and states_unit(hdus[0].header) and not states_unit(header):
            raise CutoutError(
                f"the first HDU states a unit but the extension {_name(hdu)} of another band does "
                "not; give each band its own BUNIT"
            )
        is_integer = hdu.header["BITPIX"] > 0 and hdu.header.get("BSCALE", 1) == 1
        own = [(r, m) for r, m in masks if len(chosen) == 1 or r.band in (None, role.band)]
        pixels = _pixels(hdu)
        bands = header_bands(header, survey)
        if role.band is not None and (len(chosen) > 1 or len(pixels) == 1):
            if len(chosen) == 1:
                check_agree(
                    [role.band], bands, f"extension {_name(hdu)} is of", "a card says", survey
                )
            bands = [role.band]
        if is_integer and survey.flux_unit != "count" and not states_unit(header):
            raise CutoutError(
                f"integers without BUNIT or a zeropoint are counts or a picture's bytes, not flux "
                f"in {survey.flux_unit}; add the card, or define the survey in counts"
            )
        if not states_unit(header):
            refuse_colour_values(pixels, survey)
        image = FitsImage(pixels=pixels.astype(np.float32), header=header, bands=bands)
        images.append(_masked_image(image, own, survey))
    return images


def _masked_image(image: FitsImage, masks: list[tuple[Role, Any]], survey: Survey) -> FitsImage:
    """Return an image without the pixels that its masks mark, and with the noise they state."""
    pixels, noise, headers = image.pixels, None, [image.header] * len(image.pixels)
    for role, hdu in masks:
        planes = _cube(hdu)
        rows = _rows_of(role, image, planes, survey, _name(hdu))
        bad = bad_pixels(planes, role.kind, hdu.header)
        if bad.mean() > _MOST_MASKED:
            raise CutoutError(
                f"extension {_name(hdu)} masks {bad.mean():.0%} of the pixels",
                status="failed_quality",
            )
        pixels[rows] = np.where(bad, np.nan, pixels[rows])
        if role.kind in NOISE_KINDS:
            stated = noise_of(linearise(planes.astype(np.float32), hdu.header), role.kind)
            noise = np.full(len(pixels), np.nan, np.float32) if noise is None else noise
            noise[rows] = stated
            for row in rows:
                headers[row] = noise_header(image.header, hdu.header, role.kind)
    return replace(image, pixels=pixels, noise=noise, noise_headers=headers)


def _rows_of(
    role: Role, image: FitsImage, mask: np.ndarray, survey: Survey, name: str
) -> np.ndarray:
    """Return the planes of an image that a mask applies to."""
    shape = image.pixels.shape
    rows = np.arange(shape[0])
    bands = image.bands or (survey.band_names if shape[0] == len(survey.bands) else ())
    if role.band is not None and len(mask) == 1 and len(bands) == len(rows):
        rows = rows[[find_band(band, survey) == role.band for band in bands]]
    if mask.shape[1:] != shape[1:] or len(mask) not in (1, len(rows)):
        raise CutoutError(
            f"extension {name} has shape {shape_text(mask.shape)} but the image has "
            f"{shape_text(shape)}: it cannot be its "
            "mask or noise"
        )
    return rows


def _full_header(hdu: Any, primary: Any) -> Header:
    """Return the header of an HDU, with further cards of a primary HDU without pixels."""
    header: Header = hdu.header
    if hdu is primary or primary.shape:
        return header
    has_wcs = "CTYPE1" in header
    inherited = [c for c in primary.header.cards if not (has_wcs and is_wcs_card(c.keyword))]
    full = header.copy()
    full.extend(inherited, unique=True, strip=True)
    return full


def _name(hdu: Any) -> str:
    return hdu.name or "an unnamed one"


def _is_image(hdu: Any) -> bool:
    return bool(hdu.is_image and hdu.shape and len(hdu.shape) >= 2)


def _pixels(hdu: Any) -> np.ndarray:
    """Return the pixels of an HDU as (planes, y, x), NaN where it says ``BLANK``."""
    header = hdu.header.copy() if "BLANK" in hdu.header else hdu.header  # reading drops BZERO
    return without_blank(_cube(hdu), header)


def without_blank(values: np.ndarray, header: Header) -> np.ndarray:
    """Return scaled values with NaN for a ``BLANK`` that astropy 8.0 overlooks.

    These are a ``BLANK`` of zero, and every one of unsigned integers. `header` is that of the file.
    """
    blank = header.get("BLANK") if header["BITPIX"] > 0 else None
    if not isinstance(blank, int) or (blank != 0 and values.dtype.kind not in "iu"):
        return values
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    stored = zero if blank == 0 else int(zero) + blank * int(scale)
    return np.where(values == stored, np.nan, values)


def _cube(hdu: Any) -> np.ndarray:
    """Return the values of an HDU as (planes, y, x), axes of length one dropped."""
    shape = hdu.shape
    if math.prod(shape) > _LARGEST_PIXELS:
        raise CutoutError(
            f"extension {_name(hdu)} of shape {shape_text(shape)} has too many pixels to read"
        )
    planes = [length for length in shape[:-2] if length != 1]
    if len(planes) > 1 or 0 in shape:
        raise CutoutError(f"expected an image or a cube of bands but has shape {shape_text(shape)}")
    return np.asarray(hdu.data).reshape(*(planes or [1]), *shape[-2:])

"""Read the image of a FITS file: choose it by what the file says, and leave out masked pixels.

The image is the one HDU with pixels, or the one that is named as science data, or one HDU per band.
Masks, weights and noise planes are recognised by ``EXTNAME``: their masked pixels become NaN, and
the noise that they state is kept.
"""

from __future__ import annotations

import bz2
import gzip
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, first_line
from galaxy_da.images.bands import header_bands
from galaxy_da.images.hdu_roles import Role, role_of
from galaxy_da.images.masks import bad_pixels, noise_of
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["FitsImage", "decompress", "is_fits", "read_fits", "select_hdus"]

_FITS_MAGIC = b"SIMPLE"
_LARGEST_BYTES = 1 << 30
"""Largest size of a file after decompression."""

_MOST_MASKED = 0.9
"""Share of masked pixels above which an image is refused with the name of its mask."""


@dataclass(frozen=True, kw_only=True)
class FitsImage:
    """The image of a FITS file, in the file's own unit.

    Attributes
    ----------
    pixels : (planes, y, x) float32 array
        NaN where the file masks a pixel.
    header : Header
        Header of the image; of the first band where each has an HDU.
    bands : list of str or None
        Names of the planes, if the file states them.
    noise : (planes,) float32 array or None
        Standard deviation of a pixel, if the file states it: the median over the image.
    """

    pixels: np.ndarray
    header: Header
    bands: list[str] | None
    noise: np.ndarray | None


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
    except (OSError, EOFError, ValueError) as error:
        raise CutoutError(f"compressed file is corrupt or cut off ({error})") from error
    if len(content) > _LARGEST_BYTES:
        raise CutoutError(f"larger than {_LARGEST_BYTES >> 20} MiB when decompressed")
    return content


def read_fits(data: bytes, survey: Survey) -> FitsImage:
    """Read the image of a FITS file.

    Parameters
    ----------
    data : bytes
        The file, plain or compressed with gzip or bzip2; tile-compressed HDUs are read too.
    survey : Survey
        Survey of the image, whose band names tell HDUs apart.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
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
    science = [item for item in images if item[0].kind == "science"] or images
    chosen = _choose(science, survey)
    taken = {id(hdu) for _, hdu in chosen}
    others = [
        (role, hdu)
        for role, hdu in images
        if id(hdu) not in taken and role.kind not in ("science", "other")
    ]
    return chosen, others


def _choose(images: list[tuple[Role, Any]], survey: Survey) -> list[tuple[Role, Any]]:
    """Return the HDU of the image, or those of its bands in the survey's order."""
    if len(images) == 1:
        return images
    named = [item for item in images if item[0].is_named]
    if len(named) == 1:
        return named
    of_band = {role.band: (role, hdu) for role, hdu in images if role.band}
    if len(of_band) == len(images) and len({hdu.shape for _, hdu in images}) == 1:
        return [of_band[name] for name in survey.band_names if name in of_band]
    listed = ", ".join(hdu.name or "an unnamed one" for _, hdu in images)
    raise CutoutError(
        f"the file holds {len(images)} images and nothing says which to use (extensions {listed}); "
        "name the extension of the image SCI, or one extension per band"
    )


def _read(hdus: Sequence[Any], survey: Survey) -> FitsImage:
    chosen, masks = select_hdus(hdus, survey)
    pixels = np.concatenate([_planes(hdu) for _, hdu in chosen])
    header = chosen[0][1].header.copy()
    header.extend(hdus[0].header.copy(), unique=True, strip=True)
    bands = header_bands(header, survey)
    if len(chosen) > 1:
        bands = [str(role.band) for role, _ in chosen]
    noise = None
    for role, hdu in masks:
        planes = _planes(hdu)
        bad = bad_pixels(planes, role.kind, hdu.header)
        rows = _rows_of(role, bands, pixels, bad, f"extension {hdu.name}")
        if bad.mean() > _MOST_MASKED:
            raise CutoutError(
                f"extension {hdu.name} masks {bad.mean():.0%} of the pixels",
                status="failed_quality",
            )
        pixels[rows] = np.where(bad, np.nan, pixels[rows])
        stated = noise_of(planes, role.kind)
        if stated is not None:
            noise = np.full(len(pixels), np.nan, np.float32) if noise is None else noise
            noise[rows] = stated
    return FitsImage(pixels=pixels, header=header, bands=bands, noise=noise)


def _rows_of(
    role: Role, bands: list[str] | None, pixels: np.ndarray, mask: np.ndarray, name: str
) -> np.ndarray:
    """Return the planes that a mask applies to."""
    if mask.shape[1:] != pixels.shape[1:] or len(mask) not in (1, len(pixels)):
        raise CutoutError(
            f"{name} has shape {mask.shape} but the image has {pixels.shape}: it cannot be its mask"
        )
    every = np.arange(len(pixels))
    return every if role.band is None or bands is None else every[np.array(bands) == role.band]


def _is_image(hdu: Any) -> bool:
    return bool(hdu.is_image and hdu.shape and len(hdu.shape) >= 2)


def _planes(hdu: Any) -> np.ndarray:
    """Return the pixels of an HDU as (planes, y, x) float32, axes of length one dropped."""
    pixels = np.asarray(hdu.data, dtype=np.float32)
    while pixels.ndim > 3 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise CutoutError(f"expected an image or a cube of bands but has shape {pixels.shape}")
    return pixels

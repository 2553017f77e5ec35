"""Read the images of a FITS file: choose them by what the file says, and leave out masked pixels.

The image is the one HDU with pixels, or the one that is named as science data, or one HDU per band.
Masks, weights and noise planes are recognised by ``EXTNAME`` or ``IMAGETYP``: their masked pixels
become NaN, and the noise that they state is kept.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from galaxy_da.errors import CutoutError, first_line
from galaxy_da.images.bands import check_agree, header_bands
from galaxy_da.images.calibration import states_unit
from galaxy_da.images.fits_source import (
    FitsImage,
    FitsSource,
    Plane,
    blank_value,
    hdu_name,
    hdu_values,
)
from galaxy_da.images.hdu_roles import Role, kind_of_name, role_of
from galaxy_da.images.plain_fits import read_plain
from galaxy_da.images.quiet import quiet
from galaxy_da.images.wcs import is_wcs_card
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

_FITS_MAGIC = b"SIMPLE"
_REFERENCE = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
_SAME_PIXEL = 0.5
_LARGEST_BYTES = 1 << 30
"""Largest size of a file after decompression."""


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
        raise CutoutError("the file does not begin as FITS does" if data else "the file is empty")
    try:
        with quiet():
            plain = read_plain(content)
            if plain is not None:
                return [source.read() for source in open_images([plain], survey)]
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                check_length(hdus, len(content))
                _check_rest(hdus, content)
                return [source.read() for source in open_images(hdus, survey)]
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
        listed = ", ".join(f"{hdu_name(hdu)} ({role.kind})" for role, hdu in images)
        raise CutoutError(
            f"the FITS file holds no science image, only {listed}; name the extension of the image "
            "SCI"
        )
    others = [item for item in images if item[0].kind not in ("science", "other")]
    return _choose(science, survey), others


def select_planes(hdus: Sequence[Any], survey: Survey, file_name: str) -> list[tuple[Role, Any]]:
    """Return the masks, weights and noise of a file that holds no image, with their roles.

    A single image that its header does not name is what a word of the file's name says.

    Raises
    ------
    CutoutError
        If there is none.
    """
    images = [(role_of(hdu.header, survey), hdu) for hdu in hdus if _is_image(hdu)]
    planes = [item for item in images if item[0].kind not in ("science", "other")]
    kind = kind_of_name(file_name)
    if not planes and len(images) == 1 and kind not in (None, "other"):
        [(role, hdu)] = images
        planes = [(replace(role, kind=kind), hdu)]
    if not planes:
        raise CutoutError(
            f"{file_name}: holds no mask, weight or noise; name its extension, or the file, for "
            "what it holds: MASK, INVVAR, VARIANCE, RMS"
        )
    return planes


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
    listed = ", ".join(hdu_name(hdu) for _, hdu in images)
    raise CutoutError(
        f"the file holds {len(images)} images and nothing says which to use (extensions {listed}); "
        "name the extension of the image SCI, or one extension per band"
    )


def check_length(hdus: Sequence[Any], n_bytes: int) -> None:
    """Refuse a file of some bytes that ends before its data."""
    for hdu in hdus:
        place = hdu.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if end > n_bytes:
            raise CutoutError(
                f"corrupt or truncated FITS: extension {hdu_name(hdu)} ends at byte {end} but the "
                f"file has {n_bytes}"
            )


def _check_rest(hdus: Sequence[Any], content: bytes) -> None:
    """Refuse a file that ends within the header of a further HDU."""
    place = hdus[-1].fileinfo()
    if content[place["datLoc"] + place["datSpan"] :].startswith(b"XTENSION"):
        raise CutoutError(
            "corrupt or truncated FITS: a header after the last extension cannot be read"
        )


def open_images(
    hdus: Sequence[Any], survey: Survey, others: Sequence[tuple[Role, Any]] = ()
) -> list[FitsSource]:
    """Return the images of a FITS file, of which pixels are read when they are asked for.

    Parameters
    ----------
    hdus : sequence of HDU
        HDUs of the file. Their pixels stay mapped, or in memory, after it is closed.
    survey : Survey
        Survey of the image.
    others : sequence of (Role, HDU)
        Masks, weights and noise of the image in other files.

    Raises
    ------
    CutoutError
        As `read_fits`, but for what only pixels show.
    """
    chosen, masks = select_hdus(hdus, survey)
    sources = []
    for role, hdu in chosen:
        header = _full_header(hdu, hdus[0])
        if len(chosen) > 1 and states_unit(hdus[0].header) and not states_unit(header):
            raise CutoutError(
                f"the first HDU states a unit but the extension {hdu_name(hdu)} of another band "
                "does not; give each band its own BUNIT"
            )
        is_integer = hdu.header["BITPIX"] > 0 and hdu.header.get("BSCALE", 1) == 1
        own = [(r, m) for r, m in masks if len(chosen) == 1 or r.band in (None, role.band)]
        stored = hdu.header.copy() if "BLANK" in hdu.header else hdu.header  # reading drops BZERO
        values = hdu_values(hdu)
        bands = header_bands(header, survey)
        if role.band is not None and (len(chosen) > 1 or len(values) == 1):
            if len(chosen) == 1:
                check_agree(
                    [role.band], bands, f"extension {hdu_name(hdu)} is of", "a card says", survey
                )
            bands = [role.band]
        if is_integer and survey.flux_unit != "count" and not states_unit(header):
            raise CutoutError(
                f"integers without BUNIT or a zeropoint are counts or a picture's bytes, not flux "
                f"in {survey.flux_unit}; add the card, or define the survey in counts"
            )
        named = bands or (survey.band_names if len(values) == len(survey.bands) else ())
        planes = []
        for kind, plane in (*own, *others):
            _check_aligned(plane, header)
            planes.append(Plane.of(kind, plane, values.shape, named, survey))
        sources.append(
            FitsSource(
                header=header,
                values=values,
                bands=bands,
                blank=blank_value(stored, is_integer=values.dtype.kind in "iu"),
                survey=survey,
                planes=tuple(planes),
            )
        )
    return sources


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


def _is_image(hdu: Any) -> bool:
    return bool(hdu.is_image and hdu.shape and len(hdu.shape) >= 2)


def _check_aligned(hdu: Any, header: Header) -> None:
    """Refuse a mask or noise whose pixels are not those of the image, where both have a WCS."""
    cards = [[own.get(name) for name in _REFERENCE] for own in (hdu.header, header)]
    if any(None in own for own in cards) or cards[0][2:] != cards[1][2:]:
        return
    apart = max(abs(a - b) for a, b in zip(cards[0][:2], cards[1][:2], strict=True))
    if apart > _SAME_PIXEL:
        raise CutoutError(
            f"extension {hdu_name(hdu)} lies {apart:.4g} pixels from the image by its WCS: it "
            "cannot be its mask or noise"
        )

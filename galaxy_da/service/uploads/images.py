"""Uploaded images: their kind and size are checked before they are decoded."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

from astropy.io import fits
from PIL import Image

from galaxy_da.errors import CutoutError, GalaxyDAError, SurveyError
from galaxy_da.images.cutouts import Cutout, read_image
from galaxy_da.images.scale import at_pixel_scale
from galaxy_da.service.errors import RequestError
from galaxy_da.service.limits import Limits
from galaxy_da.surveys import Survey, builtin_surveys

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

_PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
_FITS = b"SIMPLE  ="


def find_survey(space: LatentSpace, name: str) -> Survey:
    """Return a survey of the space or a built-in one; never read a file of that name."""
    if name not in space.surveys and name not in builtin_surveys():
        known = sorted({*space.surveys, *builtin_surveys()})
        raise SurveyError(f"unknown survey {name!r}; known are {', '.join(known)}")
    return space.survey(name)


def read_upload(
    data: bytes,
    survey: Survey,
    limits: Limits,
    stretch: str | None = None,
    pixel_scale_arcsec: float | None = None,
) -> Cutout:
    """Read an uploaded FITS, JPEG or PNG image; RequestError as of `check_image`."""
    check_image(data, limits)
    try:
        return at_pixel_scale(read_image(data, survey, stretch), pixel_scale_arcsec)
    except CutoutError as error:
        raise RequestError(422, str(error)) from error
    except GalaxyDAError:
        raise
    except Exception as error:  # on broken files, parsers raise any exception
        raise RequestError(422, f"the image cannot be read ({error})") from error


def check_image(data: bytes, limits: Limits) -> None:
    """Refuse a file of another kind (415), too large once decoded (413), or broken (422)."""
    if not data:
        raise RequestError(422, "the image is empty (0 bytes)")
    picture = next((kind for magic, kind in _PICTURES.items() if data.startswith(magic)), None)
    if picture is None and not data.startswith(_FITS):
        raise RequestError(415, "an image must be FITS, JPEG or PNG")
    try:
        shapes = [_picture_shape(data, picture)] if picture else _fits_shapes(data)
    except Image.DecompressionBombError as error:
        raise RequestError(413, str(error)) from error
    except Exception as error:  # on broken files, parsers raise any exception
        raise RequestError(422, f"the image cannot be read ({error})") from error
    for shape in shapes:
        pixels = math.prod(shape)
        if max(shape[-2:], default=0) > limits.image_side or pixels > limits.image_pixels:
            raise RequestError(
                413,
                f"the image is {' x '.join(map(str, shape))}; the limits are {limits.image_side} "
                f"pixels a side and {limits.image_pixels} pixels in all",
            )


def _picture_shape(data: bytes, kind: str) -> tuple[int, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            return (len(image.getbands()), image.height, image.width)


def _fits_shapes(data: bytes) -> list[tuple[int, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=True) as hdus:
            images = [hdu for hdu in hdus if hdu.is_image]
            tiles = [hdu.tile_shape for hdu in images if isinstance(hdu, fits.CompImageHDU)]
            return [*(tuple(hdu.shape) for hdu in images), *map(tuple, tiles)]

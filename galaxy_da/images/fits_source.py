"""Images of a FITS file whose pixels are read in parts, without those that a mask marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, shape_text
from galaxy_da.images.bands import find_band
from galaxy_da.images.calibration import linearise, noise_header, states_unit
from galaxy_da.images.hdu_roles import NOISE_KINDS, Role
from galaxy_da.images.masks import bad_pixels, noise_of
from galaxy_da.images.pictures import refuse_colour_values
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

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


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A mask, weight or noise of some planes of an image."""

    role: Role
    values: np.ndarray
    header: Header
    rows: np.ndarray
    name: str

    @classmethod
    def of(
        cls, role: Role, hdu: Any, shape: tuple[int, ...], bands: Sequence[str], survey: Survey
    ) -> Plane:
        """Find the planes of an image of some shape that a mask applies to."""
        values, name, rows = hdu_values(hdu), hdu_name(hdu), np.arange(shape[0])
        if role.band is not None and len(values) == 1 and len(bands) == len(rows):
            rows = rows[[find_band(band, survey) == role.band for band in bands]]
        if values.shape[1:] != shape[1:] or len(values) not in (1, len(rows)):
            raise CutoutError(
                f"extension {name} has shape {shape_text(values.shape)} but the image has "
                f"{shape_text(shape)}: it cannot be its mask or noise"
            )
        return cls(role=role, values=values, header=hdu.header, rows=rows, name=name)


@dataclass(frozen=True, kw_only=True)
class FitsSource:
    """One image of a FITS file, whose pixels are read in parts.

    Attributes
    ----------
    header, bands
        As of `FitsImage`.
    values : (planes, y, x) array
        Values of the file, mapped where it is not compressed.
    blank : float or None
        Value that marks a missing pixel.
    survey : Survey
        Survey of the image.
    planes : tuple
        Masks, weights and noise of the image.
    """

    header: Header
    values: np.ndarray
    bands: list[str] | None
    blank: float | None
    survey: Survey
    planes: tuple[Plane, ...]

    @property
    def has_noise(self) -> bool:
        """True if a plane states the noise."""
        return any(plane.role.kind in NOISE_KINDS for plane in self.planes)

    @cached_property
    def noise_headers(self) -> list[Header]:
        """For each plane, the header that calibrates its noise."""
        headers = [self.header] * len(self.values)
        for plane in self.planes:
            if plane.role.kind in NOISE_KINDS:
                for row in plane.rows:
                    headers[row] = noise_header(self.header, plane.header, plane.role.kind)
        return headers

    @cached_property
    def _states_unit(self) -> bool:
        return states_unit(self.header)

    def read(
        self,
        window: tuple[slice, slice] = (slice(None), slice(None)),
        out: np.ndarray | None = None,
    ) -> FitsImage:
        """Read the rows and columns of a window, masked pixels as NaN.

        Parameters
        ----------
        window : (rows, columns) slice
            Part of the image; by default all of it.
        out : (planes, y, x) float32 array, optional
            Array to read into.

        Raises
        ------
        CutoutError
            If they are the colours of a picture, or nearly all masked.
        """
        rows, columns = window
        values = self.values[:, rows, columns]
        if self.blank is not None:
            values = np.where(values == self.blank, np.nan, values)
        if not self._states_unit:
            refuse_colour_values(values, self.survey)
        pixels, noise = np.empty(values.shape, np.float32) if out is None else out, None
        np.copyto(pixels, values, casting="unsafe")
        for plane in self.planes:
            part, kind = plane.values[:, rows, columns], plane.role.kind
            bad = bad_pixels(part, kind, plane.header)
            if bad.mean() > _MOST_MASKED:
                raise CutoutError(
                    f"extension {plane.name} masks {bad.mean():.0%} of the pixels",
                    status="failed_quality",
                )
            for k, row in enumerate(plane.rows):
                pixels[row][bad[min(k, len(bad) - 1)]] = np.nan
            if kind in NOISE_KINDS:
                stated = noise_of(linearise(part.astype(np.float32), plane.header), kind)
                noise = np.full(len(pixels), np.nan, np.float32) if noise is None else noise
                noise[plane.rows] = stated
        return FitsImage(
            pixels=pixels,
            header=self.header,
            bands=self.bands,
            noise=noise,
            noise_headers=None if noise is None else self.noise_headers,
        )


def hdu_name(hdu: Any) -> str:
    """Return the name of an HDU in messages."""
    return hdu.name or "an unnamed one"


def blank_value(header: Header, *, is_integer: bool) -> float | None:
    """Return the scaled value of a ``BLANK`` that astropy 8.0 overlooks.

    These are a ``BLANK`` of zero, and every one of unsigned integers. `header` is that of the file,
    and `is_integer` says if astropy reads integers.
    """
    blank = header.get("BLANK") if header["BITPIX"] > 0 else None
    if not isinstance(blank, int) or (blank != 0 and not is_integer):
        return None
    zero, scale = header.get("BZERO", 0), header.get("BSCALE", 1)
    return float(zero) if blank == 0 else float(int(zero) + blank * int(scale))


def hdu_values(hdu: Any) -> np.ndarray:
    """Return the values of an HDU as (planes, y, x), axes of length one dropped."""
    shape = hdu.shape
    if math.prod(shape) > _LARGEST_PIXELS:
        raise CutoutError(
            f"extension {hdu_name(hdu)} of shape {shape_text(shape)} has too many pixels to read"
        )
    planes = [length for length in shape[:-2] if length != 1]
    if len(planes) > 1 or 0 in shape:
        raise CutoutError(f"expected an image or a cube of bands but has shape {shape_text(shape)}")
    return np.asarray(hdu.data).reshape(*(planes or [1]), *shape[-2:])

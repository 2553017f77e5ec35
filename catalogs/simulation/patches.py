"""Patches of sky, stored as spatial spectra so that any survey can observe them.

A survey multiplies a spectrum ``F(k)`` by the transfer function of its PSF. The image then follows
at any pixel centre, without interpolation::

    image(x) = pixel area * sum_k F(k) MTF(k) exp(2 pi i k.x)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from galaxy_da.surveys import NANOMAGGY_ZEROPOINT

STAMP_ARCSEC = 34.5  # least side of a cutout [arcsec]
FIELD_ARCSEC = 42.0
"""Default period of the patches [arcsec]. Light that leaves on one side returns on the other,
outside the cutout."""


@dataclass(frozen=True)
class Frequencies:
    """Spatial frequencies of a patch: multiples of 1 / `field_arcsec` up to `half`.

    They run from ``-half`` to ``half`` northward and from 0 to ``half`` eastward; the other half is
    the complex conjugate.
    """

    half: int
    field_arcsec: float = FIELD_ARCSEC

    @property
    def side(self) -> int:
        """Pixels along a side of the equivalent real grid."""
        return 2 * self.half + 1

    @property
    def pixel_arcsec(self) -> float:
        """Pixel of the equivalent real grid [arcsec]."""
        return self.field_arcsec / self.side

    @cached_property
    def east(self) -> Tensor:
        """(half + 1,) frequencies along right ascension [cycle / arcsec]."""
        return torch.arange(self.half + 1) / self.field_arcsec

    @cached_property
    def north(self) -> Tensor:
        """(side,) frequencies along declination, ascending [cycle / arcsec]."""
        return torch.arange(-self.half, self.half + 1) / self.field_arcsec

    @cached_property
    def offsets(self) -> Tensor:
        """(side,) coordinates of the real grid, ascending with 0 in the middle [arcsec]."""
        return torch.arange(-self.half, self.half + 1) * self.pixel_arcsec

    def phase(self, east: np.ndarray, north: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return (n, side, 1) and (n, 1, half + 1) factors that shift sources by (n,) offsets."""
        cycles_east = float_tensor(east)[:, None] * self.east
        cycles_north = float_tensor(north)[:, None] * self.north
        return unit_phase(-cycles_north)[:, :, None], unit_phase(-cycles_east)[:, None, :]

    def spectrum(self, image: Tensor) -> Tensor:
        """Transform (..., side, side) surface brightness, north up the rows and east along them."""
        centred = torch.fft.ifftshift(image, dim=(-2, -1))
        spectrum: Tensor = torch.fft.fftshift(torch.fft.rfft2(centred), dim=-2)
        return spectrum * self.pixel_arcsec**2

    def transform(self, image: Tensor, pixel_arcsec: float) -> Tensor:
        """Transform (..., m, m) brightness in pixels of any size around the middle of the patch.

        The first row is the southernmost, the first column the westernmost. Frequencies beyond
        those that the pixels can hold are zero.
        """
        side = image.shape[-1]
        offset = (torch.arange(side) - (side - 1) / 2) * pixel_arcsec
        top = min(self.half, int(0.5 / pixel_arcsec * self.field_arcsec))
        middle = slice(self.half - top, self.half + top + 1)
        rows = unit_phase(-self.north[middle, None] * offset)
        columns = unit_phase(-offset[:, None] * self.east[: top + 1]) * pixel_arcsec**2
        partly = torch.complex(image @ columns.real, image @ columns.imag)
        shape = (*image.shape[:-2], self.side, self.half + 1)
        spectrum = torch.zeros(shape, dtype=torch.complex64)
        spectrum[..., middle, : top + 1] = rows @ partly
        return spectrum

    def keep(self, spectra: Tensor, frequencies: Frequencies) -> Tensor:
        """Cut spectra to lower frequencies."""
        cut = self.half - frequencies.half
        return spectra[..., cut : cut + frequencies.side, : frequencies.half + 1]


@dataclass(frozen=True)
class Sky:
    """Patches of sky above the atmosphere, before any telescope.

    `mix` maps wavelengths [nm] to the (wavelengths, components) share of each component.
    """

    spectra: Tensor  # (n, components, side, half + 1) complex64 [nanomaggy]
    frequencies: Frequencies
    mix: Callable[[Sequence[float]], Tensor]

    def __len__(self) -> int:
        return len(self.spectra)

    def at(self, wavelengths_nm: Sequence[float], frequencies: Frequencies) -> Tensor:
        """(n, wavelengths, side, half + 1) spectra at some wavelengths, low frequencies only."""
        kept = self.frequencies.keep(self.spectra, frequencies)
        flat = torch.view_as_real(kept).reshape(len(self), kept.shape[1], -1)
        mixed = self.mix(wavelengths_nm) @ flat
        return torch.view_as_complex(mixed.reshape(len(self), -1, *kept.shape[2:], 2))


def nanomaggies(magnitude: np.ndarray) -> np.ndarray:
    """Convert AB magnitudes to fluxes [nanomaggy]."""
    return np.asarray(10 ** (0.4 * (NANOMAGGY_ZEROPOINT - magnitude)))


def float_tensor(values: np.ndarray) -> Tensor:
    """Convert an array to a float32 tensor."""
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def unit_phase(cycles: Tensor) -> Tensor:
    """Return the complex numbers of modulus 1 and a phase in cycles."""
    angle = 2 * math.pi * cycles
    return torch.complex(torch.cos(angle), torch.sin(angle))

"""Images in a frame as surface brightness, which is easier to change than scaled images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import PER_BAND, image_noise, with_noise
from galaxy_da.images.measurements import brightness
from galaxy_da.images.preparation import Frame


@dataclass(frozen=True)
class Light:
    """Brightness of n images on both grids of a frame.

    Attributes
    ----------
    grids : list of (n, bands, y, x) tensors
        Surface brightness [nanomaggy / arcsec^2], zero in missing bands.
    noise, softening : (n, bands) tensors
        Background noise of a pixel of the first grid, and softening, in the same unit.
    present : (n, bands) bool tensor
        True for bands that are there.
    conditions : (n, k) tensor
        Instruments.
    frame : Frame
        Frame of the images.
    """

    grids: list[Tensor]
    noise: Tensor
    softening: Tensor
    present: Tensor
    conditions: Tensor
    frame: Frame

    @classmethod
    def of(cls, images: Tensor, conditions: Tensor, frame: Frame) -> Light:
        """Undo the scaling of (n, bands of both grids, y, x) images without coverage planes."""
        n, bands = len(images), len(frame.bands)
        whole = torch.cat([images, torch.ones(n, 2, *images.shape[2:])], 1)
        grids, noise, present = brightness(Inputs(whole, conditions), frame)
        ones = torch.zeros(n, frame.planes, 1, 1)
        ones[:, : 2 * bands] = float(torch.asinh(torch.ones(1)))
        scale, _, _ = brightness(Inputs(ones.expand(-1, -1, 24, 24), conditions), frame)
        return cls(grids, noise, scale[0][..., 0, 0], present, conditions, frame)

    def __len__(self) -> int:
        return len(self.noise)

    @property
    def psf_fwhm_arcsec(self) -> Tensor:
        """Width of the PSF of each band by the conditions, (n, bands)."""
        bands = len(self.frame.bands)
        own = self.conditions[:, : bands * PER_BAND].reshape(len(self), bands, PER_BAND)
        return (own[..., 1] * 0.35).exp() * 1.2

    def coordinates(self, grid: int) -> tuple[Tensor, Tensor]:
        """Return x, (1, side), and y, (side, 1), of the pixels of a grid about the middle."""
        ramp = torch.arange(self.frame.pixels) - (self.frame.pixels - 1) / 2
        ramp = ramp * self.frame.scales_arcsec[grid]
        return ramp[None, :], ramp[:, None]

    def sigma(self, grid: int) -> Tensor:
        """Return the noise of a pixel of a grid, (n, bands, 1, 1)."""
        ratio = self.frame.scales_arcsec[0] / self.frame.scales_arcsec[grid]
        return (self.noise * ratio)[..., None, None]

    def with_grids(self, grids: list[Tensor]) -> Light:
        """Return other light by the same instruments."""
        return replace(self, grids=grids)

    def scaled(self) -> tuple[Tensor, Tensor]:
        """Return images without coverage planes, and conditions with the noise that they show."""
        parts = []
        for grid in self.grids:
            image = torch.asinh(grid / self.softening[..., None, None])
            parts.append(image * self.present[..., None, None])
        n, side = len(self), self.frame.pixels
        noise = image_noise(parts[0], torch.ones(n, side, side))
        return torch.cat(parts, 1), with_noise(self.conditions, noise)

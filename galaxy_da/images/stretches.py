"""Apply the colour stretches of archives, and invert them to recover flux.

The formula is in `galaxy_da.surveys.Stretch`. It can be inverted because the mean of the three
planes depends on the mean intensity alone: the intensity is recovered first, then each band.
"""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy_da.images.galaxy_zoo_colours import galaxy_zoo_flux
from galaxy_da.surveys import AnyStretch, GalaxyZooStretch, Stretch

_TINY = 1e-9


def apply_stretch(flux: Tensor, stretch: Stretch) -> Tensor:
    """Convert the fluxes of three bands to colour.

    Parameters
    ----------
    flux : (..., 3, y, x) float tensor [nanomaggy per stretch.pixel_scale_arcsec pixel]
        In the order of ``stretch.planes``.
    stretch : Stretch
        Constants of the stretch.

    Returns
    -------
    (..., 3, y, x) uint8 tensor
    """
    shifted = flux * _planes(stretch.scales, flux) + stretch.offset
    intensity = shifted.clamp_min(0).mean(-3, keepdim=True) + _TINY
    colour = shifted * torch.asinh(stretch.q * intensity) / (stretch.divisor * intensity)
    return (colour.clamp(0, 1) * 255).round().to(torch.uint8)


def invert_stretch(colour: Tensor, stretch: AnyStretch) -> Tensor:
    """Recover flux from colour, up to 8-bit rounding and saturation.

    Parameters
    ----------
    colour : (..., 3, y, x) uint8 tensor
        Red, green and blue.
    stretch : Stretch
        Constants of the stretch.

    Returns
    -------
    (..., 3, y, x) float32 tensor [nanomaggy per stretch.pixel_scale_arcsec pixel]
        In the order of ``stretch.planes``. Pixels at 0 or 255 in a plane are limits, not values.
    """
    if isinstance(stretch, GalaxyZooStretch):
        return torch.from_numpy(galaxy_zoo_flux(colour.cpu().numpy())).to(colour.device)
    total = torch.arange(3 * 255 + 1, device=colour.device)  # every sum of three planes
    mean = total.clamp_min(1) / (3 * 255)
    gain = torch.sinh(stretch.divisor * mean) / (stretch.q * mean)
    colour = colour.contiguous()  # plane by plane: colours of a pixel side by side are slower
    level = colour[..., 0, :, :].int()
    level.add_(colour[..., 1, :, :].int()).add_(colour[..., 2, :, :].int())
    ratio = (gain / 255).index_select(0, level.flatten()).reshape(level.shape).unsqueeze(-3)
    flux = colour.float().mul_(ratio)  # bytes and floats in one operation are 60 times slower
    return flux.sub_(stretch.offset).div_(_planes(stretch.scales, ratio))


def _planes(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]

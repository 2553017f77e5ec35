"""Galaxies of every survey in one set of colours: those of the Legacy Surveys viewer.

So a galaxy keeps its hue and brightness wherever it was observed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.images.preparation import Frame
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.surveys import Survey, get_survey

__all__ = ["to_decals_colour"]

_COLOURS_OF = "decals"
_SMOOTHING_PX = 1.5


def to_decals_colour(images: Tensor, survey: Survey, bands: Sequence[str], frame: Frame) -> Tensor:
    """Show prepared images of any survey in the colours of DECaLS.

    Each plane shows the survey's band nearest in wavelength, its factor interpolated to that
    wavelength, so a single band comes out grey. Where the light is below the noise of a pixel,
    colour would be noise alone: there the picture fades to the planes' inverse-variance mean.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        As `galaxy_da.images.preparation.prepare` makes them.
    survey : Survey
        What they are of.
    bands : sequence of str
        The survey's bands, in order.
    frame : Frame
        Their frame.

    Returns
    -------
    (n, y, x, 3) uint8 tensor
        The first row is the northernmost, as pictures are drawn.
    """
    like = get_survey(_COLOURS_OF)
    stretch = like.stretch
    assert stretch is not None
    wanted_nm = [like.band(name).wavelength_nm for name in stretch.planes]
    shown = [survey.nearest_band(nm, among=tuple(bands)) for nm in wanted_nm]
    shown_nm = [band.wavelength_nm for band in shown]
    softening = images.new_tensor([frame.softening_at(nm) for nm in shown_nm])
    brightness = torch.sinh(images[:, [bands.index(band.name) for band in shown]])
    flux = brightness * softening[:, None, None] * stretch.pixel_scale_arcsec**2
    ascending = np.argsort(wanted_nm)
    scales = np.interp(
        shown_nm, np.array(wanted_nm)[ascending], np.array(stretch.scales)[ascending]
    )
    factors = flux.new_tensor(scales)[:, None, None]
    fitted = stretch.model_copy(update={"scales": tuple(scales.tolist())})
    colour = apply_stretch(_without_colour_noise(flux * factors) / factors, fitted)
    return colour.flip(2).movedim(1, -1)


def _without_colour_noise(planes: Tensor) -> Tensor:
    """Fade (n, 3, y, x) planes to grey where their mean is below the noise."""
    smooth = torch.from_numpy(gaussian_filter(planes.numpy(), (0, 0, *(_SMOOTHING_PX,) * 2)))
    rough = (planes - smooth).abs().flatten(2).median(2).values * SIGMA_PER_MAD
    variance = rough.square().clamp_min(1e-8)[..., None, None]
    grey = (planes / variance).sum(1, keepdim=True) / (1 / variance).sum(1, keepdim=True)
    light = smooth.mean(1, keepdim=True).clamp_min(0).square()
    return grey + light / (light + variance.mean(1, keepdim=True)) * (planes - grey)

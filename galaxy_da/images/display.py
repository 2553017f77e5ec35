"""Colour pictures of galaxies of every survey, in the colours of the Legacy Surveys viewer.

A galaxy thus has the same hue and brightness in every survey.
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
from galaxy_da.surveys import Stretch, Survey, get_survey

_REFERENCE_SURVEY = "decals"
_SMOOTHING_PX = 1.5


def to_decals_colour(
    images: Tensor, survey: Survey, bands: Sequence[str | None], frame: Frame
) -> Tensor:
    """Draw prepared images of any survey in the colours of DECaLS.

    Each plane shows the survey's band nearest in wavelength, scaled by the stretch's factor at
    that wavelength; a single band gives a grey picture. In pixels whose light is below the noise,
    the picture fades to grey: the inverse-variance mean of the planes.

    Parameters
    ----------
    images : (n, planes, y, x) float tensor
        Output of `galaxy_da.images.preparation.prepare`; the first grid is drawn.
    survey : Survey
        Survey of the images.
    bands : sequence of str or None
        Bands of the images, in order; None for a missing one.
    frame : Frame
        Frame of the images.

    Returns
    -------
    (n, y, x, 3) uint8 tensor
        The first row is the northernmost.
    """
    decals = get_survey(_REFERENCE_SURVEY)
    stretch = decals.stretch
    assert isinstance(stretch, Stretch)
    wanted_nm = [decals.band(name).wavelength_nm for name in stretch.planes]
    present = tuple(name for name in bands if name is not None)
    nearest = [survey.nearest_band(nm, among=present) for nm in wanted_nm]
    nearest_nm = [band.wavelength_nm for band in nearest]
    softening = images.new_tensor([frame.softening_at(nm) for nm in nearest_nm])
    brightness = torch.sinh(images[:, [bands.index(band.name) for band in nearest]])
    flux = brightness * softening[:, None, None] * stretch.pixel_scale_arcsec**2
    ascending = np.argsort(wanted_nm)
    scales = np.interp(
        nearest_nm, np.array(wanted_nm)[ascending], np.array(stretch.scales)[ascending]
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

"""Spatial spectra of spiral arms, drawn in the plane of the disc on a grid of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from catalogs.simulation.half_light import DISC_HALF_LIGHT, arm_hole
from catalogs.simulation.patches import Frequencies

_REACH = 7.0  # scale lengths of the disc, beyond which arms are left out
_FINEST = 12.0  # pixels in a scale length, at most
_OVERSAMPLED = 1.7  # pixels in one of the equivalent real grid, at most


def arm_spectrum(truth: dict[str, np.ndarray], row: int, frequencies: Frequencies) -> Tensor:
    """Return the (side, half + 1) spectrum of one galaxy's arms, of unit flux."""
    value = {name: float(values[row]) for name, values in truth.items()}
    scale = value["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    pixel = max(scale / _FINEST, frequencies.pixel_arcsec / _OVERSAMPLED)
    half = int(np.ceil(min(_REACH * scale, 0.49 * frequencies.field_arcsec) / pixel))
    offset = torch.arange(-half, half + 1) * pixel
    image = _image(value, float(arm_hole(truth)[row]), offset / scale)
    return frequencies.transform(image / (image.sum() * pixel**2), pixel)


def _image(value: dict[str, float], hole: float, offset: Tensor) -> Tensor:
    """(side, side) logarithmic spirals over an exponential disc; offsets in scale lengths."""
    pa = np.radians(value["position_angle_deg"])
    east, north = offset[None, :], offset[:, None]
    along = east * np.sin(pa) + north * np.cos(pa)
    across = (east * np.cos(pa) - north * np.sin(pa)) / value["axis_ratio"]
    radius = torch.hypot(along, across).clamp_min_(1e-3)
    azimuth = value["arm_sense"] * torch.atan2(across, along)
    winding = torch.log(radius) / np.tan(np.radians(value["pitch_deg"]))
    crest = value["n_arms"] * (azimuth - winding) + value["arm_phase"]
    lopsided = 1 + 0.35 * torch.cos(azimuth + 3 * value["arm_phase"])
    ridge = torch.exp(value["arm_sharpness"] * (torch.cos(crest) - 1))
    image: Tensor = torch.exp(-radius) * ridge * lopsided / (1 + (hole / radius) ** 3)
    return image

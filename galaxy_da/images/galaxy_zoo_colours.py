"""Recover flux from Galaxy Zoo's colour images of DECaLS.

Galaxy Zoo did not use the Legacy Surveys viewer's colours. Each band goes through its own asinh,
from -0.5 to 300 units; then each pixel is desaturated, more so the more coloured it is
(`dr2_style_rgb` with ``desaturate``, zooniverse/decals; Walmsley et al. 2022, MNRAS 509, 3966).
With the viewer's stretch, the recovered sky would be at least one sigma of noise below zero.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_UNIT = np.array([0.019, 0.014, 0.008])[:, None, None]  # nanomaggy
_LOW, _HIGH = np.arcsinh((-0.5, 300))
_GREYEST = 2.5  # a pixel with a plane of this many times the mean becomes wholly grey
_FOLD = 1.78  # above this ratio, a more coloured pixel comes out less coloured
_HALVINGS = 16


def galaxy_zoo_flux(colour: np.ndarray) -> np.ndarray:
    """Recover flux from a Galaxy Zoo image of DECaLS.

    The inverse is not unique for a pixel with one plane above 1.78 times the mean of the planes;
    the less coloured solution is returned.

    Parameters
    ----------
    colour : (..., 3, y, x) uint8 array
        Red, green and blue.

    Returns
    -------
    (..., 3, y, x) float32 array [nanomaggy per pixel of 0.262 arcsec]
        In the order z, r, g. Pixels at 0 or 255 in a plane are limits, not values.
    """
    whole = colour.astype(np.int32)
    total = whole.sum(-3, keepdims=True)
    grey, gain = (table[total, whole.max(-3, keepdims=True)] for table in _tables())
    stretched = grey + (whole - total / 3) / 255 / gain
    flux = _UNIT * np.sinh(_LOW + stretched * (_HIGH - _LOW))
    return np.asarray(flux, np.float32)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate `_desaturation` by the sum and the largest of three bytes, by bisection."""
    total, largest = np.arange(3 * 255 + 1)[:, None], np.arange(256)
    mean = (total / 3 + 0.5) / 255 + 0 * largest  # bytes were cut off, not rounded
    above = (largest - total / 3) / 255
    low, high = np.ones_like(mean), np.full_like(mean, _FOLD)  # largest plane over the mean
    for _ in range(_HALVINGS):
        ratio = (low + high) / 2
        grey, gain = _desaturation(mean, ratio)
        enough = grey * (ratio - 1) * gain >= above
        low, high = np.where(enough, low, ratio), np.where(enough, ratio, high)
    return _desaturation(mean, (low + high) / 2)


def _desaturation(mean: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the planes before desaturation, and the factor on their differences."""
    pull = 1 - np.sin((1 - ratio / _GREYEST) * np.pi / 2)
    square = np.maximum(pull**2, 1e-12)
    grey = (np.sqrt(1 + 4 * square * mean) - 1) / (2 * square)  # mean = grey + square grey^2
    return grey, 1 - pull + square * grey

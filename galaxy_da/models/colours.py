"""Relation of two colours of galaxies, at any wavelengths.

Galaxies of all ages lie near a line in the plane of two colours, so that a sample off this line has
a wrong zeropoint or bands in another order. Colours are slopes: magnitudes over the logarithm of
the ratio of wavelengths.
"""

from __future__ import annotations

import numpy as np

COEFFICIENTS = 9
"""Numbers of a relation."""

_ROUNDS, _FAR = 10, 1.5  # of the robust fit, and its limit in standard deviations
_MAD = 1.4826


def colour_slope(magnitudes: np.ndarray, wavelengths_nm: np.ndarray) -> np.ndarray:
    """Return the first colour of (n, 3) magnitudes over the logarithm of the wavelengths, (n,)."""
    step = np.log(wavelengths_nm[:, 1] / wavelengths_nm[:, 0])
    return np.asarray((magnitudes[:, 0] - magnitudes[:, 1]) / step)


def colour_residuals(
    relation: np.ndarray, magnitudes: np.ndarray, wavelengths_nm: np.ndarray, frame_nm: np.ndarray
) -> np.ndarray:
    """Return the second colour less that expected beside the first, (n,) [mag].

    `magnitudes` and `wavelengths_nm` are (n, 3), `frame_nm` (3,) are the wavelengths of the frame.
    """
    terms, slope, step = _terms(magnitudes, wavelengths_nm, frame_nm)
    return np.asarray((slope - terms @ relation) * step)


def fit_colour_relation(
    magnitudes: np.ndarray, wavelengths_nm: np.ndarray, frame_nm: np.ndarray
) -> np.ndarray:
    """Fit a relation to galaxies by robust least squares, (`COEFFICIENTS`,) float32."""
    terms, slope, step = _terms(magnitudes, wavelengths_nm, frame_nm)
    weight = np.ones(len(slope))
    for _ in range(_ROUNDS):
        found = np.linalg.lstsq(terms * weight[:, None], slope * weight, rcond=None)[0]
        residual = np.abs((slope - terms @ found) * step)
        limit = _FAR * _MAD * np.median(residual)
        weight = np.sqrt(limit / np.maximum(residual, limit))
    return np.asarray(found, np.float32)


def _terms(
    magnitudes: np.ndarray, wavelengths_nm: np.ndarray, frame_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return terms of the relation, the second slope, and its logarithm of wavelengths."""
    first = colour_slope(magnitudes, wavelengths_nm)
    second = colour_slope(magnitudes[:, 1:], wavelengths_nm[:, 1:])
    shift = np.log(wavelengths_nm / frame_nm)
    columns = [np.ones_like(first), first, first**2, shift, first[:, None] * shift]
    step = np.log(wavelengths_nm[:, 2] / wavelengths_nm[:, 1])
    return np.column_stack(columns), second, step

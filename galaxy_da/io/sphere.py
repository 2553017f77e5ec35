"""Positions on the celestial sphere: unit vectors, chords and angular separations."""

from __future__ import annotations

import numpy as np


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Convert (...) positions [deg] to (..., 3) float64 unit vectors."""
    ra, dec = np.radians(ra), np.radians(dec)
    cos_dec = np.cos(dec)
    return np.stack([cos_dec * np.cos(ra), cos_dec * np.sin(ra), np.sin(dec)], axis=-1)


def chord(arcsec: float) -> float:
    """Return the distance between two unit vectors at an angle [arcsec]."""
    if not 0 <= arcsec <= 180 * 3600:
        raise ValueError(f"radius must be 0 to 648000 arcsec but is {arcsec}")
    return float(2 * np.sin(np.radians(arcsec / 3600) / 2))


def chord_to_arcsec(chords: np.ndarray) -> np.ndarray:
    """Return the angles [arcsec] between unit vectors at (...) distances."""
    half = np.arcsin(np.minimum(np.asarray(chords, dtype=float) / 2, 1))
    return np.asarray(np.degrees(2 * half) * 3600)


def separation_arcsec(
    ra1: np.ndarray | float,
    dec1: np.ndarray | float,
    ra2: np.ndarray | float,
    dec2: np.ndarray | float,
) -> np.ndarray:
    """Return the angles [arcsec] between positions [deg], by broadcasting.

    The haversine formula is exact to rounding for small angles and takes half the time of
    `astropy.coordinates.angular_separation`. Near 180 degrees it is good to 0.01 arcsec.
    """
    d1, d2 = np.radians(dec1), np.radians(dec2)
    h = np.sin((d2 - d1) / 2) ** 2
    h += np.cos(d1) * np.cos(d2) * np.sin(np.radians(ra2 - ra1) / 2) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(h, 1.0)))) * 3600)

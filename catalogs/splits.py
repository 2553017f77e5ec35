"""Split the sky into train, validation and test parts.

A galaxy's part depends on its position alone, so it is the same in every catalogue and run.
Neighbours that share a blend, a calibration or a PSF stay in one part.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from galaxy_da.io.tables import check_positions

__all__ = ["PARTS", "sky_split"]

PARTS = ("train", "validation", "test")


def sky_split(
    ra: np.ndarray,
    dec: np.ndarray,
    *,
    nside: int = 64,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.5, 0.15, 0.35),
) -> np.ndarray:
    """Assign positions to parts by HEALPix cell.

    Parameters
    ----------
    ra, dec : (n,) float array
        Positions [ICRS deg].
    nside : int
        HEALPix resolution, a power of two. The default's cells are 0.92 deg wide: wider than the
        bricks, fields and exposures that share sky level, PSF and calibration (0.2 to 0.3 deg), yet
        some 120 of them cover 100 square degrees. A field of a degree needs a finer one: 256 gives
        14 arcmin.
    seed : int
        Seed of the split; not negative.
    fractions : tuple of float
        Share of the cells in each of `PARTS`; they add up to one.

    Returns
    -------
    (n,) array of ``<U10``
        One of `PARTS` for each position. Small fields may leave a part empty.

    Raises
    ------
    ValueError
        If an argument is out of range.
    CatalogError
        If a position is bad.

    References
    ----------
    Cells: Gorski et al. 2005, ApJ 622, 759, nested order. Hash: SplitMix64, Steele, Lea & Flood
    2014, OOPSLA, doi:10.1145/2660193.2660195, with the constants of Vigna's ``splitmix64.c``.
    """
    if nside < 1 or nside & (nside - 1):
        raise ValueError(f"nside must be a power of two but is {nside}")
    if seed < 0:
        raise ValueError(f"seed must not be negative but is {seed}")
    if min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions must not be negative and add up to 1 but are {fractions}")
    ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    check_positions(ra, dec, "split")
    cell = lonlat_to_healpix(ra * u.deg, dec * u.deg, nside, order="nested")
    stream = _splitmix64(np.full(1, seed, dtype=np.uint64))
    draw = (_splitmix64(cell.astype(np.uint64) ^ stream) >> np.uint64(11)) * 2.0**-53
    part = np.searchsorted(np.cumsum(fractions)[:-1], draw, side="right")
    return np.asarray(PARTS)[part]


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Return the first output of SplitMix64 for each state, (n,) uint64."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))

"""Settings of a crossmatch, the same for the local engine and for Dask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Mode = Literal["mutual", "nearest", "all"]
How = Literal["inner", "left", "outer"]

MAX_RADIUS_ARCSEC = 3600.0
"""Largest radius of a match [arcsec]."""


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """Radius of a crossmatch, the pairs to keep, and the measurement of chance matches.

    Attributes
    ----------
    radius_arcsec, min_radius_arcsec : float
        Largest and smallest separation of a pair, both included [arcsec]; at most
        `MAX_RADIUS_ARCSEC`. Nearer rows are no candidates.
    sigmas : float, optional
        Largest separation in units of the pair's combined position error,
        √(σ_anchor² + σ_target²). One side may lack errors; they then count as zero.
    mode : {"mutual", "nearest", "all"}
        ``mutual`` keeps pairs of which neither member has a nearer neighbour on the other side:
        one to one. ``nearest`` keeps each anchor's nearest target, ``all`` every pair. Among equal
        separations the lowest row wins.
    how : {"inner", "left", "outer"}
        ``inner`` returns pairs only; ``left`` also anchors without a pair; ``outer`` also targets
        without one. Their missing columns are null.
    allow_same_survey : bool
        Accept two observations of one survey.
    n_offsets : int
        Number of measurements of the false-match rate; at least 2.
    seed : int
        Seed of the random offsets.

    Raises
    ------
    ValueError
        If a radius, number, mode or way to join is out of range.

    Examples
    --------
    >>> from catalogs.matching import MatchSettings
    >>> MatchSettings(radius_arcsec=0.5, mode="nearest").how
    'inner'
    >>> MatchSettings(radius_arcsec=-1)
    Traceback (most recent call last):
    ValueError: ...
    """

    radius_arcsec: float = 1.0
    min_radius_arcsec: float = 0.0
    sigmas: float | None = None
    mode: Mode = "mutual"
    how: How = "inner"
    allow_same_survey: bool = False
    n_offsets: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        radius, smallest = self.radius_arcsec, self.min_radius_arcsec
        if not 0 < radius <= MAX_RADIUS_ARCSEC:
            raise ValueError(f"radius_arcsec must be in (0, {MAX_RADIUS_ARCSEC:g}] but is {radius}")
        if not 0 <= smallest < radius:
            raise ValueError(
                f"min_radius_arcsec must be in [0, {radius:g}), below the radius, but is {smallest}"
            )
        if self.sigmas is not None and not 0 < self.sigmas < np.inf:
            raise ValueError(f"sigmas must be positive but is {self.sigmas}")
        for name, value, kind in (("mode", self.mode, Mode), ("how", self.how, How)):
            if value not in (choices := get_args(kind)):
                raise ValueError(f"{name} must be one of {', '.join(choices)} but is {value!r}")
        if self.n_offsets < 2:
            raise ValueError(f"n_offsets must be at least 2 but is {self.n_offsets}")

"""Split the sky into train, validation and test parts.

A galaxy's part depends on its position and on a `SkySplit`: an order of HEALPix cells and a seed.
The same split therefore serves every catalogue of a run. `choose_split` keeps the split of wide
surveys fixed, and takes finer cells for a field that would fall into too few. Spaces and metrics
record the split, so that a survey is evaluated on galaxies that its adaptation never used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy_healpix import lonlat_to_healpix

from galaxy_da.errors import CatalogError
from galaxy_da.io.positions import usable_positions

PARTS = ("train", "validation", "test")

FIELD_FRACTIONS = (0.7, 0.15, 0.15)
"""Shares of the parts in a field with cells of its own: it has few galaxies to train on."""

FINEST_ORDER = 12
"""Finest order of the cells, 52 arcsec: smaller ones would be narrower than two images."""

_FRAME_ARCSEC = 33.0  # images of galaxies closer than this overlap
_REPEAT_ARCSEC = 5.0  # rows closer than this may be one galaxy
_FEWEST_CELLS = 20
_TOLERANCE, _KNOWN_TOLERANCE = 0.02, 0.1  # errors of a part's share
_MOST_SEEDS, _MOST_DRAWS = 10_000, 1_000_000
_MOST_NEIGHBOURS = 20_000


@dataclass(frozen=True, kw_only=True)
class SkySplit:
    """A split of the whole sky; the defaults are those of wide surveys.

    Attributes
    ----------
    order : int
        HEALPix order of the cells. The default's are 0.92 deg wide: wider than the bricks, fields
        and exposures that share sky level, PSF and calibration (0.2 to 0.3 deg), yet some 120 of
        them cover 100 square degrees.
    seed : int
        Seed of the split; not negative.
    fractions : tuple of float
        Share of the cells in each of `PARTS`; they add up to one.
    """

    order: int = 6
    seed: int = 0
    fractions: tuple[float, float, float] = (0.5, 0.15, 0.35)

    def part(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return the part of each position [ICRS deg], (n,) array; see `sky_split`."""
        return sky_split(ra, dec, nside=2**self.order, seed=self.seed, fractions=self.fractions)

    def as_record(self) -> dict[str, Any]:
        """Return the split as plain values, for the record of a space and for metrics."""
        return {**asdict(self), "fractions": list(self.fractions)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the split of `as_record`."""
        train, validation, test = map(float, record["fractions"])
        return cls(
            order=int(record["order"]),
            seed=int(record["seed"]),
            fractions=(train, validation, test),
        )


def recorded_split(record: Mapping[str, Any]) -> SkySplit:
    """Return the split in a record of training or adaptation.

    Records of earlier releases hold none: they used the split of wide surveys.
    """
    return SkySplit.of_record(record["split"]) if "split" in record else SkySplit()


def choose_split(ra: np.ndarray, dec: np.ndarray, known: Sequence[SkySplit] = ()) -> SkySplit:
    """Choose the split that suits the extent and density of the data.

    Parameters
    ----------
    ra, dec : (n,) float array
        Positions of the galaxies [ICRS deg], in any order.
    known : sequence of SkySplit
        Splits that the space was trained with, which are preferred to a new one.

    Returns
    -------
    SkySplit
        The default if two random galaxies share one of its cells at most once in 20: the data are
        wide. Otherwise the first of `known` that gives parts near its fractions. Otherwise a new
        one, of the coarsest cells that two galaxies share at most once in 20. Its seed gives parts
        near 70, 15 and 15% of the galaxies, and separates the fewest repeat observations and
        overlapping images. Fewer than three galaxies get the default.

    Raises
    ------
    CatalogError
        If the galaxies lie too close together for three parts, or no position is usable.
    """
    ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    good = usable_positions(ra, dec, "split")
    ra, dec = ra[good], dec[good]
    default = SkySplit()
    if len(ra) < len(PARTS):
        return default
    galaxies = _Galaxies(ra, dec)
    if galaxies.fill_cells(default.order):
        return default
    for split in known:
        shares = galaxies.shares(split)
        if shares.min() > 0 and np.abs(shares - split.fractions).max() <= _KNOWN_TOLERANCE:
            return split
    galaxies.check_extent()
    orders = range(default.order, FINEST_ORDER + 1)
    found = []
    for order in [order for order in orders if galaxies.fill_cells(order)] or [FINEST_ORDER]:
        best = galaxies.best_seed(order)
        if best is not None and best[0] <= _TOLERANCE:
            return best[1]
        found += [best] if best is not None else []
    if not found:
        raise CatalogError(
            f"the {len(ra)} galaxies cannot be split into {', '.join(PARTS)}: they lie in "
            f"{galaxies.cells(FINEST_ORDER)} cells of {_cell_arcsec(FINEST_ORDER):.0f} arcsec, at "
            f"least {len(PARTS)} are needed; use a larger area"
        )
    return min(found, key=lambda scored: scored[0])[1]


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
        HEALPix resolution, a power of two.
    seed, fractions
        As for `SkySplit`.

    Returns
    -------
    (n,) array of ``<U10``
        One of `PARTS` for each position, empty for one that is not usable. Small fields may leave a
        part empty; see `choose_split`.

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
    good = usable_positions(ra, dec, "split")
    cell = lonlat_to_healpix(ra[good] * u.deg, dec[good] * u.deg, nside, order="nested")
    parts = np.full(len(ra), "", dtype=np.asarray(PARTS).dtype)
    parts[good] = np.asarray(PARTS)[_part_numbers(cell, np.array([seed]), fractions)[0]]
    return parts


class _Galaxies:
    """Positions to split, counted by cell."""

    def __init__(self, ra: np.ndarray, dec: np.ndarray) -> None:
        self._sky = SkyCoord(ra * u.deg, dec * u.deg)
        finest = lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**FINEST_ORDER, order="nested")
        self._finest = np.asarray(finest, np.int64)

    def cells(self, order: int) -> int:
        """Return the number of occupied cells."""
        return len(np.unique(self._cell(order)))

    def fill_cells(self, order: int) -> bool:
        """Tell if two galaxies share a cell at most once in 20."""
        counts = np.unique(self._cell(order), return_counts=True)[1].astype(np.float64)
        n = counts.sum()
        return bool(_FEWEST_CELLS * (counts * (counts - 1)).sum() <= n * (n - 1))

    def shares(self, split: SkySplit) -> np.ndarray:
        """Return the share of galaxies in each part, (3,) float array."""
        part = split.part(self._sky.ra.deg, self._sky.dec.deg)
        return np.array([np.mean(part == name) for name in PARTS])

    def check_extent(self) -> None:
        """Refuse galaxies that lie within three images."""
        centre = SkyCoord(self._sky.cartesian.mean(), frame=self._sky.frame)
        extent = 2 * float(self._sky.separation(centre).arcsec.max())
        if extent < len(PARTS) * _FRAME_ARCSEC:
            raise CatalogError(
                f"the {len(self._sky)} galaxies cannot be split into {', '.join(PARTS)}: they lie "
                f"within {extent:.0f} arcsec, at least {len(PARTS) * _FRAME_ARCSEC:.0f} are "
                "needed; use a larger area"
            )

    def best_seed(self, order: int) -> tuple[float, SkySplit] | None:
        """Return the best split into cells of an order, and its largest error of a share."""
        cells, number, counts = np.unique(
            self._cell(order), return_inverse=True, return_counts=True
        )
        seeds = np.arange(np.clip(_MOST_DRAWS // len(cells), 1, _MOST_SEEDS))
        part = _part_numbers(cells, seeds, FIELD_FRACTIONS)
        shares = np.stack([(part == k) @ counts for k in range(len(PARTS))], axis=1) / counts.sum()
        error = np.abs(shares - FIELD_FRACTIONS).max(1)
        error[shares.min(1) == 0] = np.inf
        repeats, overlaps = (_separated(part, number, close) for close in self._close)
        # lexsort: the last key decides first
        best = np.lexsort((error, overlaps, repeats, np.maximum(error, _TOLERANCE)))[0]
        if not np.isfinite(error[best]):
            return None
        split = SkySplit(order=order, seed=int(seeds[best]), fractions=FIELD_FRACTIONS)
        return float(error[best]), split

    def _cell(self, order: int) -> np.ndarray:
        return np.asarray(self._finest >> (2 * (FINEST_ORDER - order)))  # nested numbering

    @cached_property
    def _close(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of two galaxies that may be one, and of two in each other's image, (2, n) arrays."""
        rows = np.lexsort((self._sky.ra.deg, self._sky.dec.deg))
        rows = rows[:: -(-len(rows) // _MOST_NEIGHBOURS)]
        some = self._sky[rows]
        first, second, apart, _ = search_around_sky(some, some, _FRAME_ARCSEC * u.arcsec)
        once = first < second
        pairs = rows[np.stack([first, second])[:, once]]
        return pairs[:, apart[once] < _REPEAT_ARCSEC * u.arcsec], pairs


def _separated(part: np.ndarray, number: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Count close galaxies in different parts for each seed.

    Arguments: (seeds, cells) parts, (n,) cell of each galaxy, (2, pairs) rows of close galaxies.
    """
    pairs = np.sort(number[close], axis=0)
    pairs, counts = np.unique(pairs[:, pairs[0] < pairs[1]], axis=1, return_counts=True)
    return np.asarray((part[:, pairs[0]] != part[:, pairs[1]]) @ counts)


def _part_numbers(
    cell: np.ndarray, seeds: np.ndarray, fractions: tuple[float, float, float]
) -> np.ndarray:
    """Return the part of each cell for each seed, (seeds, n) int array."""
    stream = _splitmix64(seeds.astype(np.uint64))[:, None]
    draw = (_splitmix64(cell.astype(np.uint64) ^ stream) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(np.cumsum(fractions)[:-1], draw, side="right")


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Return the first output of SplitMix64 for each state, (n,) uint64."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _cell_arcsec(order: int) -> float:
    """Return the side of a cell [arcsec]."""
    return float(np.degrees(np.sqrt(np.pi / 3)) * 3600 / 2**order)

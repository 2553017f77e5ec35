"""Positions of the rows of a table: a row without a usable one never ends a run.

Such a row keeps its place in samples and features, with the status ``bad_position``. It has no
embedding, matches nothing, belongs to no part of the sky, and is left out of HATS catalogues. A row
whose ``position_known`` is false has no position either, but its image is read like any other.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import CatalogError

BAD_POSITION = "bad_position"
"""Status of a row whose position is missing, not finite or out of range."""

_RANGES = {"ra": (0.0, 360.0), "dec": (-90.0, 90.0)}
_SWAPPED_ROWS, _SWAPPED_SHARE = 2, 0.05


def position_problem(ra: float | None, dec: float | None) -> str | None:
    """Return the problem of a position [ICRS deg] as a sentence, None if it has none."""
    for name, value in (("ra", ra), ("dec", dec)):
        low, high = _RANGES[name]
        if value is None or not (math.isfinite(value) and low <= value <= high):
            shown = "missing" if value is None else f"{value:g}"
            hint = " (swapped with ra?)" if name == "dec" and high < (value or 0) <= 360 else ""
            return f"{name} is {shown}; expected degrees in [{low:g}, {high:g}]{hint}"
    return None


def are_positions(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return a mask of the positions [ICRS deg] that are finite and in range, (n,) bool array."""
    good = np.ones(len(ra), bool)
    for value, (low, high) in zip((ra, dec), _RANGES.values(), strict=True):
        good &= np.isfinite(value) & (value >= low) & (value <= high)
    return good


def positions_known(table: pa.Table) -> np.ndarray:
    """Return a mask of the rows whose ``position_known`` is not false, (n,) bool array."""
    if "position_known" not in table.column_names:
        return np.ones(table.num_rows, bool)
    return np.asarray(pc.fill_null(table["position_known"], True), bool)


def without_positions(table: pa.Table, keep: np.ndarray) -> pa.Table:
    """Return a table with null positions where `keep`, (n,) bool array, is false."""
    for place, name in enumerate(table.column_names if not keep.all() else ()):
        if name in ("ra", "dec"):
            table = table.set_column(place, name, pc.if_else(pa.array(keep), table[name], None))
    return table


def usable_positions(ra: np.ndarray, dec: np.ndarray, where: str) -> np.ndarray:
    """Return `are_positions` of a table, which `where` names in errors.

    Raises CatalogError if there are rows but none can be used, or ra and dec look swapped.
    """
    good = are_positions(ra, dec)
    if look_swapped(ra, dec):
        raise CatalogError(
            f"{where}: dec reaches {dec[dec <= 360].max():g} while ra reaches {np.nanmax(ra):g}; "
            "expected dec in [-90, 90] deg: ra and dec look swapped; exchange them"
        )
    if len(good) and not good.any():
        problem = position_problem(float(ra[0]), float(dec[0]))
        raise CatalogError(f"{where}: none of {len(good)} rows has a usable position: {problem}")
    return good


def look_swapped(ra: np.ndarray, dec: np.ndarray) -> bool:
    """Test if most declinations can only be right ascensions, or several where no ra can."""
    if not len(dec):
        return False
    limit = _RANGES["dec"][1]
    only_ra = np.mean((dec > limit) & (dec <= _RANGES["ra"][1]))
    few = max(min(_SWAPPED_ROWS / len(dec), 1), _SWAPPED_SHARE)
    if only_ra > 0.5 or only_ra < few:
        return bool(only_ra > 0.5)
    return bool((np.abs(ra[np.isfinite(ra)]) <= limit).all())

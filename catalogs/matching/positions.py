"""Which rows of two catalogues are the same source on the sky."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from catalogs.matching.assignment import Match, Mode, match_zones
from catalogs.matching.chance import chance_matches
from catalogs.matching.diagnosis import explain_no_pairs
from catalogs.matching.identity import measure_offset, refuse_same_ids, refuse_same_survey
from catalogs.matching.zones import Reach, Zones, sort_zones
from catalogs.reading.columns import POSITION_ERROR
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import check_positions, check_unique, read_metadata, with_metadata

__all__ = ["MAX_RADIUS_ARCSEC", "How", "Mode", "crossmatch"]

How = Literal["inner", "left", "outer"]

MAX_RADIUS_ARCSEC = 3600.0
"""Largest radius a match is asked for [arcsec]."""


def crossmatch(
    anchor: pa.Table,
    target: pa.Table,
    *,
    radius_arcsec: float = 1.0,
    min_radius_arcsec: float = 0.0,
    sigmas: float | None = None,
    mode: Mode = "mutual",
    how: How = "inner",
    n_offsets: int = 20,
    seed: int = 0,
    allow_same_survey: bool = False,
) -> pa.Table:
    """Pair the rows of two catalogues by position.

    Parameters
    ----------
    anchor, target : pa.Table
        Each with a unique ``object_id`` and ``ra``, ``dec`` [ICRS deg], as `read_catalog` returns;
        optionally ``position_error_arcsec``, the standard error along one axis.
    radius_arcsec, min_radius_arcsec : float
        Largest and smallest separation of a pair, both included [arcsec]; at most
        `MAX_RADIUS_ARCSEC`. What is nearer than the smallest is no candidate.
    sigmas : float, optional
        Keep only pairs whose separation is at most so many times their combined position error,
        √(σ_anchor² + σ_target²). One side may lack errors; they then count as zero.
    mode : {"mutual", "nearest", "all"}
        ``mutual`` keeps the pairs neither of whose members has anything nearer on the other side:
        one to one. ``nearest`` keeps each anchor's nearest target, ``all`` every pair. Among equal
        separations the lowest row wins.
    how : {"inner", "left", "outer"}
        ``inner`` returns pairs only; ``left`` also the anchors without a pair; ``outer`` also the
        targets without one. What such rows lack is null.
    n_offsets : int
        How often the false-match rate is measured; at least 2.
    seed : int
        Of the random offsets.
    allow_same_survey : bool
        Accept two observations of one survey.

    Returns
    -------
    pa.Table
        In anchor row order, then target row order: ``anchor_id``, ``target_id``,
        ``separation_arcsec`` (float64), ``n_candidates`` (int32, targets within reach of the
        anchor), ``ambiguous`` (bool, several candidates on either side) and ``ra``, ``dec`` [ICRS
        deg], the pair's common position: the mean, weighted by inverse variance where both sides
        have errors. The schema metadata hold the match parameters, ``n_anchor``, ``n_target``,
        ``n_pairs``, the systematic offset of the targets (`measure_offset`), the false-match rate
        (`chance_matches`), what `read_catalog` noted of both, and ``notes``: what looks wrong, one
        line each.

    Raises
    ------
    ValueError
        If a radius, number, mode or way to join is out of range.
    CatalogError
        If a table lacks a column, a position or error is bad, the two sides are one survey, or, for
        an ``inner`` match, a table is empty or nothing pairs.
    TableError
        If an ``object_id`` is repeated.
    """
    _check_arguments(radius_arcsec, min_radius_arcsec, sigmas, mode, how, n_offsets)
    reach = Reach(float(radius_arcsec), float(min_radius_arcsec), sigmas)
    tables = {"anchor": anchor, "target": target}
    if not allow_same_survey:
        refuse_same_survey(anchor, target)
    if sigmas is not None and not any(POSITION_ERROR in t.column_names for t in tables.values()):
        raise CatalogError(
            f"sigmas needs a column {POSITION_ERROR!r} on one side or both, in arcsec per axis; "
            "read_catalog makes it from position_error=COLUMN"
        )
    with ThreadPoolExecutor(2) as pool:
        near, far = pool.map(_zones, tables.values(), tables, [reach] * 2, [how] * 2)
        matching = pool.submit(match_zones, near, far, reach, mode)
        chance = pool.submit(chance_matches, near, far, matching, reach, mode, n_offsets, seed)
        match = matching.result()
        if not len(match.anchor) and how == "inner":
            raise CatalogError(explain_no_pairs(near, far, reach))
        pairs = _pair_table(tables, near, far, match, how)
        if not allow_same_survey:
            refuse_same_ids(pairs)
        metadata: dict[str, Any] = {
            "radius_arcsec": reach.radius_arcsec,
            "min_radius_arcsec": reach.min_radius_arcsec,
            "sigmas": sigmas,
            "mode": mode,
            "how": how,
            "n_anchor": len(anchor),
            "n_target": len(target),
            "n_pairs": len(match.anchor),
            **{
                f"{side}_catalog": read_metadata(table.schema)["catalog"]
                for side, table in tables.items()
                if "catalog" in read_metadata(table.schema)
            },
            **measure_offset(near, far, match, reach),
        }
        return with_metadata(pairs, metadata | chance.result())


def _check_arguments(
    radius_arcsec: float,
    min_radius_arcsec: float,
    sigmas: float | None,
    mode: str,
    how: str,
    n_offsets: int,
) -> None:
    if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise ValueError(
            f"radius_arcsec must be in (0, {MAX_RADIUS_ARCSEC:g}] but is {radius_arcsec}"
        )
    if not 0 <= min_radius_arcsec < radius_arcsec:
        raise ValueError(
            f"min_radius_arcsec must be in [0, {radius_arcsec:g}), below the radius, but is "
            f"{min_radius_arcsec}"
        )
    if sigmas is not None and not 0 < sigmas < np.inf:
        raise ValueError(f"sigmas must be positive but is {sigmas}")
    for name, value, choices in (("mode", mode, get_args(Mode)), ("how", how, get_args(How))):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)} but is {value!r}")
    if n_offsets < 2:
        raise ValueError(f"n_offsets must be at least 2 but is {n_offsets}")


def _zones(table: pa.Table, where: str, reach: Reach, how: How) -> Zones:
    """Check that a catalogue can be matched, and sort its positions."""
    missing = [name for name in ("object_id", "ra", "dec") if name not in table.column_names]
    if missing:
        raise CatalogError(
            f"{where}: column {', '.join(map(repr, missing))} is missing; it has "
            f"{', '.join(table.column_names)}; read_catalog finds the columns of a file"
        )
    if not len(table) and how == "inner":
        raise CatalogError(f"{where}: has no rows; nothing can be matched")
    ids = table["object_id"]
    if ids.type not in (pa.string(), pa.large_string()) or ids.null_count:
        raise CatalogError(
            f"{where}: object_id must hold a string for every row but holds {ids.type} with "
            f"{ids.null_count} empty; ids as numbers lose digits"
        )
    check_unique(table, ("object_id",), where)
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    check_positions(ra, dec, where)
    return sort_zones(ra, dec, reach.radius_arcsec, _errors(table, where))


def _errors(table: pa.Table, where: str) -> np.ndarray | None:
    """Return the position errors of a catalogue [arcsec], if it has them."""
    if POSITION_ERROR not in table.column_names:
        return None
    error = np.asarray(table[POSITION_ERROR].cast(pa.float64()).to_numpy())
    good = np.isfinite(error) & (error >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise CatalogError(
            f"{where}: {POSITION_ERROR} of row {row} is {error[row]:g}; expected arcsec, not "
            f"negative; {int((~good).sum())} of {len(good)} rows are bad"
        )
    return error


def _common_positions(anchor: Zones, target: Zones, match: Match) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean position of each pair [deg], by inverse variance where both are known."""
    sides = (anchor, match.anchor), (target, match.target)
    errors = [side.error.take(places, mode="clip") for side, places in sides]
    known = (errors[0] > 0) & (errors[1] > 0)
    first, second = (np.where(known, error**2, 1.0) for error in reversed(errors))
    ra = anchor.ra[match.anchor]
    turn = np.radians(target.ra[match.target] - ra)
    dec1, dec2 = (np.radians(side.dec[places]) for side, places in sides)
    first_level, second_level = first * np.cos(dec1), second * np.cos(dec2)
    x, y = first_level + second_level * np.cos(turn), second_level * np.sin(turn)
    z = first * np.sin(dec1) + second * np.sin(dec2)
    ra = (ra + np.degrees(np.arctan2(y, x))) % 360
    return ra, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _pair_table(
    tables: dict[str, pa.Table],
    near: Zones,
    far: Zones,
    match: Match,
    how: How,
) -> pa.Table:
    """Write the pairs, and what has none, as rows."""
    ra, dec = _common_positions(near, far, match)
    paired = pa.table(
        {
            "anchor": near.row[match.anchor],
            "target": far.row[match.target],
            "separation_arcsec": match.separation,
            "n_candidates": match.n_targets[match.anchor].astype(np.int32),
            "ambiguous": (match.n_targets[match.anchor] > 1) | (match.n_anchors[match.target] > 1),
            "ra": ra,
            "dec": dec,
        }
    )
    parts = [paired]
    if how != "inner":
        alone = _unpaired(len(near.row), match.anchor)
        parts.append(_alone("anchor", near, alone, match.n_targets[alone]))
    if how == "outer":
        alone = _unpaired(len(far.row), match.target)
        parts.append(_alone("target", far, alone, None))
    rows = pa.concat_tables(parts, promote_options="default")
    if how != "inner":
        order = [("anchor", "ascending"), ("target", "ascending")]
        rows = rows.take(pa.compute.sort_indices(rows, order))
    for place, side in enumerate(("anchor", "target")):
        ids = tables[side]["object_id"].cast(pa.string()).take(rows[side].combine_chunks())
        rows = rows.set_column(place, f"{side}_id", ids)
    return rows


def _unpaired(n_rows: int, paired: np.ndarray) -> np.ndarray:
    alone = np.ones(n_rows, dtype=bool)
    alone[paired] = False
    return np.flatnonzero(alone)


def _alone(side: str, zones: Zones, places: np.ndarray, n_targets: np.ndarray | None) -> pa.Table:
    """Return the columns known of rows that have no pair."""
    columns = {side: zones.row[places], "ra": zones.ra[places], "dec": zones.dec[places]}
    if n_targets is not None:
        columns["n_candidates"] = n_targets.astype(np.int32)
    return pa.table(columns)

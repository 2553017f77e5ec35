"""Match two catalogues by position."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching.assignment import Match, match_zones
from catalogs.matching.chance import chance_matches
from catalogs.matching.diagnosis import explain_no_pairs
from catalogs.matching.identity import measure_offset, refuse_same_ids, refuse_same_survey
from catalogs.matching.settings import How, MatchSettings
from catalogs.matching.zones import Zones, sort_zones
from catalogs.reading.columns import POSITION_ERROR
from galaxy_da.errors import CatalogError
from galaxy_da.io.positions import usable_positions
from galaxy_da.io.tables import check_unique, read_metadata, with_metadata

_CHUNK_PAIRS = 1 << 13  # whose common positions are measured at a time: they fit the cache


def crossmatch(
    anchor: pa.Table, target: pa.Table, settings: MatchSettings | None = None, **options: Any
) -> pa.Table:
    """Pair the rows of two catalogues by position.

    Parameters
    ----------
    anchor, target : pa.Table
        Each with a unique ``object_id`` and ``ra``, ``dec`` [ICRS deg], as `read_catalog` returns;
        optionally ``position_error_arcsec``, the standard error along one axis. Rows without a
        usable position, or with `sigmas` without a usable error, match nothing.
    settings : MatchSettings, optional
        Radius, pairs to keep, and more; by default one to one within 1 arcsec.
    **options
        Fields of `MatchSettings` in place of those of `settings`, such as ``radius_arcsec=2.0``.

    Returns
    -------
    pa.Table
        In anchor row order, then target row order: ``anchor_id``, ``target_id``,
        ``separation_arcsec`` (float64), ``n_candidates`` (int32, targets within the radius of the
        anchor), ``ambiguous`` (bool, several candidates on either side) and ``ra``, ``dec`` [ICRS
        deg], the pair's common position: the mean, weighted by inverse variance if both sides have
        errors. The schema metadata hold the match parameters, ``n_anchor``, ``n_target``,
        ``n_pairs``, ``n_anchor_unmatched``, ``n_target_unmatched``, the systematic offset of the
        targets (`measure_offset`), the false-match rate (`chance_matches`), the notes of
        `read_catalog` on both sides, and ``notes``: signs of a bad match, one line each.

    Raises
    ------
    ValueError
        If a setting is out of range.
    CatalogError
        If a table lacks a column, no position or no error of a table is usable, the two sides are
        one survey, or, for an ``inner`` match, a table is empty or nothing pairs.
    TableError
        If an ``object_id`` is repeated.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from catalogs.matching import crossmatch
    >>> deep = pa.table({"object_id": ["a", "b"], "ra": [150.0, 150.1], "dec": [2.0, 2.0]})
    >>> wide = pa.table({"object_id": ["x", "y"], "ra": [150.1, 150.2], "dec": [2.0001, 2.0]})
    >>> pairs = crossmatch(deep, wide, radius_arcsec=1.0)
    >>> pairs["anchor_id"].to_pylist(), pairs["target_id"].to_pylist()
    (['b'], ['x'])
    >>> round(pairs["separation_arcsec"][0].as_py(), 2)
    0.36
    """
    settings = replace(settings or MatchSettings(), **options)
    tables = {"anchor": anchor, "target": target}
    if not settings.allow_same_survey:
        refuse_same_survey(anchor, target)
    if settings.sigmas is not None and not any(
        POSITION_ERROR in table.column_names for table in tables.values()
    ):
        raise CatalogError(
            f"sigmas needs a column {POSITION_ERROR!r} on one side or both, in arcsec per axis; "
            "read_catalog makes it from position_error=COLUMN"
        )
    with ThreadPoolExecutor(2) as pool:
        near, far = pool.map(_zones, tables.values(), tables, [settings] * 2)
        matching = pool.submit(match_zones, near, far, settings)
        chance = pool.submit(chance_matches, near, far, matching, settings)
        match = matching.result()
        if not len(match.anchor) and settings.how == "inner":
            raise CatalogError(explain_no_pairs(near, far, settings))
        common = _common_positions(near, far, match, pool)
        pairs = _pair_table(tables, near, far, match, common, settings.how)
        if not settings.allow_same_survey:
            same = pc.sum(pc.equal(pairs["anchor_id"], pairs["target_id"])).as_py() or 0
            refuse_same_ids(same, len(match.anchor))
        notes = {side: read_metadata(table.schema) for side, table in tables.items()}
        metadata: dict[str, Any] = {
            "radius_arcsec": float(settings.radius_arcsec),
            "min_radius_arcsec": float(settings.min_radius_arcsec),
            "sigmas": settings.sigmas,
            "mode": settings.mode,
            "how": settings.how,
            "n_anchor": len(anchor),
            "n_target": len(target),
            "n_pairs": len(match.anchor),
            "n_anchor_unmatched": len(anchor) - _distinct(match.anchor, len(near.row)),
            "n_target_unmatched": len(target) - _distinct(match.target, len(far.row)),
            **{
                f"n_{side}_without_position": len(tables[side]) - len(zones.row)
                for side, zones in (("anchor", near), ("target", far))
            },
            **{f"{side}_catalog": n["catalog"] for side, n in notes.items() if "catalog" in n},
            **measure_offset(near, far, match, settings),
        }
        return with_metadata(pairs, metadata | chance.result())


def _zones(table: pa.Table, where: str, settings: MatchSettings) -> Zones:
    """Check that a catalogue can be matched, and sort its positions."""
    missing = [name for name in ("object_id", "ra", "dec") if name not in table.column_names]
    if missing:
        raise CatalogError(
            f"{where}: column {', '.join(map(repr, missing))} is missing; it has "
            f"{', '.join(table.column_names)}; read_catalog finds the columns of a file"
        )
    if not len(table) and settings.how == "inner":
        raise CatalogError(f"{where}: has no rows; nothing can be matched")
    ids = table["object_id"]
    if ids.type not in (pa.string(), pa.large_string()) or ids.null_count:
        raise CatalogError(
            f"{where}: object_id must hold a string for every row but holds {ids.type} with "
            f"{ids.null_count} empty; ids as numbers lose digits"
        )
    check_unique(table, ("object_id",), where)
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    good = usable_positions(ra, dec, where)
    errors = _errors(table, where)
    if good.all():
        return sort_zones(ra, dec, settings.radius_arcsec, errors)
    errors = errors if errors is None else errors[good]
    zones = sort_zones(ra[good], dec[good], settings.radius_arcsec, errors)
    return zones._replace(row=np.flatnonzero(good)[zones.row])


def _errors(table: pa.Table, where: str) -> np.ndarray | None:
    if POSITION_ERROR not in table.column_names:
        return None
    error = np.asarray(table[POSITION_ERROR].cast(pa.float64()).to_numpy())
    good = np.isfinite(error) & (error >= 0)
    if len(good) and not good.any():
        raise CatalogError(
            f"{where}: {POSITION_ERROR} of row 0 is {error[0]:g}; expected arcsec, not negative; "
            f"all of {len(good)} rows are bad"
        )
    return np.where(good, error, np.nan)


def _common_positions(anchor: Zones, target: Zones, match: Match, pool: Executor) -> np.ndarray:
    """Return the mean ra and dec of pairs [deg], (2, n), by inverse variance if both are known."""
    positions = np.empty((2, len(match.anchor)))

    def measure(start: int) -> None:
        part = slice(start, start + _CHUNK_PAIRS)
        sides = (anchor, match.anchor[part]), (target, match.target[part])
        positions[:, part] = _mean_positions(*sides)

    list(pool.map(measure, range(0, len(match.anchor), _CHUNK_PAIRS)))
    return positions


def _mean_positions(*sides: tuple[Zones, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean positions [deg] of the same number of places on both sides."""
    errors = [side.error.take(places, mode="clip") for side, places in sides]
    known = (errors[0] > 0) & (errors[1] > 0)
    first, second = (np.where(known, error**2, 1.0) for error in reversed(errors))
    ra, other = (side.ra[places] for side, places in sides)
    turn = np.radians(other - ra)
    dec1, dec2 = (np.radians(side.dec[places]) for side, places in sides)
    first_level, second_level = first * np.cos(dec1), second * np.cos(dec2)
    x, y = first_level + second_level * np.cos(turn), second_level * np.sin(turn)
    z = first * np.sin(dec1) + second * np.sin(dec2)
    ra = (ra + np.degrees(np.arctan2(y, x))) % 360
    return ra, np.degrees(np.arctan2(z, np.sqrt(x**2 + y**2)))


def _distinct(places: np.ndarray, n: int) -> int:
    """Count the distinct places among n; `np.unique` took a third of a match."""
    met = np.zeros(n, dtype=bool)
    met[places] = True
    return int(met.sum())


def _pair_table(
    tables: dict[str, pa.Table],
    near: Zones,
    far: Zones,
    match: Match,
    common: np.ndarray,
    how: How,
) -> pa.Table:
    paired = pa.table(
        {
            "anchor": near.row[match.anchor],
            "target": far.row[match.target],
            "separation_arcsec": match.separation,
            "n_candidates": match.n_targets[match.anchor],
            "ambiguous": (match.n_targets[match.anchor] > 1) | (match.n_anchors[match.target] > 1),
            "ra": common[0],
            "dec": common[1],
        }
    )
    parts = [paired]
    if how != "inner":
        parts.append(_alone("anchor", tables, near, match.anchor, match.n_targets))
    if how == "outer":
        parts.append(_alone("target", tables, far, match.target))
    rows = pa.concat_tables(parts, promote_options="default")
    if how != "inner":
        order = [("anchor", "ascending"), ("target", "ascending")]
        rows = rows.take(pc.sort_indices(rows, order))
    for place, side in enumerate(("anchor", "target")):
        ids = tables[side]["object_id"].cast(pa.string()).take(rows[side].combine_chunks())
        rows = rows.set_column(place, f"{side}_id", ids)
    return rows


def _alone(
    side: str, tables: dict[str, pa.Table], zones: Zones, paired: np.ndarray, *counts: np.ndarray
) -> pa.Table:
    """Return rows that have no pair, with their position if it is usable."""
    place = np.full(len(tables[side]), -1)
    place[zones.row] = np.arange(len(zones.row))
    rows = np.setdiff1d(np.arange(len(place)), zones.row[paired])
    places = pa.array(place[rows], mask=place[rows] < 0)
    columns = {side: rows} | {n: pa.array(getattr(zones, n)).take(places) for n in ("ra", "dec")}
    for count in counts:
        columns["n_candidates"] = pa.array(count).take(places)
    return pa.table(columns)

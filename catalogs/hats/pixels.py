"""One pixel of two HATS catalogues, matched as if the sky ended a margin beyond it.

This is what runs on a worker: rows in and near the pixel go through
`catalogs.matching.positions.crossmatch`, and the pairs of its own anchors come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching.identity import refuse_same_survey
from catalogs.matching.positions import crossmatch
from catalogs.reading.columns import make_ids
from galaxy_da.io.quiet import quiet_lsdb
from galaxy_da.io.tables import read_metadata

if TYPE_CHECKING:
    from hats.pixel_math import HealpixPixel

__all__ = ["PixelMatch", "Reading", "Total", "match_pixel"]

_OFFSETS = tuple(f"offset_{what}_arcsec" for what in ("east", "north", "scatter"))


class Reading(NamedTuple):
    """How the rows of one side are read.

    Attributes
    ----------
    where : str
        What to call the catalogue in messages.
    ra, dec : str
        Columns of positions [ICRS deg].
    ids : list of str
        Columns of ids.
    margin_arcsec : float
        How far around the pixel rows are needed [arcsec].
    """

    where: str
    ra: str
    dec: str
    ids: list[str]
    margin_arcsec: float


class PixelMatch(NamedTuple):
    """The pairs of one pixel's anchors.

    Attributes
    ----------
    pairs : pa.Table
        As of `crossmatch`, without metadata.
    n_anchor : int
        Anchors in the pixel.
    n_around : int
        Those, and the ones in its margin.
    said : dict
        The metadata of the match with the margins.
    """

    pairs: pa.Table
    n_anchor: int
    n_around: int
    said: dict[str, Any]


def match_pixel(
    anchors: pd.DataFrame,
    anchors_margin: pd.DataFrame | None,
    targets: pd.DataFrame | None,
    targets_margin: pd.DataFrame | None,
    pixel: HealpixPixel,
    is_whole: tuple[bool, bool],
    sides: list[Reading],
    options: dict[str, Any],
    allow_same_survey: bool,
) -> PixelMatch:
    """Match the anchors of one pixel.

    Parameters
    ----------
    anchors, anchors_margin, targets, targets_margin : pd.DataFrame, optional
        A partition of each side that covers the pixel, and that partition's margin.
    pixel : HealpixPixel
        Whose anchors are matched.
    is_whole : (bool, bool)
        Whether the pixel is the partition of the anchors, and of the targets, or a part of it.
    sides : list of Reading
        Of the anchors and the targets.
    options : dict
        Of `crossmatch`.
    allow_same_survey : bool
        Accept two observations of one survey.
    """
    with quiet_lsdb():
        near, own = _gather(anchors, anchors_margin, pixel, is_whole[0], sides[0])
        far, _ = _gather(targets, targets_margin, pixel, is_whole[1], sides[1])
    if not allow_same_survey and len(near) and len(far):
        refuse_same_survey(near, far)
    pairs = crossmatch(near, far, how="left", allow_same_survey=True, **options)
    around = near["object_id"].filter(pa.array(~own))
    keep = pc.and_(
        pc.is_valid(pairs["target_id"]), pc.invert(pc.is_in(pairs["anchor_id"], value_set=around))
    )
    said = read_metadata(pairs.schema)
    return PixelMatch(
        pairs.filter(keep).replace_schema_metadata(None), int(own.sum()), len(near), said
    )


class Total:
    """What the partitions' matches say together."""

    def __init__(self) -> None:
        self.n_pairs = self.n_same_id = 0
        self.hits = self.variance = self.n_false = 0.0
        self.offset = np.zeros(len(_OFFSETS))
        self.largest: tuple[int, list[str]] = (0, [])

    def add(self, part: PixelMatch) -> None:
        """Count one more partition."""
        n, said = len(part.pairs), part.said
        self.hits += part.n_anchor * said.get("false_match_rate", 0.0)
        self.variance += (part.n_anchor * said.get("false_match_rate_error", 0.0)) ** 2
        share = part.n_anchor / max(part.n_around, 1)
        self.n_false += share * said.get("expected_false_pairs", 0.0)
        if not n:
            return
        same = pc.equal(part.pairs["anchor_id"], part.pairs["target_id"])
        self.n_pairs += n
        self.n_same_id += pc.sum(same).as_py()
        self.offset += n * np.array([said[name] for name in _OFFSETS])
        self.largest = max(self.largest, (n, said["notes"]))

    def metadata(self, n_anchor: int) -> dict[str, Any]:
        """Return the sums and means."""
        return {
            "n_pairs": self.n_pairs,
            "n_same_id": self.n_same_id,
            **dict(zip(_OFFSETS, (self.offset / max(self.n_pairs, 1)).tolist(), strict=True)),
            "false_match_rate": self.hits / n_anchor,
            "false_match_rate_error": float(np.sqrt(self.variance)) / n_anchor,
            "expected_false_pairs": self.n_false,
            "expected_false_share": self.n_false / max(self.n_pairs, 1),
            "notes": [f"in the fullest partition: {note}" for note in self.largest[1]],
        }


def _gather(
    inside: pd.DataFrame | None,
    margin: pd.DataFrame | None,
    pixel: HealpixPixel,
    is_whole: bool,
    side: Reading,
) -> tuple[pa.Table, np.ndarray]:
    """Return the rows in and near a pixel, in order of the sky, and which are its own."""
    frames = [frame for frame in (inside, margin) if frame is not None]
    tables = [pa.Table.from_pandas(pd.DataFrame(f), preserve_index=False) for f in frames]
    raw = pa.concat_tables(tables, promote_options="permissive")
    columns = {
        "object_id": make_ids(raw, side.ids, side.where),
        "ra": raw[side.ra].cast(pa.float64()),
        "dec": raw[side.dec].cast(pa.float64()),
    }
    if "survey" in raw.column_names:
        columns["survey"] = raw["survey"]
    table = pa.table(columns)
    index = _sky_index(table)
    own = np.zeros(len(table), dtype=bool)
    own[: 0 if inside is None else len(inside)] = True
    near = np.ones(len(table), dtype=bool)
    if not is_whole:
        own &= _coarser(index, pixel.order) == pixel.pixel
        near[~own] = _is_around(index[~own], pixel, side.margin_arcsec)
    rows = np.flatnonzero(near)
    order = rows[_sky_order(index[rows], table["object_id"].take(pa.array(rows)))]
    return table.take(pa.array(order)), own[order]


def _sky_index(table: pa.Table) -> np.ndarray:
    """Return each row's HEALPix pixel at order 29, nested."""
    from hats.pixel_math import compute_spatial_index

    return np.asarray(compute_spatial_index(table["ra"].to_numpy(), table["dec"].to_numpy()))


def _coarser(index: np.ndarray, order: int) -> np.ndarray:
    return index >> (2 * (29 - order))


def _is_around(index: np.ndarray, pixel: HealpixPixel, width_arcsec: float) -> np.ndarray:
    """Mark rows in a ring around a pixel that is at least so wide."""
    from hats.pixel_math import get_margin
    from hats.pixel_math.healpix_shim import margin2order

    order = int(margin2order(np.array([width_arcsec / 60]))[0])
    if order <= pixel.order:  # the margin is as wide as the pixel
        return np.ones(len(index), dtype=bool)
    ring = get_margin(pixel.order, pixel.pixel, order - pixel.order)
    return np.isin(_coarser(index, order), ring, kind="sort")


def _sky_order(index: np.ndarray, ids: pa.ChunkedArray) -> np.ndarray:
    """Sort by index; the few rows of one index by id."""
    order = np.argsort(index, kind="stable")
    same = np.diff(index[order]) == 0
    twins = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    rows = order[twins]
    names = ids.take(pa.array(rows)).to_numpy(zero_copy_only=False).astype(str)
    order[twins] = rows[np.lexsort((names, index[rows]))]
    return order

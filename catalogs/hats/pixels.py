"""Match one pixel of two HATS catalogues, on a Dask worker.

Rows in the pixel and its margin go through `catalogs.matching.crossmatch`; the pairs of the pixel's
own anchors are returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching import MatchSettings, crossmatch
from catalogs.matching.identity import refuse_same_survey
from catalogs.reading.columns import make_ids
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.hats.pixels import Pixel, at_order, is_around, sky_index
from galaxy_da.io.tables import read_metadata

_OFFSETS = tuple(f"offset_{part}_arcsec" for part in ("east", "north", "scatter"))


class Side(NamedTuple):
    """Columns and margin of one of the two catalogues."""

    name: str  # in messages
    ra: str  # columns of positions [ICRS deg]
    dec: str
    ids: list[str]  # columns of ids
    margin_arcsec: float  # needed around a pixel


class PixelMatch(NamedTuple):
    """The pairs of one pixel's anchors."""

    pairs: pa.Table  # as of `crossmatch`, without metadata
    n_anchor: int  # anchors in the pixel
    n_around: int  # and in the pixel and its margin
    metadata: dict[str, Any]  # of the match with the margins


def match_pixel(
    rows: Sequence[pd.DataFrame | None],
    pixel: Pixel,
    is_whole: tuple[bool, bool],
    sides: Sequence[Side],
    settings: MatchSettings,
) -> PixelMatch:
    """Match the anchors of one pixel.

    `rows` are anchors, their margin, targets and their margin, of partitions that cover the pixel;
    `is_whole` tells for both sides if the pixel is the whole partition.
    """
    with using_lsdb():
        near, own = _gather(rows[:2], pixel, is_whole[0], sides[0])
        far, _ = _gather(rows[2:], pixel, is_whole[1], sides[1])
    if not settings.allow_same_survey and len(near) and len(far):
        refuse_same_survey(near, far)
    pairs = crossmatch(near, far, settings, how="left", allow_same_survey=True)
    around = near["object_id"].filter(pa.array(~own))
    keep = pc.and_(
        pc.is_valid(pairs["target_id"]), pc.invert(pc.is_in(pairs["anchor_id"], value_set=around))
    )
    metadata = read_metadata(pairs.schema)
    return PixelMatch(
        pairs.filter(keep).replace_schema_metadata(None), int(own.sum()), len(near), metadata
    )


class Total:
    """Sums and means over the matches of all partitions."""

    def __init__(self) -> None:
        self.n_pairs = self.n_anchor_matched = self.n_same_id = 0
        self.hits = self.variance = self.n_false = 0.0
        self.offset = np.zeros(len(_OFFSETS))
        self.largest: tuple[int, list[str]] = (0, [])

    def add(self, part: PixelMatch) -> None:
        """Count one more partition."""
        n, metadata = len(part.pairs), part.metadata
        self.hits += part.n_anchor * metadata.get("false_match_rate", 0.0)
        self.variance += (part.n_anchor * metadata.get("false_match_rate_error", 0.0)) ** 2
        share = part.n_anchor / max(part.n_around, 1)
        self.n_false += share * metadata.get("expected_false_pairs", 0.0)
        if not n:
            return
        same = pc.equal(part.pairs["anchor_id"], part.pairs["target_id"])
        self.n_pairs += n
        self.n_anchor_matched += pc.count_distinct(part.pairs["anchor_id"]).as_py()
        self.n_same_id += pc.sum(same).as_py()
        self.offset += n * np.array([metadata[name] for name in _OFFSETS])
        self.largest = max(self.largest, (n, metadata["notes"]))

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
    rows: Sequence[pd.DataFrame | None], pixel: Pixel, is_whole: bool, side: Side
) -> tuple[pa.Table, np.ndarray]:
    """Return the rows in and near a pixel, in order of the sky, and a mask of its own."""
    inside = rows[0]
    frames = [frame for frame in rows if frame is not None]
    tables = [pa.Table.from_pandas(pd.DataFrame(f), preserve_index=False) for f in frames]
    raw = pa.concat_tables(tables, promote_options="permissive")
    columns = {
        "object_id": make_ids(raw, side.ids, side.name),
        "ra": raw[side.ra].cast(pa.float64()),
        "dec": raw[side.dec].cast(pa.float64()),
    }
    if "survey" in raw.column_names:
        columns["survey"] = raw["survey"]
    table = pa.table(columns)
    index = sky_index(table["ra"].to_numpy(), table["dec"].to_numpy())
    own = np.zeros(len(table), dtype=bool)
    own[: 0 if inside is None else len(inside)] = True
    near = np.ones(len(table), dtype=bool)
    if not is_whole:
        own &= at_order(index, pixel.order) == pixel.number
        near[~own] = is_around(index[~own], pixel, side.margin_arcsec)
    sky = table.append_column("index", pa.array(index)).append_column("own", pa.array(own))
    sky = sky.filter(pa.array(near)).sort_by([("index", "ascending"), ("object_id", "ascending")])
    return sky.select(table.column_names), sky["own"].to_numpy()

"""Join pairs with the columns of both catalogues, and centre samples on their pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import CatalogError
from galaxy_da.io.storage import Location, PathOrUrl, resolve
from galaxy_da.io.tables import validate_pairs, write_table


def join_catalogs(pairs: pa.Table, anchor: pa.Table, target: pa.Table) -> pa.Table:
    """Put the columns of both catalogues beside their pairs, in the rows of `pairs`.

    Names get the endings ``_anchor`` and ``_target``; ``object_id`` is not repeated. Rows without
    such a side have nulls. The metadata are those of `pairs`. CatalogError is raised if a pair
    names an id that a catalogue lacks.
    """
    validate_pairs(pairs, "pairs")
    joined = pairs
    for side, table in (("anchor", anchor), ("target", target)):
        rows = _rows(pairs[f"{side}_id"], table, side)
        for field in table.drop_columns("object_id").schema:
            named = field.with_name(f"{field.name}_{side}").with_nullable(True)
            joined = joined.append_column(named, table[field.name].take(rows))
    return joined


def recentre(sample: pa.Table, pairs: pa.Table, side: str) -> pa.Table:
    """Return the paired rows of a sample, moved to the common positions of their pairs, in order.

    FITS cutouts are centred on their row's position through the WCS, and archives cut there. With
    each catalogue's own positions, two surveys' cutouts of a galaxy are shifted by the separation;
    with common positions both show the same sky. `side` of the pairs, anchor or target, is that of
    the sample, whose own positions are kept as ``ra_input`` and ``dec_input`` [ICRS deg].
    CatalogError is raised if a row is in several pairs, or a pair's id is not in the sample.
    """
    if side not in ("anchor", "target"):
        raise ValueError(f"side must be anchor or target but is {side!r}")
    paired = pairs.filter(pc.is_valid(pairs["separation_arcsec"]))
    ids = paired[f"{side}_id"]
    if pc.count_distinct(ids).as_py() != len(ids):
        raise CatalogError(
            f"{side}: {len(ids) - pc.count_distinct(ids).as_py()} rows are in several pairs, so "
            "they have several positions; match with mode=mutual"
        )
    taken = {"ra_input", "dec_input"} & set(sample.column_names)
    if taken:
        raise CatalogError(f"{side}: already has {', '.join(sorted(taken))}; rename it first")
    table = sample.take(_rows(ids, sample, side))
    for name in ("ra", "dec"):
        place = table.column_names.index(name)
        table = table.append_column(f"{name}_input", table[name])
        table = table.set_column(place, name, paired[name].cast(table[name].type))
    return table


def write_centred(
    sample: pa.Table, folder: Location, pairs: pa.Table, side: str, out: PathOrUrl
) -> None:
    """Write the paired rows of a sample table, each centred on its pair's common position.

    Relative cutouts start from `folder`; they become absolute paths or URLs.
    """
    if not {"cutout", "image"} & set(sample.column_names):
        raise CatalogError(
            f"{side}: has neither cutout nor image, so there is nothing to centre; give a sample "
            "table"
        )
    table = recentre(sample, pairs, side)
    if "cutout" in table.column_names:
        start = folder.resolve() if isinstance(folder, Path) else folder
        uris = [
            None if uri is None else str(resolve(start, uri)) for uri in table["cutout"].to_pylist()
        ]
        place = table.column_names.index("cutout")
        table = table.set_column(place, "cutout", pa.array(uris, pa.string()))
    write_table(table, out)


def _rows(ids: pa.ChunkedArray, table: pa.Table, side: str) -> pa.Array:
    known = table["object_id"].cast(pa.string()).combine_chunks()
    rows = pc.index_in(ids.combine_chunks(), value_set=known)
    lost = np.flatnonzero(
        pc.is_null(rows).to_numpy(zero_copy_only=False) & ids.is_valid().to_numpy()
    )
    if len(lost):
        raise CatalogError(
            f"{side}: {len(lost)} of {len(ids)} pairs name ids it does not have, for example "
            f"{ids[int(lost[0])]}; were the pairs made from another catalogue?"
        )
    return rows

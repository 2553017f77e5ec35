"""Feature tables as input of an index: checked, and sorted by survey and object id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.gathering import Batches
from galaxy_da.index.manifest import Header
from galaxy_da.io.features import SKY_INDEX, Features, part_paths, read_header, read_part, vectors
from galaxy_da.io.positions import positions_known, without_positions
from galaxy_da.io.storage import Location, PathOrUrl, location
from galaxy_da.io.tables import check_positions, open_parquet

KEY = ("object_id", "survey", "ra", "dec")

Source = Features | PathOrUrl
"""Features in memory, or the folder of a finished extraction, at a path or a URL."""

BATCH_ROWS = 1 << 18

_NOTES = (b"unit", b"ucd", b"description")


class Sources:
    """Features of one latent space, read part by part, in any order.

    `schema` is the common schema: keys first, then every column of any table, null where a table
    lacks it.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if not sources:
            raise LatentIndexError("nothing to index: no features were given")
        self._parts: list[pa.Table | Location] = []
        self.space_id = ""
        self.encoders: dict[str, str] = {}
        for source in sources:
            space_id, encoders, parts = _opened(source)
            self._join(space_id, encoders)
            self._parts += parts
        schemas = [_indexable(_schema(part).empty_table()).schema for part in self._parts]
        widths = {schema.field("embedding").type.list_size for schema in schemas}
        if len(widths) > 1:
            raise LatentIndexError(
                f"features have latent widths {', '.join(map(str, sorted(widths)))}; an index "
                "takes one"
            )
        self.dimension: int = widths.pop()
        self.schema = unified(schemas)
        self.n_rows = sum(
            part.num_rows if isinstance(part, pa.Table) else open_parquet(part).metadata.num_rows
            for part in self._parts
        )

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows that have an embedding, part by part, in the common schema."""
        for part in self._parts:
            table = part if isinstance(part, pa.Table) else read_part(part)
            yield united([self.schema.empty_table(), _indexable(table)])

    def header(self, kind: str) -> Header:
        """Return the header of an index of these features."""
        return Header(
            space_id=self.space_id,
            encoders=self.encoders,
            dimension=self.dimension,
            kind=kind,
        )

    def nothing(self) -> LatentIndexError:
        """Return the error that no row has an embedding."""
        return LatentIndexError(
            f"nothing to index: none of the {self.n_rows} rows has an embedding; their status "
            "column says why"
        )

    def _join(self, space_id: str, encoders: dict[str, str]) -> None:
        if self.space_id not in ("", space_id):
            raise LatentIndexError(
                f"features of space {self.space_id[:12]} and of space {space_id[:12]} cannot share "
                "an index; extract all of them with one space"
            )
        self.space_id = space_id
        self.encoders = joined(self.encoders, encoders)


def joined(known: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """Join the encoders of two sets of features, which must agree."""
    for survey, encoder in more.items():
        if known.get(survey, encoder) != encoder:
            raise LatentIndexError(
                f"{survey}: some features come from encoder {known[survey][:12]} and some "
                f"from {encoder[:12]}; extract all of them with one"
            )
    return {**known, **more}


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the union of the columns of several tables, which must agree about types."""
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise LatentIndexError(f"features disagree about a column: {error}") from error


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables that `unified` accepts, with nulls for missing columns."""
    return pa.concat_tables(tables, promote_options="permissive")


def sorted_batches(table: pa.Table) -> Iterator[pa.Table]:
    """Check the keys and vectors of a table and yield it sorted by survey and object id.

    The table is in memory or mapped, and read at random, a batch at a time.
    """
    _check_keys(table)
    keys = table.select(["survey", "object_id"])
    order = pc.sort_indices(keys, [("survey", "ascending"), ("object_id", "ascending")]).to_numpy()
    batches = Batches(table)
    last: tuple[str, str] | None = None
    for low in range(0, len(order), BATCH_ROWS):
        batch = batches.take(order[low : low + BATCH_ROWS].astype(np.int64))
        last = _check_unique(batch, last)
        _check_finite(batch)
        yield batch


def usable(points: np.ndarray) -> np.ndarray:
    """Return a mask of rows that are finite and whose squared distances fit float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        good: np.ndarray = np.isfinite(8 * np.einsum("ij,ij->i", points, points))
    return good


def _opened(source: Source) -> tuple[str, dict[str, str], list[pa.Table | Location]]:
    if isinstance(source, Features):
        return source.space_id, source.encoders, [source.table]
    folder = location(source)
    header = read_header(folder)
    return header["space_id"], header["encoders"], [*part_paths(folder, header)]


def _schema(part: pa.Table | Location) -> pa.Schema:
    return part.schema if isinstance(part, pa.Table) else open_parquet(part).schema_arrow


def _indexable(table: pa.Table) -> pa.Table:
    """Return rows with an embedding: key columns first, ids as strings, positions as float64."""
    names = table.column_names
    missing = [name for name in (*KEY, "flags", "embedding") if name not in names]
    if missing:
        raise LatentIndexError(
            f"features lack column {', '.join(map(repr, missing))}; they have {', '.join(names)}"
        )
    kind = table.schema.field("embedding").type
    if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()):
        raise LatentIndexError(
            f"column 'embedding' must be fixed-size lists of float32 but is {kind}"
        )
    living = table.filter(table["embedding"].is_valid())
    living = without_positions(living, positions_known(living))
    columns = {name: living[name].cast(pa.string()) for name in KEY[:2]}
    columns |= {name: living[name].cast(pa.float64()) for name in KEY[2:]}
    dropped = (*KEY, "status", "message", "embedding", SKY_INDEX)
    others = {name: living[name] for name in names if name not in dropped}
    columns |= {"embedding": living["embedding"]} | others
    fields = [
        pa.field(name, column.type, metadata=_notes(table.schema.field(name)))
        for name, column in columns.items()
    ]
    return pa.table(columns, pa.schema(fields))


def _notes(field: pa.Field) -> dict[bytes, bytes]:
    """Return the unit, UCD and description of a column, which the index keeps."""
    return {key: text for key, text in (field.metadata or {}).items() if key in _NOTES}


def _check_keys(table: pa.Table) -> None:
    for name in ("object_id", "survey"):
        if table[name].null_count:
            raise LatentIndexError(
                f"features: {table[name].null_count} rows have no {name}; every row needs one"
            )
    colon = pc.match_substring(table["survey"], ":")
    if pc.any(colon).as_py():
        raise LatentIndexError(
            f"survey {table['survey'].filter(colon)[0].as_py()!r}: a survey name cannot contain ':'"
        )
    placed = table.filter(positions_known(table))
    check_positions(placed["ra"].to_numpy(), placed["dec"].to_numpy(), "features")


def _check_unique(batch: pa.Table, before: tuple[str, str] | None) -> tuple[str, str]:
    """Refuse a repeated key in a sorted batch that follows a key; return its last key."""
    surveys, ids = batch["survey"], batch["object_id"]
    same = pc.and_(pc.equal(surveys[1:], surveys[:-1]), pc.equal(ids[1:], ids[:-1]))
    repeats = [int(i) + 1 for i in pc.indices_nonzero(same)[:1].to_pylist()]
    if before == (surveys[0].as_py(), ids[0].as_py()):
        repeats = [0]
    if repeats:
        raise LatentIndexError(
            f"features: {surveys[repeats[0]]}:{ids[repeats[0]]} comes more than once; the keys of "
            "an index must be unique"
        )
    return surveys[-1].as_py(), ids[-1].as_py()


def _check_finite(batch: pa.Table) -> None:
    good = usable(vectors(batch))
    if not good.all():
        row = int(np.argmin(good))
        raise LatentIndexError(
            f"{batch['survey'][row]}:{batch['object_id'][row]}: embedding is not finite; "
            f"{int((~good).sum())} of {len(good)} are not; extract them again"
        )

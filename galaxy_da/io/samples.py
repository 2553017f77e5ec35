"""Sample tables: galaxies of one or more surveys, with the location of their cutouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntFlag
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import TableError
from galaxy_da.io import html
from galaxy_da.io.positions import (
    BAD_POSITION,
    are_positions,
    positions_known,
    usable_positions,
    without_positions,
)
from galaxy_da.io.storage import Location, PathOrUrl, location, store_errors, with_store_errors
from galaxy_da.io.tables import check_columns, check_unique, open_parquet

STATUSES = (
    "ok", "outside_footprint", "no_data", "failed_quality", "fetch_failed", "unreadable",
    BAD_POSITION,
)  # fmt: skip
"""Status of a row's cutout. Only ``ok`` rows have an embedding."""


_THUMBNAILS = 8
_DENIALS = {
    "photometric": "the image's fluxes are not calibrated",
    "position_known": "the galaxy's position is not known",
}


class Flag(IntFlag):
    """Quality of a prepared cutout, as a bitmask column. Zero is a clean cutout.

    Examples
    --------
    >>> Flag.PARTIAL_COVERAGE in Flag(9)
    True
    """

    NAN_PIXELS = 1
    """Some pixels inside the field of view are not finite; they were left out."""
    SATURATED = 2
    """Some pixels of a JPEG or PNG are at full scale, where the stretch cannot be inverted."""
    BLANK_BAND = 4
    """A whole band is constant or not finite."""
    PARTIAL_COVERAGE = 8
    """The stamp does not cover the frame's whole field of view."""
    SUBSTITUTED_BAND = 16
    """A band of the frame was filled from a neighbouring band of the survey."""
    OUT_OF_DOMAIN = 32
    """The cutout does not look like the galaxies that the space has learnt; see its reason."""
    LIGHT_AT_EDGE = 64
    """The galaxy's light reaches the edge of the stamp or the frame; total magnitudes are null."""
    MAGNITUDES_DIFFER = 128
    """Inferred and measured magnitude differ by more than their errors; both are doubtful."""
    NOT_PHOTOMETRIC = 256
    """File (``PHOTOMET = F``, as of a HiPS) or table say that the fluxes are not photometric."""


class Sample:
    """A sample table on disk or in an object store.

    Opening it reads and checks every column but the images, which `batches` streams. Positions that
    cannot be used are null in `catalog`.

    Parameters
    ----------
    path : path or URL
        Parquet file with ``object_id``, ``survey``, ``ra``, ``dec`` [ICRS deg], and ``cutout``
        (URI, relative to the file's folder) or ``image`` (bytes, or nested bands); or the name of a
        sample in the package, as for `load_sample`.

    Raises
    ------
    TableError
        If the file is no Parquet table, a column is missing, or a row breaks the contract.
    CatalogError
        If no row has a usable position. A row without one gets the status ``bad_position``, unless
        its ``position_known`` is false.
    """

    def __init__(self, path: PathOrUrl) -> None:
        self.path = packaged_samples().get(str(path), location(path))
        self._file = open_parquet(self.path)
        names = self._file.schema_arrow.names
        with store_errors(self.path):
            self.catalog: pa.Table = self._file.read(columns=[n for n in names if n != "image"])
        validate_sample(self.catalog, str(self.path), has_image="image" in names)
        sky = (self.catalog[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
        good = are_positions(*sky) & positions_known(self.catalog)
        self.catalog = without_positions(self.catalog, good)

    @property
    def folder(self) -> Location:
        """Base of relative cutout URIs."""
        return self.path.parent

    @property
    def surveys(self) -> tuple[str, ...]:
        """The surveys in the table, sorted."""
        return tuple(sorted(pc.unique(self.catalog["survey"]).to_pylist()))

    @property
    def survey(self) -> str:
        """The one survey of the table; TableError if it mixes surveys."""
        if len(self.surveys) != 1:
            raise TableError(
                f"{self.path}: expected cutouts of one survey but found {', '.join(self.surveys)}; "
                "split the table by its survey column"
            )
        return self.surveys[0]

    def __len__(self) -> int:
        return int(self.catalog.num_rows)

    def __repr__(self) -> str:
        return f"<Sample of {len(self):,} cutouts of {', '.join(self.surveys)}: {self.path.name}>"

    def _repr_html_(self) -> str:
        shown: dict[str, object] = {
            "cutouts": f"{len(self):,}",
            "surveys": ", ".join(self.surveys),
            "file": self.path.name,
        }
        ids = self.catalog["object_id"].slice(0, _THUMBNAILS).to_pylist()
        pictures = self._encoded_images()
        cards = html.cards(pictures, [[name] for name in ids[: len(pictures)]])
        return (
            html.facts("Sample", shown)
            + (cards if any(pictures) else "")
            + html.details("first rows", html.rows_table(self.catalog))
        )

    def _encoded_images(self) -> list[bytes | None]:
        """Return the first images that are PNG or JPEG files inside the table."""
        first = next(self.batches(_THUMBNAILS, 0, _THUMBNAILS), self.catalog.slice(0, 0))
        images = first["image"] if "image" in first.column_names else pa.nulls(first.num_rows)
        known = pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)
        values = images.to_pylist() if known else [None] * first.num_rows
        return [data if data and html.image_uri(data) else None for data in values]

    @property
    def row_group_edges(self) -> np.ndarray:
        """First row of each row group, and the number of rows, (groups + 1,) int array."""
        metadata = self._file.metadata
        rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        return np.concatenate([[0], np.cumsum(rows)]).astype(int)

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Yield rows `start` to `stop`, images included, in table order, up to `rows` at a time.

        Row groups outside the range are not read.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        edges = self.row_group_edges
        groups = [i for i in range(len(edges) - 1) if edges[i + 1] > start and edges[i] < stop]
        if not groups or stop <= start:
            return
        first = int(edges[groups[0]])
        batches = self._file.iter_batches(batch_size=rows, row_groups=groups)
        tables = map(_without_unknown_positions, batches)
        yield from slice_tables(with_store_errors(self.path, tables), start - first, stop - first)


def packaged_samples() -> dict[str, Path]:
    """Return the files of the samples that the package holds, by name."""
    folder = Path(str(files("galaxy_da") / "samples"))
    return {path.stem: path for path in sorted(folder.glob("*.parquet"))}


def load_sample(name: str) -> Sample:
    """Load a sample of real galaxies that the package holds, such as ``"sdss-stamps"``.

    Raises
    ------
    TableError
        If the package holds no sample of that name.
    """
    known = packaged_samples()
    if name not in known:
        raise TableError(
            f"{name}: no such sample in the package, which holds {', '.join(known)}; open a table "
            "of your own with galaxy_da.Sample(path)"
        )
    return Sample(known[name])


def _without_unknown_positions(batch: pa.RecordBatch) -> pa.Table:
    table = pa.Table.from_batches([batch])
    return without_positions(table, positions_known(table))


def slice_tables(tables: Iterable[pa.Table], start: int, stop: int) -> Iterator[pa.Table]:
    """Yield rows `start` to `stop` of consecutive tables, without empty ones."""
    position = 0
    for table in tables:
        low, high = max(start - position, 0), min(stop - position, table.num_rows)
        if high > low:
            yield table.slice(low, high - low)
        position += table.num_rows


def validate_sample(table: pa.Table, where: str, *, has_image: bool | None = None) -> None:
    """Check the columns and rows of a sample table.

    `has_image` tells of an ``image`` column that was not read with the table.
    """
    check_columns(table, ("object_id", "survey", "ra", "dec"), where)
    if has_image is None:
        has_image = "image" in table.column_names
    if not has_image and "cutout" not in table.column_names:
        raise TableError(
            f"{where}: needs a 'cutout' column (path of an image) or an 'image' column (bytes); "
            f"it has {', '.join(table.column_names)}"
        )
    for name in ("object_id", "survey"):
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise TableError(
                f"{where}: column '{name}' must hold strings but holds {kind}; ids as numbers lose "
                "digits"
            )
        if table[name].null_count:
            raise TableError(f"{where}: column '{name}' has {table[name].null_count} empty values")
    try:
        ra, dec = (np.asarray(table[name].cast(pa.float64())) for name in ("ra", "dec"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(f"{where}: ra and dec must be numbers in degrees ({error})") from error
    for name, means in _DENIALS.items():
        if name in table.column_names and not pa.types.is_boolean(table[name].type):
            raise TableError(
                f"{where}: column {name!r} must hold true or false but holds {table[name].type}; "
                f"false means that {means}"
            )
    known = positions_known(table)
    usable_positions(ra[known], dec[known], where)
    check_unique(table, ("survey", "object_id"), where)
    if "status" in table.column_names:
        unknown = set(pc.unique(table["status"]).to_pylist()) - set(STATUSES)
        if unknown:
            raise TableError(
                f"{where}: status {sorted(map(str, unknown))} is not one of {', '.join(STATUSES)}"
            )

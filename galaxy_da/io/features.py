"""Feature tables: one row per cutout with its latents, in a folder of Parquet parts.

``features.json`` is written last and names the space and the encoders; a folder without it is an
unfinished extraction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import TableError
from galaxy_da.io import html
from galaxy_da.io.files import write_json
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, read_text
from galaxy_da.io.tables import read_table

if TYPE_CHECKING:
    from astropy.table import Table

MANIFEST = "features.json"

FORMAT = 2
"""Version of the manifest and the columns of feature tables."""

FEATURE_COLUMNS = (
    "status",
    "message",
    "flags",
    "embedding",
    "variance",
    "nuisance",
    "reconstruction_error",
    "domain_score",
    "domain_reason",
)
"""Columns that extraction adds to those of the sample table."""

SKY_INDEX = "_healpix_29"
"""Column that parts in HATS are sorted by; readers drop it."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """A finished feature table.

    Attributes
    ----------
    table : pa.Table
        The sample's columns without images, and `FEATURE_COLUMNS`: ``status`` (string),
        ``message`` (string, null where ok), ``flags`` (int32, `galaxy_da.io.samples.Flag`),
        ``embedding`` and ``variance`` (fixed-size lists of float32, null where not ok) of the
        galaxy latents, ``nuisance`` (likewise) of the nuisance latents, which the decoder needs,
        ``reconstruction_error`` (float32), ``domain_score`` (float32) and ``domain_reason``
        (string, null inside the domain).
    space_id : str
        Identity of the latent space: hash of its frame and anchor network.
    encoders : dict of str
        Survey name to the hash of the encoder used for it.
    readings : dict of str
        Survey name to words for the way in which its images were read, such as ``by definition``;
        empty in features of earlier versions.
    """

    table: pa.Table
    space_id: str
    encoders: dict[str, str]
    readings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: PathOrUrl) -> Features:
        """Read a feature folder, at a path or a URL; TableError if it is missing or unfinished."""
        folder = location(path)
        header = read_header(folder)
        parts = [read_part(path) for path in part_paths(folder, header)]
        return cls(
            table=_joined(parts, part_paths(folder, header)),
            space_id=header["space_id"],
            encoders=header["encoders"],
            readings=header.get("readings", {}),
        )

    def ok(self) -> pa.Table:
        """Return the rows that have an embedding."""
        return self.table.filter(self.table["embedding"].is_valid())

    def to_astropy(self) -> Table:
        """Return the table for astropy, with units and descriptions."""
        from galaxy_da.io.described_tables import to_astropy

        return to_astropy(self.table)

    def __repr__(self) -> str:
        read = ", ".join(f"{name} {words}" for name, words in self.readings.items())
        usable = self.table.num_rows - self.table["embedding"].null_count
        return f"<Features of {self.table.num_rows:,} cutouts, {usable:,} usable: {read}>"

    def _repr_html_(self) -> str:
        from galaxy_da.io.described_tables import add_descriptions

        counts = pc.value_counts(self.table["status"]).to_pylist()
        table = add_descriptions(self.table)
        shown = {
            **{f"status {item['values']}": item["counts"] for item in counts},
            **{f"{name} was read": words for name, words in self.readings.items()},
            "space": self.space_id[:12],
        }
        return (
            html.facts("Features", shown)
            + html.details(f"{table.num_columns} columns", html.column_list(table.schema))
            + html.details("first rows", html.rows_table(table))
        )


def _joined(parts: Sequence[pa.Table], paths: Sequence[Location]) -> pa.Table:
    """Join parts; TableError names one whose columns are not those of the first."""
    for part, path in zip(parts, paths, strict=True):
        if not part.schema.equals(parts[0].schema):
            ours, theirs = (dict(zip(t.schema.names, t.schema.types, strict=True))
                            for t in (parts[0], part))  # fmt: skip
            differ = [n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n)]
            raise TableError(
                f"{path}: its columns are not those of {paths[0].name} (differ in "
                f"{', '.join(differ) or 'their order'}); delete the folder and extract again"
            )
    return pa.concat_tables(parts)


def read_header(folder: Location) -> dict[str, Any]:
    """Read the manifest of a feature folder."""
    if not exists(folder / MANIFEST):
        raise TableError(
            f"{folder}: no finished features here ({MANIFEST} is missing); run the same "
            "`galaxy-da extract` again, it goes on where it stopped"
        )
    header = dict(json.loads(read_text(folder / MANIFEST)))
    if header.get("format") != FORMAT:
        raise TableError(
            f"{folder}: holds features of format {header.get('format')} but this version reads "
            f"format {FORMAT}; run `galaxy-da extract` again with another --out"
        )
    return header


def write_header(
    folder: Location, parts: int | Sequence[str], rows: int, record: Mapping[str, Any]
) -> None:
    """Write the manifest, which marks a feature folder as finished.

    `parts` are the number of its parts or, for HATS, their names. `record` has ``space_id``,
    ``encoders`` and ``readings``, and whatever else the writer keeps.
    """
    write_json(folder / MANIFEST, {"format": FORMAT, "parts": parts, "rows": rows, **record})


def part_path(folder: Location, number: int) -> Location:
    """Return the path of part `number` of a feature folder."""
    return folder / f"part-{number:05d}.parquet"


def part_paths(folder: Location, header: Mapping[str, Any]) -> list[Location]:
    """Return the paths of all parts; the manifest has their number or, for HATS, their names."""
    parts: int | list[str] = header["parts"]
    if isinstance(parts, int):
        return [part_path(folder, i) for i in range(parts)]
    return [folder / name for name in parts]


def read_part(path: Location) -> pa.Table:
    """Read a part, without the sort column of HATS."""
    table = read_table(path)
    return table.drop_columns(SKY_INDEX) if SKY_INDEX in table.column_names else table


def vectors(table: pa.Table, column: str = "embedding") -> np.ndarray:
    """Return a fixed-size list column without nulls as an (n, d) float32 array."""
    values: Sequence[pa.Array] = table[column].chunks
    width = table.schema.field(column).type.list_size
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in values]
    return np.concatenate(flat).reshape(-1, width) if flat else np.empty((0, width), np.float32)

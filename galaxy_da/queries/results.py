"""Results of queries: tables that show themselves, with the pictures of the galaxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.io import html

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

    from galaxy_da.images.drawing import SampleCutouts
    from galaxy_da.plots import Plot

_SHOWN = 12
_THUMBNAIL_PX = 108
_MEASURES = (
    "distance", "trained_score", "outlier_score", "separation_arcsec", "match_probability",
)  # fmt: skip
_KEY = ("survey", "object_id")


class QueryResult:
    """The rows that a query found.

    It has every attribute of the Arrow table `table`, and converts to the tables of other
    libraries. In a notebook it shows the pictures of the first galaxies, if the index has images.

    Parameters
    ----------
    table : pa.Table
        The rows, in the order of the query.
    cutouts : SampleCutouts, optional
        Images of the index; see `galaxy_da.LatentIndex.with_images`.
    """

    def __init__(self, table: pa.Table, cutouts: SampleCutouts | None = None) -> None:
        self.table = table
        self._cutouts = cutouts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.table, name)

    def __getitem__(self, name: str | int) -> Any:
        return self.table[name]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __eq__(self, other: object) -> bool:
        return bool(self.table == (other.table if isinstance(other, QueryResult) else other))

    __hash__ = None  # type: ignore[assignment]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.table)})

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.table.column_names)

    def to_pandas(self, **settings: Any) -> pd.DataFrame:
        """Return the rows as a pandas table; settings are those of `pyarrow.Table.to_pandas`."""
        frame: pd.DataFrame = self.table.to_pandas(**settings)
        return frame

    def to_astropy(self) -> Table:
        """Return the rows as an astropy table with units and descriptions."""
        from galaxy_da.io.described_tables import to_astropy

        return to_astropy(self.table)

    def plot(self, rows: int = _SHOWN, columns: int = 6) -> Plot:
        """Draw the first galaxies with their measures.

        Raises
        ------
        LatentIndexError
            If the index has no images, or the rows are not galaxies.
        """
        from galaxy_da.plots import gallery

        table = self.table.slice(0, rows)
        pictures = self._images().pictures(self._keys(table))
        return gallery(pictures, ["\n".join(lines) for lines in _captions(table)], columns=columns)

    def __repr__(self) -> str:
        frame = self.table.slice(0, _SHOWN).to_pandas()
        return f"{frame.to_string(index=False)}\n[{len(self):,} rows]"

    def _repr_html_(self) -> str:
        from galaxy_da.images.drawing import to_png
        from galaxy_da.io.described_tables import add_descriptions

        table = add_descriptions(self.table)
        if self._cutouts is None or not set(_KEY) <= set(table.column_names):
            return html.rows_table(table)
        first = self.table.slice(0, _SHOWN)
        pictures = self._cutouts.pictures(self._keys(first))
        encoded = [None if p is None else to_png(p, _THUMBNAIL_PX, "jpeg") for p in pictures]
        return html.cards(encoded, _captions(first)) + html.details(
            f"{len(self):,} rows, {table.num_columns} columns", html.rows_table(table, _SHOWN)
        )

    def _images(self) -> SampleCutouts:
        if self._cutouts is None:
            raise LatentIndexError(
                "this index has no images to draw; give it its sample tables with "
                "index.with_images(sample, ...) and query again"
            )
        return self._cutouts

    def _keys(self, table: pa.Table) -> list[tuple[str, str]]:
        if not set(_KEY) <= set(table.column_names):
            raise LatentIndexError(
                "only rows of galaxies can be drawn; this table has no survey and object_id but "
                f"{', '.join(table.column_names)}"
            )
        surveys, ids = (table[name].to_pylist() for name in _KEY)
        return list(zip(surveys, ids, strict=True))


def _captions(table: pa.Table) -> list[list[str]]:
    """Return the id and the first two measures of each row."""
    measures = [name for name in _MEASURES if name in table.column_names][:2]
    captions = []
    for row in table.select([*_KEY, *measures]).to_pylist():
        name = row["object_id"] if len(row["object_id"]) < 15 else f"…{row['object_id'][-13:]}"
        known = [f"{m.replace('_', ' ')} {row[m]:.3g}" for m in measures if row[m] is not None]
        captions.append([f"{row['survey']} {name}", *known])
    return captions

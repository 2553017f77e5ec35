"""An index with its queries: similar galaxies, counterparts in other surveys, outliers.

Each query is a function of a `StoredIndex` in `galaxy_da.queries` and a method of `LatentIndex`,
which returns its table as a `QueryResult`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self

import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.index.reading import StoredIndex
from galaxy_da.io import html
from galaxy_da.io.samples import Sample
from galaxy_da.queries.distances import distances
from galaxy_da.queries.duplicates import duplicates
from galaxy_da.queries.interpolation import along, between, combine
from galaxy_da.queries.outliers import outliers
from galaxy_da.queries.ranking import rank
from galaxy_da.queries.results import QueryResult
from galaxy_da.queries.same import same
from galaxy_da.queries.similar import at_position, similar, similar_to_each

if TYPE_CHECKING:
    from galaxy_da.images.drawing import SampleCutouts

_Arguments = ParamSpec("_Arguments")


def _shown(
    query: Callable[Concatenate[StoredIndex, _Arguments], pa.Table],
) -> Callable[Concatenate[LatentIndex, _Arguments], QueryResult]:
    """Return a query whose result shows itself."""

    def run(
        self: LatentIndex, /, *args: _Arguments.args, **options: _Arguments.kwargs
    ) -> QueryResult:
        return QueryResult(query(self, *args, **options), self.cutouts)

    update_wrapper(run, query)
    return run


class LatentIndex(StoredIndex):
    """A stored index and its queries.

    Attributes
    ----------
    cutouts : SampleCutouts or None
        Images of its objects, which `with_images` sets.
    """

    cutouts: SampleCutouts | None = None

    def with_images(self, *samples: Sample) -> Self:
        """Give the index the sample tables of its objects, so that results show pictures."""
        from galaxy_da.images.drawing import SampleCutouts

        self.cutouts = SampleCutouts(samples) if samples else None
        return self

    similar = _shown(similar)
    similar_to_each = similar_to_each
    at_position = at_position
    same = _shown(same)
    distances = _shown(distances)
    duplicates = _shown(duplicates)
    outliers = _shown(outliers)
    rank = _shown(rank)
    between = between
    along = along
    combine = combine

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {count:,}" for name, count in self._counts().items())
        return f"<LatentIndex of {len(self):,} objects: {parts}; {self.dimension} latents>"

    def _repr_html_(self) -> str:
        keys = [self.key(row) for row in range(min(3, len(self)))]
        shown = html.facts(
            "Latent index",
            {
                **{f"objects of {name}": count for name, count in self._counts().items()},
                "latents": self.dimension,
                "space": self.space_id[:12],
                "images": "none; give them with index.with_images(sample)"
                if self.cutouts is None
                else ", ".join(path.name for path in self.cutouts.paths),
                "first keys": ", ".join(keys),
            },
        )
        columns = html.column_list(self.rows.schema)
        return shown + html.details(f"{self.rows.num_columns} columns", columns)

    def _counts(self) -> dict[str, int]:
        counts = pc.value_counts(self.rows["survey"].combine_chunks())
        return {item["values"]: item["counts"] for item in counts.to_pylist()}

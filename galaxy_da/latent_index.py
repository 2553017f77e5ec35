"""An index with its queries: similar galaxies, counterparts in other surveys, outliers.

Each query is a function of a `StoredIndex` in `galaxy_da.queries` and a method of `LatentIndex`.
"""

from __future__ import annotations

from galaxy_da.index.reading import StoredIndex
from galaxy_da.queries.distances import distances
from galaxy_da.queries.duplicates import duplicates
from galaxy_da.queries.interpolation import along, between, combine
from galaxy_da.queries.outliers import outliers
from galaxy_da.queries.ranking import rank
from galaxy_da.queries.same import same
from galaxy_da.queries.similar import at_position, similar, similar_to_each

__all__ = ["LatentIndex"]


class LatentIndex(StoredIndex):
    """A stored index and its queries."""

    similar = similar
    similar_to_each = similar_to_each
    at_position = at_position
    same = same
    distances = distances
    duplicates = duplicates
    outliers = outliers
    rank = rank
    between = between
    along = along
    combine = combine

"""The index on disk and in memory: immutable segments, one manifest, exact answers.

`reading` opens it, `writing` makes and changes it; what it can be asked is in `galaxy_da.index`.
"""

from galaxy_da.indexing.kinds import KINDS, Cost, cost
from galaxy_da.indexing.reading import StoredIndex
from galaxy_da.indexing.selections import Selection
from galaxy_da.indexing.writing import add, create, delete, rebuild

__all__ = [
    "KINDS",
    "Cost",
    "Selection",
    "StoredIndex",
    "add",
    "cost",
    "create",
    "delete",
    "rebuild",
]

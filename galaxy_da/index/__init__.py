"""The index on disk and in memory: immutable segments, one manifest, exact answers.

`reading` opens it, `writing` makes and changes it; what it can be asked is in
`galaxy_da.latent_index`.
"""

from galaxy_da.index.kinds import KINDS, Cost, cost
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection
from galaxy_da.index.writing import add, create, delete, rebuild

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

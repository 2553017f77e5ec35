"""The index of latent vectors, on disk and in memory: immutable segments and one manifest.

`reading` opens and searches it, `writing` changes it. `galaxy_da.latent_index` has the queries.
"""

from galaxy_da.index.kinds import KINDS, Cost, cost
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection, Subset
from galaxy_da.index.writing import add, create, delete, rebuild

__all__ = [
    "KINDS", "Cost", "Selection", "StoredIndex", "Subset", "add", "cost", "create", "delete",
    "rebuild",
]  # fmt: skip

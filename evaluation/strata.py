"""Recall by magnitude and by size over PSF."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from evaluation.retrieval import Recall, recall_of

MAGNITUDES = (17.0, 18.5, 20.0, 21.0, 21.5)
"""Edges of the strata in r [AB mag]."""

SIZES_OVER_PSF = (0.0, 0.5, 1.0, 2.0, np.inf)
"""Edges of the strata in half-light radius over PSF FWHM."""


def by_stratum(
    ranks: np.ndarray, pool: int, values: np.ndarray, edges: Sequence[float], seed: int = 0
) -> dict[str, Recall]:
    """Summarise the (n,) ranks of queries by intervals of a property with (n,) values.

    Each interval, named ``low-high``, includes its lower edge, the last one both. Intervals without
    a query are left out.
    """
    inside = np.clip(np.digitize(values, edges[1:-1]), 0, len(edges) - 2)
    inside = np.where((values < edges[0]) | (values > edges[-1]), -1, inside)
    return {
        f"{low:g}-{high:g}": recall_of(ranks[inside == i], pool, seed)
        for i, (low, high) in enumerate(pairwise(edges))
        if (inside == i).any()
    }

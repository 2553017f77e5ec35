"""Pairs as row numbers of two sample tables, with their part of the sky split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalogs.splits import sky_split
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import row_numbers
from galaxy_da.io.samples import Sample

__all__ = ["PairedRows"]


@dataclass(frozen=True, kw_only=True)
class PairedRows:
    """Row numbers of the same galaxies in two samples.

    Attributes
    ----------
    anchor, target : (n,) int array
        Row of each pair in the two samples.
    part : (n,) str array
        ``train``, ``validation`` or ``test``, by the anchor's position.
    """

    anchor: np.ndarray
    target: np.ndarray
    part: np.ndarray

    @classmethod
    def of(cls, pairs: pa.Table, anchor: Sample, target: Sample) -> PairedRows:
        """Look up a pair table's ids; ambiguous pairs and ids without a row are left out.

        Raises
        ------
        CatalogError
            If no pair remains.
        """
        clear = pairs.filter(pa.compute.invert(pairs["ambiguous"]))
        rows = [
            row_numbers(anchor, clear["anchor_id"]),
            row_numbers(target, clear["target_id"]),
        ]
        known = (rows[0] >= 0) & (rows[1] >= 0)
        if not known.any():
            raise CatalogError(
                f"none of the {pairs.num_rows} pairs is unambiguous and in both {anchor.path} and "
                f"{target.path}; were they matched from other tables, or with the sides swapped?"
            )
        first, second = rows[0][known], rows[1][known]
        ra, dec = (np.asarray(anchor.catalog[name])[first] for name in ("ra", "dec"))
        return cls(anchor=first, target=second, part=sky_split(ra, dec))

    def only(self, part: str, most: int | None = None, seed: int = 0) -> PairedRows:
        """Return the pairs of one part, or a random choice of `most` of them."""
        chosen = np.flatnonzero(self.part == part)
        if most is not None and len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
        return PairedRows(
            anchor=self.anchor[chosen], target=self.target[chosen], part=self.part[chosen]
        )

    def __len__(self) -> int:
        return len(self.anchor)

"""Pairs as row numbers of two sample tables, with their part of the sky split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from catalogs.splits import SkySplit, choose_split
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import row_numbers
from galaxy_da.io.samples import Sample


@dataclass(frozen=True, kw_only=True)
class PairedRows:
    """Row numbers of the same galaxies in two samples."""

    anchor: np.ndarray  # (n,) rows in the two samples
    target: np.ndarray
    part: np.ndarray  # train, validation or test, by the anchor's position
    split: SkySplit  # of the sky, that gave the parts

    @classmethod
    def of(
        cls,
        pairs: pa.Table,
        anchor: Sample,
        target: Sample,
        split: SkySplit | None = None,
        *,
        known: Sequence[SkySplit] = (),
    ) -> PairedRows:
        """Look up a pair table's ids; ambiguous pairs and ids without a row are left out.

        The split of the sky is by default chosen by the pairs' positions; one of `known` is
        preferred to a new one. Raises CatalogError if no pair remains, or they lie too close
        together to be split.
        """
        clear = pairs.filter(pa.compute.invert(pairs["ambiguous"]))
        rows = row_numbers(anchor, clear["anchor_id"]), row_numbers(target, clear["target_id"])
        both = (rows[0] >= 0) & (rows[1] >= 0)
        if not both.any():
            raise CatalogError(
                f"none of the {pairs.num_rows} pairs is unambiguous and in both {anchor.path} and "
                f"{target.path}; were they matched from other tables, or with the sides swapped?"
            )
        first, second = rows[0][both], rows[1][both]
        ra, dec = (np.asarray(anchor.catalog[name])[first] for name in ("ra", "dec"))
        split = split or choose_split(ra, dec, known)
        return cls(anchor=first, target=second, part=split.part(ra, dec), split=split)

    def only(self, part: str, most: int | None = None, seed: int = 0) -> PairedRows:
        """Return the pairs of one part, or a random choice of `most` of them."""
        chosen = np.flatnonzero(self.part == part)
        if most is not None and len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
        rows = {name: getattr(self, name)[chosen] for name in ("anchor", "target", "part")}
        return replace(self, **rows)

    def __len__(self) -> int:
        return len(self.anchor)

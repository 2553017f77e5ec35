"""Read the target's nearest bands through the anchor's encoder, without adapting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["Unadapted"]


@dataclass(frozen=True)
class Unadapted:
    """Un-adapted encoder, after the usual preparation of images."""

    name: ClassVar[str] = "unadapted"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Return the space's own maps."""
        return Fitted(anchor=data.encode_anchor, target=data.encode_target)

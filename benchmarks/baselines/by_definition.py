"""Read the target by its definition alone, without adapting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["ByDefinition"]


@dataclass(frozen=True)
class ByDefinition:
    """The anchor's network, conditioned on the target's definition."""

    name: ClassVar[str] = "by definition"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Return the space's own maps."""
        return Fitted(anchor=data.encode_anchor, target=data.encode_target)

"""Interface of all baselines: their data and the fitted maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder


@dataclass(frozen=True, kw_only=True)
class AdaptationData:
    """Inputs of two surveys to adapt on, and the space they go into.

    Attributes
    ----------
    space : LatentSpace
        Space to adapt; its networks are never changed.
    encoder : SurveyEncoder
        The target's encoder by definition: survey, bands and network.
    anchor, target : Inputs
        Prepared images of any galaxies by both surveys, with their instruments.
    seed : int
        Seed of every random draw.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor: Inputs
    target: Inputs
    seed: int = 0

    def __post_init__(self) -> None:
        planes = self.space.frame.planes
        for side, images in (("anchor", self.anchor.images), ("target", self.target.images)):
            if images.ndim != 4 or images.shape[1] != planes or len(images) < 2:
                raise ValueError(
                    f"{side} images must have shape (n, {planes}, y, x), two rows at least, but "
                    f"have {tuple(images.shape)}"
                )

    def encode_anchor(self, inputs: Inputs) -> Tensor:
        """(n, latents) float32 of anchor images by the frozen anchor."""
        return self.space.encode(inputs, self.space.anchor).mean

    def encode_target(self, inputs: Inputs, network: Encoder | None = None) -> Tensor:
        """(n, latents) float32 of target images by a network, by default the anchor's."""
        reader = self.encoder if network is None else replace(self.encoder, network=network)
        return self.space.encode(inputs, reader).mean


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Fitted baseline: one map per survey into a common space.

    Attributes
    ----------
    anchor, target : callable
        Maps from n inputs to (n, d) float32 on the CPU.
    record : dict
        Record of the fit: settings, curves.
    """

    anchor: Callable[[Inputs], Tensor]
    target: Callable[[Inputs], Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)


class Baseline(Protocol):
    """Method that brings a survey into a space, from images of any galaxies."""

    @property
    def name(self) -> str:
        """Key in tables."""

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to images of both surveys; ValueError if they are too few."""

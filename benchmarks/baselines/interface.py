"""Interface of all baselines: their data and the fitted maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from galaxy_da.images.preparation import pick_bands
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetric_outputs import means_by_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["AdaptationData", "Baseline", "Fitted"]


@dataclass(frozen=True, kw_only=True)
class AdaptationData:
    """Images of two surveys to adapt on, and the space they go into.

    Attributes
    ----------
    space : LatentSpace
        Space to adapt; its networks are never changed.
    encoder : SurveyEncoder
        The target's un-adapted encoder: survey, bands and network.
    anchor_images : (n, bands, y, x) float tensor
        Prepared images of the anchor survey, in the frame's bands.
    target_images : (m, planes, y, x) float tensor
        Prepared images of the target, in the encoder's bands.
    paired : bool
        True if rows of both show the same galaxy.
    seed : int
        Seed of every random draw.
    galaxy : slice
        Latents that describe the galaxy rather than the observation; by default all.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor_images: Tensor
    target_images: Tensor
    paired: bool
    seed: int = 0
    galaxy: slice = field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        for side, images, bands in (
            ("anchor", self.anchor_images, self.space.frame.bands),
            ("target", self.target_images, self.encoder.bands),
        ):
            if images.ndim != 4 or images.shape[1] != len(bands) or len(images) < 2:
                raise ValueError(
                    f"{side} images must have shape (n, {len(bands)}, y, x), two rows at least, "
                    f"for bands {', '.join(bands)} but have {tuple(images.shape)}"
                )
        if self.paired and len(self.anchor_images) != len(self.target_images):
            raise ValueError(
                f"paired images must match row by row but there are {len(self.anchor_images)} of "
                f"the anchor and {len(self.target_images)} of the target"
            )

    def require_pairs(self, name: str) -> None:
        """Raise ValueError if a baseline that needs pairs has none."""
        if not self.paired:
            raise ValueError(f"{name} needs paired images; give some, or leave it out")

    def encode_anchor(self, images: Tensor) -> Tensor:
        """(n, galaxy latents) float32 of anchor images by the frozen anchor."""
        return self.space.encode(images, self.space.anchor).mean[:, self.galaxy]

    def encode_target(self, images: Tensor, network: Encoder | None = None) -> Tensor:
        """(n, galaxy latents) float32 of target images by a network, the un-adapted by default."""
        return self.space.encode(images, self._reader(network)).mean[:, self.galaxy]

    def in_frame_bands(self, images: Tensor) -> Tensor:
        """(n, bands, y, x) target images, the nearest of their bands for each of the frame's."""
        bands = self.encoder.bands
        nearest = pick_bands(self.encoder.survey, bands, self.space.frame)
        return images[:, [bands.index(name) for name in nearest]]

    @cached_property
    def means(self) -> tuple[Tensor, Tensor]:
        """All latents of anchor and target in the eight symmetries, (8 n, d) and (8 m, d).

        A map fitted on every symmetry does not depend on the orientation of the galaxies.
        """
        sides = (
            (self.space.encoder(self.space.anchor), self.anchor_images),
            (self.encoder, self.target_images),
        )
        anchor, target = (
            means_by_symmetry(encoder.network, images).flatten(0, 1) for encoder, images in sides
        )
        return anchor, target

    @property
    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """Galaxy latents of anchor and target as float64 arrays, rows as in `means`."""
        anchor, target = (mean[:, self.galaxy].double().numpy() for mean in self.means)
        return anchor, target

    def _reader(self, network: Encoder | None) -> SurveyEncoder:
        if network is None:
            return self.encoder
        own = self.encoder
        return SurveyEncoder(survey=own.survey, bands=own.bands, network=network)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Fitted baseline: one map per survey into a common space.

    Attributes
    ----------
    anchor, target : callable
        Maps from prepared images, (n, bands, y, x), to (n, d) float32 on the CPU.
    record : dict
        Record of the fit: settings, curves.
    """

    anchor: Callable[[Tensor], Tensor]
    target: Callable[[Tensor], Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def affine(cls, data: AdaptationData, slope: np.ndarray, offset: np.ndarray) -> Fitted:
        """Return un-adapted target latents followed by ``z @ slope + offset``.

        Parameters
        ----------
        data : AdaptationData
            Data with the encoders.
        slope : (d, d) float array
        offset : (d,) float array
        """
        matrix, shift = (torch.from_numpy(a).float() for a in (slope, offset))
        return cls(
            anchor=data.encode_anchor,
            target=lambda images: data.encode_target(images) @ matrix + shift,
        )


class Baseline(Protocol):
    """Method that brings a survey into a space."""

    @property
    def name(self) -> str:
        """Key in tables."""

    @property
    def needs_pairs(self) -> bool:
        """True if it cannot be fitted to unpaired images."""

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to images of both surveys.

        Raises
        ------
        ValueError
            If it needs pairs and the data are not paired.
        """

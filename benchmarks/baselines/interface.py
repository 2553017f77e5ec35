"""Interface of all baselines: their data and the fitted maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetric_outputs import means_by_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["AdaptationData", "Baseline", "Fitted", "in_frame_bands"]


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
        Prepared images of the anchor survey and of the target, with their instruments.
    paired : bool
        True if rows of both show the same galaxy.
    seed : int
        Seed of every random draw.
    galaxy : slice
        Latents that describe the galaxy rather than the observation; by default all.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor: Inputs
    target: Inputs
    paired: bool
    seed: int = 0
    galaxy: slice = field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        planes = self.space.frame.planes
        for side, images in (("anchor", self.anchor.images), ("target", self.target.images)):
            if images.ndim != 4 or images.shape[1] != planes or len(images) < 2:
                raise ValueError(
                    f"{side} images must have shape (n, {planes}, y, x), two rows at least, but "
                    f"have {tuple(images.shape)}"
                )
        if self.paired and len(self.anchor) != len(self.target):
            raise ValueError(
                f"paired images must match row by row but there are {len(self.anchor)} of the "
                f"anchor and {len(self.target)} of the target"
            )

    def require_pairs(self, name: str) -> None:
        """Raise ValueError if a baseline that needs pairs has none."""
        if not self.paired:
            raise ValueError(f"{name} needs paired images; give some, or leave it out")

    def encode_anchor(self, inputs: Inputs) -> Tensor:
        """(n, galaxy latents) float32 of anchor images by the frozen anchor."""
        return self.space.encode(inputs, self.space.anchor).mean[:, self.galaxy]

    def encode_target(self, inputs: Inputs, network: Encoder | None = None) -> Tensor:
        """(n, galaxy latents) float32 of target images by a network, by default the anchor's."""
        return self.space.encode(inputs, self._reader(network)).mean[:, self.galaxy]

    @cached_property
    def means(self) -> tuple[Tensor, Tensor]:
        """All latents of anchor and target in the eight symmetries, (8 n, d) and (8 m, d).

        A map fitted on every symmetry does not depend on the orientation of the galaxies.
        """
        sides = (
            (self.space.encoder(self.space.anchor), self.anchor),
            (self.encoder, self.target),
        )
        anchor, target = (
            means_by_symmetry(encoder.network, inputs).flatten(0, 1) for encoder, inputs in sides
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
        Maps from n inputs to (n, d) float32 on the CPU.
    record : dict
        Record of the fit: settings, curves.
    """

    anchor: Callable[[Inputs], Tensor]
    target: Callable[[Inputs], Tensor]
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def affine(cls, data: AdaptationData, slope: np.ndarray, offset: np.ndarray) -> Fitted:
        """Return target latents by definition, followed by ``z @ slope + offset``.

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
            target=lambda inputs: data.encode_target(inputs) @ matrix + shift,
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


def in_frame_bands(images: Tensor, encoder: SurveyEncoder, frame: Frame) -> Tensor:
    """(n, bands, y, x) images of the first grid; the nearest band stands in for a missing one."""
    there = [plane for plane, name in enumerate(encoder.bands) if name is not None]
    have = np.log([encoder.survey.band(str(encoder.bands[p])).wavelength_nm for p in there])
    wanted = np.log(frame.wavelengths_nm)
    nearest = np.abs(wanted[:, None] - have).argmin(1)
    own = range(len(encoder.bands))
    return images[:, [p if p in there else there[nearest[p]] for p in own]]

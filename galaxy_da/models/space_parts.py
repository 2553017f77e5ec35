"""Parts of a latent space: the survey encoders, the decoder, the frame and the probes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, Prepared, prepare
from galaxy_da.io.files import json_hash
from galaxy_da.models.domain import Domain
from galaxy_da.models.networks import Architecture, Decoder, Encoder
from galaxy_da.models.probes import Probe
from galaxy_da.surveys import Survey


@dataclass(frozen=True, kw_only=True)
class SurveyEncoder:
    """The network that maps cutouts of one survey into a latent space.

    Attributes
    ----------
    survey : Survey
        Definition of the survey, saved with the space.
    bands : tuple of str or None
        The survey's band for each band of the frame; None for a missing one.
    network : Encoder
        Prepared images and the conditions of their instruments to posterior.
    record : dict
        Record of the adaptation: candidates, scores, curves. Empty for the anchor, and for a
        survey that is read by its definition alone.
    """

    survey: Survey
    bands: tuple[str | None, ...]
    network: Encoder
    record: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Identity of the network, its input bands, and the definition of the survey."""
        definition = self.survey.model_dump(mode="json")
        return json_hash([self.bands, network_hash(self.network), definition])

    @property
    def by_definition(self) -> bool:
        """True if the survey is read by its definition, without an adaptation."""
        return not self.record

    @property
    def reading(self) -> str:
        """Words for the way in which images are read: by definition, or adapted."""
        if self.by_definition:
            return "by definition"
        pairs = self.record.get("pairs", {}).get("train")
        return f"adapted {f'with {pairs} pairs' if pairs else 'without pairs'}"

    def prepare(
        self, cutouts: Sequence[Cutout], frame: Frame, device: torch.device | str = "cpu"
    ) -> Prepared:
        """Resample cutouts of this survey to the frame, in the input bands."""
        return prepare(cutouts, self.survey, frame, self.bands, device)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpaceParts:
    """Contents of a latent space, as they are stored.

    Attributes
    ----------
    architecture : Architecture
        Sizes of the networks.
    frame : Frame
        Pixel grid, bands and scaling of the anchor's images.
    anchor : str
        Name of the anchor survey, a key of `encoders`.
    encoders : dict of str to SurveyEncoder
        Encoders of the anchor and of every adapted survey.
    decoder : Decoder
        Latents to the anchor's image.
    training, metrics : dict
        Record of the anchor's training, and its validation scores.
    probes : sequence of Probe
        Physical columns that extraction writes beside the latents.
    domain : Domain, optional
        Model of the images that the space has learnt to read.
    """

    architecture: Architecture
    frame: Frame
    anchor: str
    encoders: Mapping[str, SurveyEncoder]
    decoder: Decoder
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    domain: Domain | None = None

    @property
    def surveys(self) -> tuple[str, ...]:
        """Surveys with an encoder, the anchor first."""
        return (self.anchor, *sorted(name for name in self.encoders if name != self.anchor))


def network_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network as contiguous tensors on the CPU."""
    return {name: value.cpu().contiguous() for name, value in network.state_dict().items()}


def network_hash(network: nn.Module) -> str:
    """Return the SHA-256 of the weights of a network."""
    return hashlib.sha256(safetensors.torch.save(network_state(network))).hexdigest()

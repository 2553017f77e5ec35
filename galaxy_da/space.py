"""The latent space: an anchor encoder and decoder, their frame, and one encoder per survey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from galaxy_da.errors import SpaceError, SurveyError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io import html
from galaxy_da.io.files import json_hash
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.models.devices import Precision, autocast, best_device, placed
from galaxy_da.models.domain import Domain
from galaxy_da.models.match_probability import MatchProbability
from galaxy_da.models.networks import Posterior
from galaxy_da.models.probes import Probe
from galaxy_da.models.space_files import read_space, write_space
from galaxy_da.models.space_parts import SpaceParts, SurveyEncoder, network_hash
from galaxy_da.surveys import Survey, get_survey

__all__ = ["LatentSpace", "SpaceParts", "SurveyEncoder"]

_BATCH = 512


class LatentSpace:
    """One latent space and the surveys that map into it.

    Made by `load`, by training, or from `SpaceParts`, whose fields are its attributes. Any number
    of threads may encode and decode, on any devices; those that share a network take turns.
    """

    def __init__(self, parts: SpaceParts) -> None:
        self._parts = parts
        self.architecture = parts.architecture
        self.frame = parts.frame
        self.anchor = parts.anchor
        self.decoder = parts.decoder
        self.training = dict(parts.training)
        self.metrics = dict(parts.metrics)
        self.probes = tuple(parts.probes)
        self.domain = parts.domain
        for network in (parts.decoder, *(encoder.network for encoder in parts.encoders.values())):
            _freeze(network)

    @classmethod
    def load(cls, path: PathOrUrl) -> LatentSpace:
        """Load a space from a folder, at a path or URL, or a shipped one, such as ``"decals"``.

        Raises
        ------
        SpaceError
            If it is missing, of another format, or was edited after it was saved.

        Examples
        --------
        >>> from galaxy_da import LatentSpace
        >>> space = LatentSpace.load("decals")
        >>> space.surveys
        ('decals',)
        >>> space.encoder("hsc").reading
        'by definition'
        """
        return cls(read_space(path))

    def save(self, path: PathOrUrl) -> None:
        """Write the space to a folder; a failure raises StorageError."""
        write_space(self._parts, path)

    @property
    def surveys(self) -> tuple[str, ...]:
        """Surveys with an encoder, the anchor first."""
        return self._parts.surveys

    @property
    def galaxy_latents(self) -> int:
        """Number of galaxy latents, which come first."""
        return self.architecture.galaxy_latents

    @cached_property
    def id(self) -> str:
        """Identity of the latent space: its frame and anchor networks.

        Adapting a survey keeps it, since the anchor is frozen: its vectors stay valid.
        """
        hashes = [network_hash(self.encoder(self.anchor).network), network_hash(self.decoder)]
        return json_hash([self.frame.model_dump(mode="json"), *hashes])

    def survey(self, name: str, own: Mapping[str, Survey] | None = None) -> Survey:
        """Return the definition of a survey: the space's, else the user's own, else built in.

        An own definition that differs from the space's raises SurveyError.
        """
        given = (own or {}).get(name)
        if name not in self._parts.encoders:
            return given or get_survey(name)
        known = self._parts.encoders[name].survey
        if given not in (None, known):
            raise SurveyError(
                f"{name}: the space holds another definition of this survey, which it was trained "
                "or adapted with; give yours another name, or adapt again"
            )
        return known

    def encoder(
        self, survey: str | Survey, available: Sequence[str] | None = None
    ) -> SurveyEncoder:
        """Return the encoder of any survey: adapted, or the anchor's network by its definition.

        Parameters
        ----------
        survey : str or Survey
            Survey of the space or built in, by name, or another's definition.
        available : sequence of str, optional
            Bands of the cutouts, for a survey that is read by its definition, and for the anchor if
            the network is conditioned; by default all.

        Raises
        ------
        SurveyError
            If the name or a band is unknown.
        """
        name = survey if isinstance(survey, str) else survey.name
        if name in self._parts.encoders:
            known = self._parts.encoders[name]
            lacks = available is not None and not {*known.bands} <= {*available}
            if lacks and name == self.anchor and self.architecture.conditioned:
                return self.by_definition(known.survey, available)
            return known
        definition = get_survey(survey) if isinstance(survey, str) else survey
        return self.by_definition(definition, available)

    def by_definition(
        self, survey: Survey, available: Sequence[str] | None = None
    ) -> SurveyEncoder:
        """Return the anchor's network with the instrument of a survey, without adaptation."""
        bands = self.frame.assign(survey, available or survey.band_names)
        network = self._parts.encoders[self.anchor].network
        return SurveyEncoder(survey=survey, bands=bands, network=network)

    def match_probability(self, first: str, second: str) -> MatchProbability:
        """Return the model of the probability that images of two surveys show the same galaxy.

        The surveys are the anchor and one that was adapted with pairs, in either order; else
        SpaceError.
        """
        others = [name for name in (first, second) if name != self.anchor]
        record = self.encoder(others[0]).record if len(others) == 1 else {}
        if "match_probability" not in record:
            raise SpaceError(
                f"{first} and {second}: this space has no probability that they show the same "
                f"galaxy; it needs {self.anchor} and a survey adapted with pairs, at least 30 of "
                "them held out"
            )
        return MatchProbability.model_validate(record["match_probability"]["model"])

    def with_survey(self, encoder: SurveyEncoder) -> LatentSpace:
        """Return a copy in which the encoder of a survey, not the anchor, is added or replaced."""
        name = encoder.survey.name
        if name == self.anchor:
            raise SpaceError(f"{name}: is the anchor of this space, which cannot be replaced")
        return self._with(
            encoders={**self._parts.encoders, name: encoder},
            probes=[probe.without_errors(name) for probe in self.probes],
        )

    def with_probes(self, probes: Sequence[Probe]) -> LatentSpace:
        """Return a copy with other probes."""
        return self._with(probes=probes)

    def with_domain(self, domain: Domain) -> LatentSpace:
        """Return a copy with another model of its domain."""
        return self._with(domain=domain)

    def with_metrics(self, metrics: Mapping[str, Any]) -> LatentSpace:
        """Return a copy with other validation scores."""
        return self._with(metrics=metrics)

    def encode(
        self,
        inputs: Inputs,
        encoder: SurveyEncoder | str,
        *,
        pooled: bool = True,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Posterior:
        """Encode prepared images.

        Parameters
        ----------
        inputs : Inputs
            Images and conditions, from `SurveyEncoder.prepare`.
        encoder : SurveyEncoder or str
            Encoder of the images' survey, or its name.
        pooled : bool
            Average the galaxy latents over the eight symmetries if the architecture is
            symmetric. Training does not.
        precision : {"auto", "fp32", "bf16"}
            ``auto`` is bf16 on processors that support it.
        device : torch.device, optional
            By default a GPU if there is one.

        Returns
        -------
        Posterior
            Mean and variance, (n, latents) float32 tensors on the CPU.
        """
        network = (self.encoder(encoder) if isinstance(encoder, str) else encoder).network
        return network.encode(inputs, pooled=pooled, precision=precision, device=device)

    def decode(
        self,
        latents: Tensor | np.ndarray,
        *,
        grid: int = 0,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Tensor:
        """Decode latents to the anchor's images in the frame.

        Parameters
        ----------
        latents : (n, latents) float tensor or array
            Galaxy latents, then nuisance latents.
        grid : int
            Grid of the frame: 0, or 1 for the wide one.
        precision, device
            As for `encode`.

        Returns
        -------
        (n, bands, pixels, pixels) float32 tensor on the CPU
            asinh of surface brightness over the frame's softening.
        """
        points = torch.as_tensor(latents, dtype=torch.float32)
        if points.ndim != 2 or points.shape[1] != self.architecture.latents:
            raise ValueError(
                f"latents must have shape (n, {self.architecture.latents}) but have "
                f"{tuple(points.shape)}"
            )
        place = device or best_device()
        bands = len(self.frame.bands)
        planes = slice(grid * bands, (grid + 1) * bands)
        with placed(self.decoder, place), torch.inference_mode(), autocast(place, precision):
            images = [
                self.decoder(batch.to(place), planes).float().cpu()
                for batch in torch.split(points, _BATCH)
            ]
        return torch.cat(images)

    def __repr__(self) -> str:
        own = self.galaxy_latents, self.architecture.latents - self.galaxy_latents
        return (
            f"<LatentSpace {self.id[:12]}: surveys {', '.join(self.surveys)}; "
            f"{own[0]} galaxy and {own[1]} nuisance latents>"
        )

    def _repr_html_(self) -> str:
        rows = [
            {
                "survey": name,
                "title": self.survey(name).title,
                "made": "anchor" if name == self.anchor else self.encoder(name).reading,
                "chosen": self.encoder(name).record.get("chosen"),
                "held-out recall@1": _recall(self.encoder(name).record),
                "bands": ", ".join(band or "–" for band in self.encoder(name).bands),
            }
            for name in self.surveys
        ]
        shown = {
            "latents": f"{self.galaxy_latents} galaxy, "
            f"{self.architecture.latents - self.galaxy_latents} nuisance",
            "frame": f"{self.frame.pixels} px of {self.frame.pixel_scale_arcsec:g} arcsec",
            "physical columns": ", ".join(probe.column for probe in self.probes) or "none",
            "id": self.id[:12],
            **{name: value for name, value in self.metrics.items() if isinstance(value, float)},
        }
        surveys = html.rows_table(pa.Table.from_pylist(rows), len(rows))
        other = "<small>Any other survey is read by its definition.</small>"
        return html.facts("Latent space", shown) + surveys + other

    def _with(self, **changed: Any) -> LatentSpace:
        return LatentSpace(replace(self._parts, **changed))


def _recall(record: Mapping[str, Any]) -> float | None:
    """Return the held-out recall of the candidate that an adaptation chose, None if unknown."""
    candidates = record.get("candidates", ())
    chosen = [item for item in candidates if item.get("name") == record.get("chosen")]
    return chosen[0].get("recall_at_1") if chosen else None


def _freeze(network: nn.Module) -> None:
    network.requires_grad_(False).eval().to(memory_format=torch.channels_last)

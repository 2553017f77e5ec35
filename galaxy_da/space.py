"""The latent space: an anchor encoder and decoder, their frame, and one encoder per survey.

On disk a space is a folder: ``space.json`` and safetensors files whose SHA-256 it records. An
adapted survey's file holds only the tensors in which its encoder differs from the anchor's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from galaxy_da.errors import SpaceError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, Prepared, pick_bands, prepare
from galaxy_da.io.files import atomic_path, json_hash, output_folder, write_json
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, read_bytes, read_text
from galaxy_da.models.devices import Precision, autocast, best_device
from galaxy_da.models.match_probability import MatchProbability
from galaxy_da.models.networks import Architecture, Decoder, Encoder, Posterior
from galaxy_da.models.probes import Probe, probe_tensors, read_probes
from galaxy_da.models.smoothing import Smoothing
from galaxy_da.surveys import Survey, get_survey

__all__ = ["LatentSpace", "SurveyEncoder", "network_hash"]

_FORMAT = 2
_MANIFEST = "space.json"
_ANCHOR_FILE = "anchor.safetensors"
_DECODER_FILE = "decoder.safetensors"
_PROBES_FILE = "probes.safetensors"
_TAPS = "smoothing.taps"
_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class SurveyEncoder:
    """How one survey's cutouts enter a space.

    Attributes
    ----------
    survey : Survey
        Its definition, saved with the space.
    bands : tuple of str
        The bands the network reads, in order; the un-adapted anchor may read one band twice.
    network : Encoder
        Image to posterior.
    record : dict
        How it was made: candidates, scores, curves. Empty for the anchor.
    """

    survey: Survey
    bands: tuple[str, ...]
    network: Encoder
    record: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Identity of the network and its input bands."""
        return json_hash([self.bands, network_hash(self.network)])

    def prepare(
        self, cutouts: Sequence[Cutout], frame: Frame, device: torch.device | str = "cpu"
    ) -> Prepared:
        """Bring cutouts of this survey into the frame, in this encoder's bands."""
        return prepare(cutouts, self.survey, frame, self.bands, device)


class LatentSpace:
    """One latent space and the surveys that map into it.

    Parameters
    ----------
    architecture : Architecture
        Sizes of the networks.
    frame : Frame
        The image the anchor sees.
    anchor : str
        Name of the anchor survey, a key of `encoders`.
    encoders : dict of str to SurveyEncoder
        The anchor's and any adapted survey's.
    decoder : Decoder
        Latents to the anchor's image.
    training, metrics : dict
        How the anchor was trained and what it scored.
    probes : sequence of Probe
        The physical columns that extraction writes beside the latents.
    """

    def __init__(
        self,
        *,
        architecture: Architecture,
        frame: Frame,
        anchor: str,
        encoders: Mapping[str, SurveyEncoder],
        decoder: Decoder,
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        probes: Sequence[Probe] = (),
    ) -> None:
        self.architecture = architecture
        self.frame = frame
        self.anchor = anchor
        self._encoders = dict(encoders)
        self.decoder = decoder
        _ready(decoder)
        self.training = dict(training or {})
        self.metrics = dict(metrics or {})
        self.probes = tuple(probes)
        for encoder in self._encoders.values():
            _ready(encoder.network)

    @property
    def surveys(self) -> tuple[str, ...]:
        """The surveys with an encoder, anchor first."""
        return (self.anchor, *sorted(name for name in self._encoders if name != self.anchor))

    @property
    def galaxy_latents(self) -> int:
        """How many of the latents, the first, hold what a galaxy is."""
        return self.architecture.galaxy_latents

    @cached_property
    def id(self) -> str:
        """Identity of the latent space: its frame and anchor networks.

        Adapting a survey keeps it, since the anchor is frozen: vectors of the anchor stay valid.
        """
        parts = [network_hash(self.encoder(self.anchor).network), network_hash(self.decoder)]
        return json_hash([self.frame.model_dump(mode="json"), *parts])

    def survey(self, name: str, own: Mapping[str, Survey] | None = None) -> Survey:
        """Return a survey's definition: the space's, else one of the user's own, else built in.

        Raises
        ------
        SurveyError
            If it is nowhere.
        """
        if name in self._encoders:
            return self._encoders[name].survey
        return (own or {}).get(name) or get_survey(name)

    def encoder(self, survey: str) -> SurveyEncoder:
        """Return a survey's encoder.

        Raises
        ------
        SpaceError
            If the space has none for it.
        """
        if survey not in self._encoders:
            raise SpaceError(
                f"this space has no encoder for {survey!r}; it has {', '.join(self.surveys)}; "
                "run `galaxy-da adapt`, or ask for the un-adapted anchor with --unadapted"
            )
        return self._encoders[survey]

    def match_probability(self, first: str, second: str) -> MatchProbability:
        """Return the model that two cutouts, of the anchor and an adapted survey, are one galaxy.

        Raises
        ------
        SpaceError
            If the space has none for these surveys.
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

    def unadapted(
        self, survey: Survey, available: Sequence[str], *, every_band: bool = False
    ) -> SurveyEncoder:
        """Return the anchor's network reading another survey's nearest bands.

        Parameters
        ----------
        survey : Survey
            Any survey.
        available : sequence of str
            Bands its cutouts carry.
        every_band : bool
            Take all available bands as input, those that stand for none at weight zero, so that
            training can use them.
        """
        nearest = pick_bands(survey, available, self.frame)
        bands = tuple(available) if every_band else tuple(dict.fromkeys(nearest))
        anchor = self.encoder(self.anchor).network
        network = anchor.reading(len(bands), [bands.index(name) for name in nearest])
        return SurveyEncoder(survey=survey, bands=bands, network=network)

    def with_survey(self, encoder: SurveyEncoder) -> LatentSpace:
        """Return a new space in which one survey's encoder is added or replaced.

        Raises
        ------
        SpaceError
            If it is the anchor's, which is frozen.
        """
        name = encoder.survey.name
        if name == self.anchor:
            raise SpaceError(f"{name}: is the anchor of this space and stays as it is")
        return self._with(
            encoders={**self._encoders, name: encoder},
            probes=[probe.without_errors(name) for probe in self.probes],
        )

    def with_probes(self, probes: Sequence[Probe]) -> LatentSpace:
        """Return a new space with these probes in place of its own."""
        return self._with(probes=probes)

    def encode(
        self,
        images: Tensor,
        encoder: SurveyEncoder | str,
        *,
        pooled: bool = True,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Posterior:
        """Encode prepared images.

        Parameters
        ----------
        images : (n, bands, pixels, pixels) float tensor
            From `SurveyEncoder.prepare`.
        encoder : SurveyEncoder or str
            Which survey they are of.
        pooled : bool
            Average the galaxy latents over symmetries where the architecture says so; training
            does without.
        precision : {"auto", "fp32", "bf16"}
            ``auto`` is bf16 where the processor has it.
        device : torch.device, optional
            Where to compute; a GPU where there is one.

        Returns
        -------
        Posterior
            Mean and variance, (n, latents) float32 tensors on the CPU.
        """
        network = (self.encoder(encoder) if isinstance(encoder, str) else encoder).network
        place = device or best_device()
        network.to(place)
        means, variances = [], []
        with torch.inference_mode(), autocast(place, precision):
            for batch in torch.split(images, _BATCH):
                batch = batch.to(place, memory_format=torch.channels_last)
                posterior = network.pooled(batch) if pooled else network(batch)
                means.append(posterior.mean.cpu())
                variances.append(posterior.variance.cpu())
        empty = torch.empty(0, self.architecture.latents)
        return Posterior(torch.cat([empty, *means]), torch.cat([empty, *variances]))

    def decode(
        self,
        latents: Tensor | np.ndarray,
        *,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Tensor:
        """Decode latents to the anchor's images in the frame.

        Parameters
        ----------
        latents : (n, latents) float tensor or array
            Points of the space.
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
        self.decoder.to(place)
        with torch.inference_mode(), autocast(place, precision):
            images = [
                self.decoder(batch.to(place)).float().cpu() for batch in torch.split(points, _BATCH)
            ]
        side = self.frame.pixels
        return torch.cat([torch.empty(0, len(self.frame.bands), side, side), *images])

    def _with(self, **changed: Any) -> LatentSpace:
        """Return a new space in which some parts are others."""
        parts: dict[str, Any] = {
            "architecture": self.architecture,
            "frame": self.frame,
            "anchor": self.anchor,
            "encoders": self._encoders,
            "decoder": self.decoder,
            "training": self.training,
            "metrics": self.metrics,
            "probes": self.probes,
        }
        return LatentSpace(**(parts | changed))

    # Storage

    def save(self, path: PathOrUrl) -> None:
        """Write the space; ``space.json`` comes last, so a folder with it is whole.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        folder = output_folder(path)
        anchor = _state(self.encoder(self.anchor).network)
        written = {
            _ANCHOR_FILE: anchor,
            _DECODER_FILE: _state(self.decoder),
        }
        surveys = {}
        for name in self.surveys:
            encoder = self._encoders[name]
            surveys[name] = {
                "survey": encoder.survey.model_dump(mode="json"),
                "bands": list(encoder.bands),
                "record": dict(encoder.record),
            }
            if name != self.anchor:
                written[f"{name}.safetensors"] = {
                    key: value
                    for key, value in _state(encoder.network).items()
                    if key not in anchor or not torch.equal(value, anchor[key])
                }
        if self.probes:
            arrays = probe_tensors(self.probes)
            written[_PROBES_FILE] = {key: torch.from_numpy(arrays[key]) for key in arrays}
        hashes = {}
        for name, tensors in written.items():
            data = safetensors.torch.save(tensors)
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(data)
            hashes[name] = hashlib.sha256(data).hexdigest()
        manifest = {
            "format": _FORMAT,
            "anchor": self.anchor,
            "architecture": self.architecture.model_dump(mode="json"),
            "frame": self.frame.model_dump(mode="json"),
            "surveys": surveys,
            "training": self.training,
            "metrics": self.metrics,
            "probes": [probe.record() for probe in self.probes],
            "files": hashes,
        }
        write_json(folder / _MANIFEST, {**manifest, "hash": json_hash(manifest)})

    @classmethod
    def load(cls, path: PathOrUrl) -> LatentSpace:
        """Load a space from a folder, or a shipped one by name.

        Parameters
        ----------
        path : path, URL or str
            A folder holding ``space.json``; or ``"decals"``, the space that comes with the library.

        Raises
        ------
        SpaceError
            If it is missing, of another format, or was edited after it was saved.
        StorageError
            If the store it is in fails.
        """
        folder = _find(path)
        manifest = _read_manifest(folder)
        tensors = {
            name: _read_tensors(folder / name, sha) for name, sha in manifest["files"].items()
        }
        try:
            architecture = Architecture.model_validate(manifest["architecture"])
            frame = Frame.model_validate(manifest["frame"])
            anchor_state = tensors[_ANCHOR_FILE]
            encoders = {}
            for name, entry in manifest["surveys"].items():
                state = {**anchor_state, **tensors.get(f"{name}.safetensors", {})}
                network = Encoder(architecture, planes=state["stem.weight"].shape[1])
                if _TAPS in state:
                    network.smoothing = Smoothing(state[_TAPS])
                network.load_state_dict(state)
                encoders[name] = SurveyEncoder(
                    survey=Survey.model_validate(entry["survey"]),
                    bands=tuple(entry["bands"]),
                    network=network,
                    record=entry["record"],
                )
            decoder = Decoder(architecture)
            decoder.load_state_dict(tensors[_DECODER_FILE])
            arrays = {key: value.numpy() for key, value in tensors.get(_PROBES_FILE, {}).items()}
            probes = read_probes(manifest.get("probes", []), arrays)
        except (KeyError, ValidationError, RuntimeError) as error:
            raise SpaceError(f"{folder}: does not describe a latent space ({error})") from error
        return cls(
            architecture=architecture,
            frame=frame,
            anchor=manifest["anchor"],
            encoders=encoders,
            decoder=decoder,
            training=manifest["training"],
            metrics=manifest["metrics"],
            probes=probes,
        )


def _ready(network: nn.Module) -> None:
    network.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu().contiguous() for name, value in network.state_dict().items()}


def network_hash(network: nn.Module) -> str:
    """Return the SHA-256 of a network's weights."""
    return hashlib.sha256(safetensors.torch.save(_state(network))).hexdigest()


def _find(path: PathOrUrl) -> Location:
    folder = location(path)
    if exists(folder / _MANIFEST):
        return folder
    shipped = Path(str(files("galaxy_da") / "spaces"))
    named = shipped / str(path)
    if isinstance(folder, Path) and (named / _MANIFEST).is_file():
        return named
    names = sorted(p.parent.name for p in shipped.glob(f"*/{_MANIFEST}"))
    raise SpaceError(
        f"{path}: no latent space here ({_MANIFEST} is missing); shipped with the library: "
        f"{', '.join(names) or 'none'}"
    )


def _read_manifest(folder: Location) -> dict[str, Any]:
    try:
        manifest = json.loads(read_text(folder / _MANIFEST))
        stated = manifest.pop("hash")
        version = manifest["format"]
    except (ValueError, KeyError, AttributeError) as error:
        raise SpaceError(f"{folder / _MANIFEST}: is not a space description ({error})") from error
    if version != _FORMAT:
        raise SpaceError(
            f"{folder}: space format {version}, this library reads {_FORMAT}; use the version of "
            "galaxy_da that wrote it"
        )
    if stated != json_hash(manifest):
        raise SpaceError(
            f"{folder / _MANIFEST}: was edited after it was saved (its hash does not match); "
            "restore the original, or make the space again"
        )
    return dict(manifest)


def _read_tensors(path: Location, sha256: str) -> dict[str, Tensor]:
    try:
        data = read_bytes(path)
    except FileNotFoundError as error:
        raise SpaceError(f"{path}: is missing; copy the whole space folder") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SpaceError(
            f"{path}: does not match the hash in {_MANIFEST}; it was changed or damaged, restore "
            "the original"
        )
    return safetensors.torch.load(data)

"""Storage of a latent space: ``space.json`` and safetensors files with recorded SHA-256.

The file of an adapted survey holds only the tensors that differ from the anchor's encoder.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from galaxy_da.errors import SpaceError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.files import atomic_path, json_hash, output_folder, write_json
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, read_bytes, read_text
from galaxy_da.models.networks import Architecture, Decoder, Encoder
from galaxy_da.models.probes import probe_tensors, read_probes
from galaxy_da.models.space_parts import SpaceParts, SurveyEncoder, network_state
from galaxy_da.surveys import Survey

__all__ = ["read_space", "write_space"]

_FORMAT = 3
_MANIFEST = "space.json"
_ANCHOR_FILE = "anchor.safetensors"
_DECODER_FILE = "decoder.safetensors"
_PROBES_FILE = "probes.safetensors"


def write_space(space: SpaceParts, path: PathOrUrl) -> None:
    """Write a space to a folder; ``space.json`` comes last, so a folder that has it is complete."""
    folder = output_folder(path)
    hashes = {}
    for name, tensors in _tensors(space).items():
        data = safetensors.torch.save(tensors)
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    surveys = {}
    for name in space.surveys:
        encoder = space.encoders[name]
        surveys[name] = {
            "survey": encoder.survey.model_dump(mode="json"),
            "bands": list(encoder.bands),
            "record": dict(encoder.record),
        }
    manifest = {
        "format": _FORMAT,
        "anchor": space.anchor,
        "architecture": space.architecture.model_dump(mode="json"),
        "frame": space.frame.model_dump(mode="json"),
        "surveys": surveys,
        "training": dict(space.training),
        "metrics": dict(space.metrics),
        "probes": [probe.record() for probe in space.probes],
        "files": hashes,
    }
    write_json(folder / _MANIFEST, {**manifest, "hash": json_hash(manifest)})


def read_space(path: PathOrUrl) -> SpaceParts:
    """Read a space from a folder, or a shipped one by name; see `galaxy_da.LatentSpace.load`."""
    folder = _find(path)
    manifest = _read_manifest(folder)
    tensors = {name: _read_tensors(folder / name, sha) for name, sha in manifest["files"].items()}
    try:
        architecture = Architecture.model_validate(manifest["architecture"])
        decoder = Decoder(architecture)
        decoder.load_state_dict(tensors[_DECODER_FILE])
        arrays = {key: value.numpy() for key, value in tensors.get(_PROBES_FILE, {}).items()}
        return SpaceParts(
            architecture=architecture,
            frame=Frame.model_validate(manifest["frame"]),
            anchor=manifest["anchor"],
            encoders={
                name: SurveyEncoder(
                    survey=Survey.model_validate(entry["survey"]),
                    bands=tuple(entry["bands"]),
                    network=_network(
                        architecture,
                        {**tensors[_ANCHOR_FILE], **tensors.get(f"{name}.safetensors", {})},
                    ),
                    record=entry["record"],
                )
                for name, entry in manifest["surveys"].items()
            },
            decoder=decoder,
            training=manifest["training"],
            metrics=manifest["metrics"],
            probes=read_probes(manifest.get("probes", []), arrays),
        )
    except (KeyError, ValidationError, RuntimeError) as error:
        raise SpaceError(f"{folder}: does not describe a latent space ({error})") from error


def _tensors(space: SpaceParts) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each file."""
    anchor = network_state(space.encoders[space.anchor].network)
    tensors = {_ANCHOR_FILE: anchor, _DECODER_FILE: network_state(space.decoder)}
    for name in space.surveys[1:]:
        tensors[f"{name}.safetensors"] = {
            key: value
            for key, value in network_state(space.encoders[name].network).items()
            if key not in anchor or not torch.equal(value, anchor[key])
        }
    if space.probes:
        arrays = probe_tensors(space.probes)
        tensors[_PROBES_FILE] = {key: torch.from_numpy(arrays[key]) for key in arrays}
    return tensors


def _network(architecture: Architecture, state: dict[str, Tensor]) -> Encoder:
    network = Encoder(architecture)
    network.load_state_dict(state)
    return network


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
        version = manifest["format"]
        recorded = manifest.pop("hash", None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpaceError(f"{folder / _MANIFEST}: is not a space description ({error})") from error
    if version != _FORMAT:
        raise SpaceError(
            f"{folder}: has space format {version}, this version of galaxy_da reads {_FORMAT}; "
            "train or adapt the space again, or use the version that wrote it"
        )
    if recorded != json_hash(manifest):
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

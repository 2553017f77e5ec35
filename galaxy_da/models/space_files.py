"""Storage of a latent space: ``space.json`` and the safetensors files that it names.

A safetensors file is named after its content and never changes; ``space.json`` is written last, so
that a space is replaced in one step. The file of an adapted survey holds only the tensors that
differ from the anchor's encoder.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from galaxy_da.errors import SpaceError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.files import atomic_path, json_hash, output_folder, sync, write_json
from galaxy_da.io.locks import only_writer
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    list_names,
    location,
    read_bytes,
    read_text,
    remove_old_objects,
)
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.models.domain import read_domain
from galaxy_da.models.networks import Architecture, Decoder, Encoder
from galaxy_da.models.probes import probe_tensors, read_probes
from galaxy_da.models.space_parts import SpaceParts, SurveyEncoder, network_state
from galaxy_da.surveys import Survey

_FORMAT = 3
_MANIFEST = "space.json"
_DECODER, _PROBES, _DOMAIN, _SURVEY = "decoder", "probes", "domain", "survey-"
_SUFFIX = ".safetensors"
_TENSOR_FILE = re.compile(rf"({_DECODER}|{_PROBES}|{_DOMAIN}|{_SURVEY}.+)-[0-9a-f]{{16}}{_SUFFIX}")

TensorsByPart: TypeAlias = dict[str, dict[str, Tensor]]


def write_space(space: SpaceParts, path: PathOrUrl) -> None:
    """Write a space to a folder; one that is there already stays whole until it is replaced.

    Raises
    ------
    StorageError
        If the folder cannot be written, or another process is writing to it.
    """
    folder = output_folder(path)
    with only_writer(folder) if isinstance(folder, Path) else nullcontext():
        files = {part: _write(folder, part, data) for part, data in _tensors(space).items()}
        manifest = {**_description(space), "files": files}
        write_json(folder / _MANIFEST, {**manifest, "hash": json_hash(manifest)})
        _remove_others(folder, {file["name"] for file in files.values()})


def read_space(path: PathOrUrl) -> SpaceParts:
    """Read a space from a folder, or a shipped one by name; see `galaxy_da.LatentSpace.load`."""
    folder = _find(path)
    manifest, tensors = _read_whole(folder)
    try:
        anchor = tensors[_SURVEY + manifest["anchor"]]
        architecture = Architecture.model_validate(manifest["architecture"])
        decoder = Decoder(architecture)
        decoder.load_state_dict(tensors[_DECODER])
        arrays = {
            part: {key: value.numpy() for key, value in tensors.get(part, {}).items()}
            for part in (_PROBES, _DOMAIN)
        }
        domain = manifest.get("domain")
        return SpaceParts(
            architecture=architecture,
            frame=Frame.model_validate(manifest["frame"]),
            anchor=manifest["anchor"],
            encoders={
                name: SurveyEncoder(
                    survey=Survey.model_validate(entry["survey"]),
                    bands=tuple(entry["bands"]),
                    network=_network(architecture, {**anchor, **tensors[_SURVEY + name]}),
                    record=entry["record"],
                )
                for name, entry in manifest["surveys"].items()
            },
            decoder=decoder,
            training=manifest["training"],
            metrics=manifest["metrics"],
            probes=read_probes(manifest.get("probes", []), arrays[_PROBES]),
            domain=None if domain is None else read_domain(domain, arrays[_DOMAIN]),
        )
    except (KeyError, ValidationError, RuntimeError) as error:
        raise SpaceError(f"{folder}: does not describe a latent space ({error})") from error


def _description(space: SpaceParts) -> dict[str, Any]:
    surveys = {}
    for name in space.surveys:
        encoder = space.encoders[name]
        surveys[name] = {
            "survey": encoder.survey.model_dump(mode="json"),
            "bands": list(encoder.bands),
            "record": dict(encoder.record),
        }
    return {
        "format": _FORMAT,
        "anchor": space.anchor,
        "architecture": space.architecture.model_dump(mode="json"),
        "frame": space.frame.model_dump(mode="json"),
        "surveys": surveys,
        "training": dict(space.training),
        "metrics": dict(space.metrics),
        "probes": [probe.record() for probe in space.probes],
        **({} if space.domain is None else {"domain": space.domain.record()}),
    }


def _write(folder: Location, part: str, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Write the tensors of a part; return the name and the hash of the file."""
    data = safetensors.torch.save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{part}-{digest[:16]}{_SUFFIX}"
    with atomic_path(folder / name) as draft:
        draft.write_bytes(data)
    return {"name": name, "sha256": digest}


def _remove_others(folder: Location, names: set[str]) -> None:
    """Remove files of earlier versions, and those that killed writers left."""
    others = {name for name in list_names(folder) if _TENSOR_FILE.fullmatch(name)} - names
    if isinstance(folder, Path):
        sync(folder)  # the new description comes before the files that it no longer names
        for name in others:
            (folder / name).unlink(missing_ok=True)
    else:
        remove_old_objects([folder / name for name in others])


def _tensors(space: SpaceParts) -> TensorsByPart:
    """Return the tensors of each part."""
    anchor = network_state(space.encoders[space.anchor].network)
    tensors = {_SURVEY + space.anchor: anchor, _DECODER: network_state(space.decoder)}
    for name in space.surveys[1:]:
        tensors[_SURVEY + name] = {
            key: value
            for key, value in network_state(space.encoders[name].network).items()
            if key not in anchor or not torch.equal(value, anchor[key])
        }
    if space.probes:
        arrays = probe_tensors(space.probes)
        tensors[_PROBES] = {key: torch.from_numpy(arrays[key]) for key in arrays}
    if space.domain is not None:
        arrays = space.domain.tensors()
        tensors[_DOMAIN] = {key: torch.from_numpy(arrays[key]) for key in arrays}
    return tensors


def _network(architecture: Architecture, state: dict[str, Tensor]) -> Encoder:
    network, a = Encoder(architecture), architecture
    if any(key.startswith("correction.") for key in state):
        network.correction = InstrumentCorrection(a.bands, a.grids, a.conditions)
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


def _read_whole(folder: Location) -> tuple[dict[str, Any], TensorsByPart]:
    """Read the description and its tensors, again if they are replaced meanwhile."""
    while True:
        manifest = _read_manifest(folder)
        try:
            return manifest, {
                part: _read_tensors(folder / file["name"], file["sha256"])
                for part, file in manifest["files"].items()
            }
        except FileNotFoundError as error:
            if _read_manifest(folder) == manifest:
                raise SpaceError(
                    f"{error.filename}: is missing; copy the whole space folder"
                ) from error


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
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SpaceError(
            f"{path}: does not match the hash in {_MANIFEST}; it was changed or damaged, restore "
            "the original"
        )
    return safetensors.torch.load(data)

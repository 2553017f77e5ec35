"""Training state in safetensors files: weights, AdamW moments and the step, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from galaxy_da.errors import StorageError
from galaxy_da.io.files import atomic_path


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    record: dict[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write model, AdamW moments and a JSON record to one file, atomically.

    `best` is the best state of the model so far, for `load_best`.
    """
    tensors = {f"best.{name}": value.contiguous() for name, value in (best or {}).items()}
    tensors |= {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for (name, _), state in zip(model.named_parameters(), _states(optimiser), strict=True):
        for key, value in state.items():
            tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(value).contiguous()
    with atomic_path(path) as temporary:
        data = safetensors.torch.save(tensors, metadata={"record": json.dumps(record)})
        temporary.write_bytes(data)


def load_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore model and optimiser in place and return the record.

    Raises StorageError if the file is not a checkpoint of this model.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            record = dict(json.loads(handle.metadata()["record"]))
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
    except (safetensors.SafetensorError, KeyError, RuntimeError) as error:
        raise StorageError(
            f"{path}: is not a checkpoint of this recipe ({error}); delete it to start again"
        ) from error
    state = optimiser.state_dict()
    state["state"] = {
        i: {
            key.split(".")[1]: value
            for key, value in tensors.items()
            if key.startswith("optimiser.") and key.split(".", 2)[2] == name
        }
        for i, (name, _) in enumerate(model.named_parameters())
    }
    optimiser.load_state_dict(state)
    return record


def load_best(path: Path) -> dict[str, Tensor]:
    """Return the best state that `save_checkpoint` was given."""
    with safetensors.safe_open(path, framework="pt") as handle:
        names = [key for key in handle.keys() if key.startswith("best.")]  # noqa: SIM118
        return {name.removeprefix("best."): handle.get_tensor(name) for name in names}


def _states(optimiser: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [optimiser.state[p] for group in optimiser.param_groups for p in group["params"]]

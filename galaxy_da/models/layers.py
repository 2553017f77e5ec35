"""Small networks of summaries, as probes and domains store them: standardised inputs and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def standardise(
    summaries: np.ndarray, centre: np.ndarray, spread: np.ndarray, limit: float
) -> np.ndarray:
    """Return (n, inputs) summaries in standard deviations from their mean, within a limit.

    Numbers that are not finite become 0. Raises ValueError if the summaries have another width.
    """
    x = np.asarray(summaries, np.float32)
    if x.ndim != 2 or x.shape[1] != len(centre):
        raise ValueError(
            f"summaries must have shape (n, {len(centre)}) but have {x.shape}; are they of this "
            "space?"
        )
    return np.asarray(np.nan_to_num((x - centre) / spread).clip(-limit, limit))


def layer_tensors(
    arrays: Mapping[str, np.ndarray], weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return arrays, ``weight_N`` and ``bias_N`` by name, contiguous."""
    layers = {f"weight_{i}": weight for i, weight in enumerate(weights)}
    layers |= {f"bias_{i}": bias for i, bias in enumerate(biases)}
    return {
        name: np.ascontiguousarray(value, np.float32)
        for name, value in {**arrays, **layers}.items()
    }


def read_layers(
    tensors: Mapping[str, np.ndarray], prefix: str = ""
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Return the weights and biases among the results of `layer_tensors` with prefixed names.

    A missing array raises KeyError.
    """
    count = sum(key.startswith(f"{prefix}weight_") for key in tensors)
    weights, biases = (
        tuple(tensors[f"{prefix}{kind}_{i}"] for i in range(count)) for kind in ("weight", "bias")
    )
    return weights, biases

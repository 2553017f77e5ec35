"""Latent vectors: the galaxy latents first, then the nuisance latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_Array = TypeVar("_Array", np.ndarray, "Tensor")


def join_latents(galaxy: _Array, nuisance: _Array) -> _Array:
    """Join (..., galaxy latents) and (..., nuisance latents) into vectors that can be decoded."""
    if isinstance(galaxy, np.ndarray):
        return np.concatenate([galaxy, nuisance], axis=-1)
    import torch

    return torch.cat([galaxy, nuisance], dim=-1)

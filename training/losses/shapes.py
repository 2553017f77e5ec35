"""Shape checks and distances shared by the losses."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_rows", "check_widths", "squared_distances"]


def check_rows(target: Tensor, anchor: Tensor) -> None:
    """Raise ValueError unless latents pair row by row."""
    if target.shape != anchor.shape:
        raise ValueError(
            f"target and anchor must pair row by row but have shapes {tuple(target.shape)} and "
            f"{tuple(anchor.shape)}"
        )


def check_widths(target: Tensor, anchor: Tensor) -> None:
    """Raise ValueError unless both are rows of equally many latents."""
    if target.ndim != 2 or anchor.ndim != 2 or target.shape[1] != anchor.shape[1]:
        raise ValueError(
            f"target and anchor must be rows of the same latents but have shapes "
            f"{tuple(target.shape)} and {tuple(anchor.shape)}"
        )


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, m) squared Euclidean distances, exact where points coincide."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()

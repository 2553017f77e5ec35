"""The eight dihedral symmetries of a square image."""

from __future__ import annotations

from torch import Tensor

SYMMETRIES = 8


def apply_symmetry(images: Tensor, symmetry: int) -> Tensor:
    """Rotate (..., y, x) images by 90 degrees `symmetry` % 4 times, and mirror them from 4 on."""
    rotated = images.rot90(symmetry % 4, (-2, -1))
    return rotated.flip(-1) if symmetry >= 4 else rotated

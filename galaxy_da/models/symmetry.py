"""The eight symmetries of a square image."""

from __future__ import annotations

from torch import Tensor

__all__ = ["SYMMETRIES", "turn"]

SYMMETRIES = 8


def turn(images: Tensor, symmetry: int) -> Tensor:
    """Rotate by quarter turns and mirror.

    Parameters
    ----------
    images : (..., y, x) tensor
        Square images.
    symmetry : int
        0 to 7: quarter turns, plus 4 for mirrored. 0 changes nothing.

    Returns
    -------
    (..., y, x) tensor
    """
    rotated = images.rot90(symmetry % 4, (-2, -1))
    return rotated.flip(-1) if symmetry >= 4 else rotated

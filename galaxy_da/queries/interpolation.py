"""Interpolated points of the latent space, and their decoded images.

Galaxy latents are interpolated. Nuisance latents are those of the first object throughout, so that
only the galaxy changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import SpaceError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.models.latents import join_latents
from galaxy_da.queries.rows import all_latents

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

_SPREAD_ROWS = 20_000
_SEED = 0


def between(index: StoredIndex, first: str, last: str, steps: int = 9) -> np.ndarray:
    """Interpolate linearly from one galaxy to another.

    Parameters
    ----------
    first, last : str
        Keys ``survey:object_id``.
    steps : int
        Number of points, both ends included.

    Returns
    -------
    (steps, latents) float32 array
    """
    _check_steps(steps)
    start, end = (index.vectors[index.row(key)] for key in (first, last))
    share = np.linspace(0, 1, steps)[:, None]
    return _with_nuisance(index, first, (1 - share) * start + share * end)


def along(
    index: StoredIndex, key: str, latent: int, steps: int = 9, reach: float = 3.0
) -> np.ndarray:
    """Change one latent of a galaxy, and return the points, (steps, latents) float32.

    `latent` counts from 0; `reach` is the largest change to either side, in standard deviations of
    the latent over the index (measured on at most 20,000 objects).
    """
    _check_steps(steps)
    if not 0 <= latent < index.dimension:
        raise ValueError(f"latent must be 0 to {index.dimension - 1} but is {latent}")
    galaxy = np.repeat(index.vectors[index.row(key)][None], steps, axis=0)
    sample = np.random.default_rng(_SEED).choice(
        len(index), min(len(index), _SPREAD_ROWS), replace=False
    )
    spread = float(index.vectors[np.sort(sample)][:, latent].std(dtype=np.float64))
    galaxy[:, latent] += np.linspace(-reach, reach, steps) * spread
    return _with_nuisance(index, key, galaxy)


def combine(index: StoredIndex, plus: Sequence[str], minus: Sequence[str] = ()) -> np.ndarray:
    """Add and subtract galaxies by their keys, ``a + b - c``; return a (1, latents) array."""
    if not plus:
        raise ValueError("plus must be at least one key but is empty")
    added, subtracted = (
        index.vectors[np.array([index.row(key) for key in keys], int)].sum(axis=0, dtype=np.float64)
        for keys in (plus, minus)
    )
    return _with_nuisance(index, plus[0], (added - subtracted)[None])


def draw_strip(space: LatentSpace, latents: np.ndarray) -> np.ndarray:
    """Decode points to one row of images, in the colours of the anchor's archive.

    (n, latents) points become a (pixels, n * pixels, 3) uint8 array, north up.
    """
    import torch

    from galaxy_da.images.stretches import apply_stretch
    from galaxy_da.surveys import Stretch

    anchor, frame = space.encoder(space.anchor).survey, space.frame
    stretch = anchor.stretch
    if not isinstance(stretch, Stretch) or not set(stretch.planes) <= set(frame.bands):
        raise SpaceError(f"{anchor.name}: has no colour stretch for {', '.join(frame.bands)}")
    planes = [frame.bands.index(name) for name in stretch.planes]
    softening = torch.tensor(frame.softening)[planes, None, None]
    brightness = torch.sinh(space.decode(latents)[:, planes]) * softening
    colour = apply_stretch(brightness * stretch.pixel_scale_arcsec**2, stretch)
    north_up = colour.flip(-2).permute(2, 0, 3, 1)
    return np.asarray(north_up.reshape(frame.pixels, -1, 3).numpy())


def write_strip(strip: np.ndarray, path: PathOrUrl) -> None:
    """Write a strip as PNG."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(strip).save(temporary, "png")


def _check_steps(steps: int) -> None:
    if steps < 2:
        raise ValueError(f"steps must be at least 2 but is {steps}")


def _with_nuisance(index: StoredIndex, key: str, galaxy: np.ndarray) -> np.ndarray:
    """Join galaxy latents with the nuisance latents of an object, if the index has them."""
    nuisance = all_latents(index, np.array([index.row(key)]))[:, index.dimension :]
    return join_latents(galaxy.astype(np.float32), np.repeat(nuisance, len(galaxy), axis=0))

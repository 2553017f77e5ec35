"""Paths through a latent space, and galaxies with exchanged nuisance latents."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measures.reconstruction import EncodedSample
from galaxy_da.models.latents import join_latents

__all__ = ["closed_tour", "exchange_nuisance", "nuisance_sensitivity", "straight_line"]

_PAIRS = 256


def straight_line(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Interpolate from one point to another, both included: (steps, latents)."""
    return np.asarray(start + np.linspace(0, 1, steps)[:, None] * (end - start))


def closed_tour(points: np.ndarray, steps: int) -> np.ndarray:
    """Interpolate through points and back to the first, slowing down at each.

    Parameters
    ----------
    points : (n, latents) float array
        Points to visit.
    steps : int
        Steps from each point to the next.

    Returns
    -------
    (n steps, latents) float array
        Path from the first point to one step before it again.
    """
    share = (0.5 - 0.5 * np.cos(np.pi * np.arange(steps) / steps))[None, :, None]
    onward = np.roll(points, -1, axis=0)
    walk = points[:, None] + share * (onward - points)[:, None]
    return np.asarray(walk.reshape(-1, points.shape[1]))


def exchange_nuisance(latents: np.ndarray, galaxy_latents: int) -> np.ndarray:
    """Combine the galaxy latents of every galaxy with the nuisance latents of every other.

    Parameters
    ----------
    latents : (n, latents) float array
        Latents of some galaxies, galaxy latents first.
    galaxy_latents : int
        Number of galaxy latents.

    Returns
    -------
    (n, n, latents) float array
        Galaxy latents by the first index, nuisance latents by the second.
    """
    n = len(latents)
    galaxy = np.broadcast_to(latents[:, None, :galaxy_latents], (n, n, galaxy_latents))
    nuisance = np.broadcast_to(
        latents[None, :, galaxy_latents:], (n, n, latents.shape[1] - galaxy_latents)
    )
    return join_latents(galaxy, nuisance)


def nuisance_sensitivity(encoded: EncodedSample, seed: int = 0) -> float:
    """Measure the effect of the nuisance latents on the galaxy latents.

    Galaxies are decoded with their own nuisance latents and with those of another galaxy, and both
    pictures are encoded again.

    Parameters
    ----------
    encoded : EncodedSample
        Galaxies in a space with nuisance latents; at most 256 are used.
    seed : int
        Seed of the pairs.

    Returns
    -------
    float
        Median distance between the two pictures of a galaxy, over the median distance between two
        galaxies with their own nuisance latents. 0 if nuisance latents have no effect on galaxy
        latents, 1 if they determine them.
    """
    rng = np.random.default_rng(seed)
    space, rows = encoded.space, rng.permutation(len(encoded))[:_PAIRS]
    own = encoded.mean[rows]
    galaxy = space.galaxy_latents
    exchanged = join_latents(own[:, :galaxy], np.roll(own, 1, axis=0)[:, galaxy:])
    first, second = (
        _encoded_again(encoded, points, rows)[:, :galaxy] for points in (own, exchanged)
    )
    moved = np.median(np.linalg.norm(first - second, axis=1))
    apart = np.median(np.linalg.norm(first - np.roll(first, 1, axis=0), axis=1))
    return float(moved / max(apart, 1e-12))


def _encoded_again(encoded: EncodedSample, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Encode the images of points as if the anchor had observed them like some galaxies."""
    space = encoded.space
    grids = [space.decode(points, grid=k) for k in range(space.architecture.grids)]
    images = encoded.inputs.images[rows].clone()
    images[:, : space.architecture.output_planes] = torch.cat(grids, 1)
    inputs = encoded.inputs[rows].with_images(images)
    return np.asarray(space.encode(inputs, space.anchor).mean)

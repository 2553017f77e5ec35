"""Walks through a latent space: in straight lines, from galaxy to galaxy, and with other views."""

from __future__ import annotations

import numpy as np

from galaxy_da.models.latents import join_latents
from galaxy_da.space import LatentSpace

__all__ = ["closed_tour", "exchanged_views", "slide", "view_constancy"]

_PAIRS = 256


def slide(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Go in a straight line from one point to another, both included: (steps, latents)."""
    return np.asarray(start + np.linspace(0, 1, steps)[:, None] * (end - start))


def closed_tour(points: np.ndarray, steps: int) -> np.ndarray:
    """Visit points in turn and return to the first, slowing down at each.

    Parameters
    ----------
    points : (n, latents) float array
        Where to.
    steps : int
        From each to the next.

    Returns
    -------
    (n steps, latents) float array
        The first is the first point, the last one step before it again.
    """
    share = (0.5 - 0.5 * np.cos(np.pi * np.arange(steps) / steps))[None, :, None]
    onward = np.roll(points, -1, axis=0)
    walk = points[:, None] + share * (onward - points)[:, None]
    return np.asarray(walk.reshape(-1, points.shape[1]))


def exchanged_views(latents: np.ndarray, galaxy_latents: int) -> np.ndarray:
    """Give every galaxy the view of every other.

    Parameters
    ----------
    latents : (n, latents) float array
        Of some galaxies.
    galaxy_latents : int
        How many of them, the first, are the galaxy's.

    Returns
    -------
    (n, n, latents) float array
        The galaxy of the first index in the view of the second.
    """
    n = len(latents)
    galaxy = np.broadcast_to(latents[:, None, :galaxy_latents], (n, n, galaxy_latents))
    view = np.broadcast_to(
        latents[None, :, galaxy_latents:], (n, n, latents.shape[1] - galaxy_latents)
    )
    return join_latents(galaxy, view)


def view_constancy(space: LatentSpace, latents: np.ndarray, seed: int = 0) -> float:
    """Measure how far a change of view moves the galaxy latents.

    Galaxies are drawn in their own view and in another galaxy's, and both pictures encoded again.

    Parameters
    ----------
    space : LatentSpace
        With view latents.
    latents : (n, latents) float array
        Of galaxies; at most 256 are used.
    seed : int
        Of the pairs.

    Returns
    -------
    float
        Median distance between the two, over the median distance between two galaxies each drawn
        in its own view: 0 where a view says nothing of the galaxy, 1 where it says all.
    """
    rng = np.random.default_rng(seed)
    own = latents[rng.permutation(len(latents))[:_PAIRS]]
    galaxy = space.galaxy_latents
    lent = join_latents(own[:, :galaxy], np.roll(own, 1, axis=0)[:, galaxy:])
    first, second = (
        space.encode(space.decode(points), space.anchor).mean[:, :galaxy].numpy()
        for points in (own, lent)
    )
    moved = np.median(np.linalg.norm(first - second, axis=1))
    apart = np.median(np.linalg.norm(first - np.roll(first, 1, axis=0), axis=1))
    return float(moved / max(apart, 1e-12))

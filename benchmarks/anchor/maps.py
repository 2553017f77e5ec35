"""Latents laid out in two dimensions: UMAP with its way back, principal components, densities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

__all__ = ["Flat", "density", "flatten", "principal"]

_NEIGHBOURS, _LEAST_DISTANCE = 15, 0.4
_EDGES = (0.5, 99.5)
"""Percentiles of the galaxies at which the grid begins and ends."""


@dataclass(frozen=True, kw_only=True)
class Flat:
    """A UMAP of galaxy latents and a grid over it.

    Attributes
    ----------
    points : (n, 2) float array
        Each galaxy, both axes from 0 to 1 over the grid's extent (a few lie beyond).
    nearest : (side, side) int array
        Galaxy nearest to the middle of each grid cell, among those in it; -1 where it is empty.
        The first row is the top.
    latents : (side, side, galaxy latents) float array
        What the middle of each cell is in the latent space, NaN where it is empty.
    """

    points: np.ndarray
    nearest: np.ndarray
    latents: np.ndarray


def flatten(galaxy: np.ndarray, side: int, seed: int = 0) -> Flat:
    """Fit a UMAP, and take a grid of its points back to the latent space.

    Parameters
    ----------
    galaxy : (n, galaxy latents) float array
        At least 4 galaxies.
    side : int
        Cells along each axis of the grid.
    seed : int
        Of the layout.

    References
    ----------
    McInnes, Healy & Melville 2018, arXiv 1802.03426.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's and UMAP's own, of threads and of spectra
        import umap

        mapper = umap.UMAP(
            n_neighbors=min(_NEIGHBOURS, len(galaxy) - 1),
            min_dist=_LEAST_DISTANCE,
            init="pca",
            random_state=seed,
            n_jobs=1,
        )
        placed = mapper.fit_transform(galaxy)
        low, high = np.percentile(placed, _EDGES, axis=0)
        reach = np.maximum(high - low, 1e-9)
        points = (placed - low) / reach
        nearest = _nearest_in_cell(points, side)
        latents = np.full((side, side, galaxy.shape[1]), np.nan)
        rows, columns = np.nonzero(nearest >= 0)
        middles = np.stack([columns + 0.5, side - 0.5 - rows], axis=1) / side
        latents[rows, columns] = mapper.inverse_transform(
            (low + middles * reach).astype(np.float32)
        )
    return Flat(points=points, nearest=nearest, latents=latents)


def principal(latents: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, components) principal components and the share of variance of each."""
    pca = PCA(min(components, *latents.shape))
    return pca.fit_transform(latents), pca.explained_variance_ratio_


def density(x: np.ndarray, y: np.ndarray, edge: float, bins: int) -> np.ndarray:
    """Count points on a square from -edge to edge and smooth a little.

    Parameters
    ----------
    x, y : (n,) float arrays
        Coordinates; those beyond the square are left out.
    edge : float
        Half its side.
    bins : int
        Along each axis.

    Returns
    -------
    (bins, bins) float array
        Points per bin; the first row is the top.
    """
    along = np.linspace(-edge, edge, bins + 1)
    counts, _, _ = np.histogram2d(y, x, bins=[along, along])
    return np.asarray(gaussian_filter(counts[::-1], 1.0, mode="constant"))


def _nearest_in_cell(points: np.ndarray, side: int) -> np.ndarray:
    """Return the point nearest to the middle of each cell of the unit square, -1 for none."""
    along = (np.arange(side) + 0.5) / side
    middles = np.stack(np.meshgrid(along, along[::-1]), axis=2).reshape(-1, 2)
    search = NearestNeighbors(n_neighbors=1, metric="chebyshev").fit(points)
    distance, nearest = search.kneighbors(middles)
    return np.where(distance <= 0.5 / side, nearest, -1).reshape(side, side)

"""Latents in two dimensions: UMAP and its inverse, principal components, densities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

__all__ = ["GalaxyMap", "density", "fit_map", "principal_components"]

_NEIGHBOURS, _LEAST_DISTANCE = 15, 0.4
_EDGES = (0.5, 99.5)
"""Percentiles of the galaxies that span the grid."""


@dataclass(frozen=True, kw_only=True)
class GalaxyMap:
    """A UMAP of galaxy latents and a grid over it.

    Attributes
    ----------
    points : (n, 2) float array
        Position of each galaxy; the grid spans 0 to 1 (a few galaxies lie beyond).
    nearest : (side, side) int array
        Galaxy nearest to the centre of each grid cell, -1 for an empty cell. The first row is the
        top.
    latents : (side, side, galaxy latents) float array
        Latents at the centre of each cell, NaN for an empty cell.
    """

    points: np.ndarray
    nearest: np.ndarray
    latents: np.ndarray


def fit_map(galaxy: np.ndarray, side: int, seed: int = 0) -> GalaxyMap:
    """Fit a UMAP, and map a grid of its points back to the latent space.

    Parameters
    ----------
    galaxy : (n, galaxy latents) float array
        Latents of at least 4 galaxies.
    side : int
        Number of cells along each axis of the grid.
    seed : int
        Seed of the layout.

    References
    ----------
    McInnes, Healy & Melville 2018, arXiv 1802.03426.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from numba and UMAP, about threads and spectra
        import umap

        mapper = umap.UMAP(
            n_neighbors=min(_NEIGHBOURS, len(galaxy) - 1),
            min_dist=_LEAST_DISTANCE,
            init="pca",
            random_state=seed,
            n_jobs=1,
        )
        embedded = mapper.fit_transform(galaxy)
        low, high = np.percentile(embedded, _EDGES, axis=0)
        reach = np.maximum(high - low, 1e-9)
        points = (embedded - low) / reach
        nearest = _nearest_in_cell(points, side)
        latents = np.full((side, side, galaxy.shape[1]), np.nan)
        rows, columns = np.nonzero(nearest >= 0)
        centres = np.stack([columns + 0.5, side - 0.5 - rows], axis=1) / side
        latents[rows, columns] = mapper.inverse_transform(
            (low + centres * reach).astype(np.float32)
        )
    return GalaxyMap(points=points, nearest=nearest, latents=latents)


def principal_components(latents: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, components) principal components and the share of variance of each."""
    pca = PCA(min(components, *latents.shape))
    return pca.fit_transform(latents), pca.explained_variance_ratio_


def density(x: np.ndarray, y: np.ndarray, edge: float, bins: int) -> np.ndarray:
    """Count points on a square from -edge to edge, smoothed by one bin.

    Parameters
    ----------
    x, y : (n,) float arrays
        Coordinates; those beyond the square are left out.
    edge : float
        Half the side of the square.
    bins : int
        Number of bins along each axis.

    Returns
    -------
    (bins, bins) float array
        Points per bin; the first row is the top.
    """
    along = np.linspace(-edge, edge, bins + 1)
    counts, _, _ = np.histogram2d(y, x, bins=[along, along])
    return np.asarray(gaussian_filter(counts[::-1], 1.0, mode="constant"))


def _nearest_in_cell(points: np.ndarray, side: int) -> np.ndarray:
    """Return the point nearest to the centre of each cell of the unit square, -1 for none."""
    along = (np.arange(side) + 0.5) / side
    centres = np.stack(np.meshgrid(along, along[::-1]), axis=2).reshape(-1, 2)
    search = NearestNeighbors(n_neighbors=1, metric="chebyshev").fit(points)
    distance, nearest = search.kneighbors(centres)
    return np.where(distance <= 0.5 / side, nearest, -1).reshape(side, side)

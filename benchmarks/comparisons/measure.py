"""Score latents and decoded images of galaxies that no candidate was trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.measures.image_quality import compare_images, value_range
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.images.preparation import Frame
from training.pretraining.sky_residuals import sky_residuals

__all__ = ["latent_scores", "reconstruction_scores"]

_QUANTITIES = ("r_mag", "half_light_arcsec", "g_minus_r", "bulge_fraction", "axis_ratio")
_NEIGHBOURS, _FOLDS = 10, 5


def reconstruction_scores(images: Tensor, decoded: Tensor) -> dict[str, float]:
    """Compare decoded images in the default frame with the encoded ones.

    Returns
    -------
    dict
        ``psnr`` and ``ssim`` (sigma 1.5 px) over the range of the images, and ``sky_bias``, the
        largest mean residual of empty sky in a band over its noise.
    """
    scores = compare_images(decoded, images, value_range(images))
    bias = [band.residual for band in sky_residuals(images, decoded, Frame())]
    return {"psnr": scores["psnr"], "ssim": scores["ssim"], "sky_bias": max(bias, key=abs)}


def latent_scores(
    first: np.ndarray, rotated: np.ndarray, second: np.ndarray, truth: pa.Table
) -> dict[str, float]:
    """Score how well latents predict true parameters and find the same galaxy again.

    Parameters
    ----------
    first, rotated, second : (n, latents) float arrays
        Latents of the observations of `benchmarks.comparisons.sky.ComparisonSky`.
    truth : pa.Table
        True parameters.

    Returns
    -------
    dict
        ``probe_r2`` and ``neighbour_r2``: cross-validated R² of ridges and of the mean of ten
        neighbours, averaged over magnitude, radius, colour, bulge fraction and axis ratio.
        ``recall`` and ``recall_rotated``: recall@1 of the second observation, north up or rotated
        and mirrored, among the first ones. Latents are standardised by the first observations.
    """
    scaler = StandardScaler().fit(first)
    known, again, posed = (scaler.transform(some) for some in (first, second, rotated))
    ridge, nearest = RidgeCV(np.logspace(-2, 4, 13)), KNeighborsRegressor(_NEIGHBOURS)
    return {
        "probe_r2": _mean_r2(ridge, known, truth),
        "neighbour_r2": _mean_r2(nearest, known, truth),
        "recall": recall_of(match_ranks(again, known), len(known)).recall_at_1,
        "recall_rotated": recall_of(match_ranks(posed, known), len(known)).recall_at_1,
    }


def _mean_r2(model: RidgeCV | KNeighborsRegressor, latents: np.ndarray, truth: pa.Table) -> float:
    scores = [
        cross_val_score(model, latents, truth[name].to_numpy(), cv=_FOLDS) for name in _QUANTITIES
    ]
    return float(np.mean(scores))

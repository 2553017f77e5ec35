"""Draw latents from the prior or from a fit, and compare them with those of real galaxies."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KernelDensity

from galaxy_da.errors import TableError
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import PathOrUrl, location

__all__ = ["draw_latents", "read_drawn", "real_or_drawn_auc"]

_TREES, _FOLDS = 100, 5


def draw_latents(latents: np.ndarray, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw latents from three distributions.

    Parameters
    ----------
    latents : (n, latents) float array
        Posterior means of real galaxies.
    count : int
        Number of points from each.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict of str to (count, latents) float array
        ``prior``, N(0, I); ``gaussian``, with the latents' mean and covariance; ``kde``, a Gaussian
        kernel with that covariance about each galaxy, with a width by Scott's rule.
    """
    rng = np.random.default_rng(seed)
    size = latents.shape[1]
    centre = latents.mean(0)
    # The small diagonal term keeps the matrix regular if a latent is not in use.
    covariance = np.cov(latents, rowvar=False).reshape(size, size) + 1e-9 * np.eye(size)
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, (latents - centre).T).T
    kernel = KernelDensity(bandwidth="scott").fit(white)
    # Shrinking keeps the covariance of the draws equal to that of the latents.
    smooth = kernel.sample(count, random_state=seed) / np.sqrt(1 + kernel.bandwidth_**2)
    return {
        "prior": rng.standard_normal((count, size)),
        "gaussian": centre + rng.standard_normal((count, size)) @ root.T,
        "kde": centre + smooth @ root.T,
    }


def real_or_drawn_auc(drawn: np.ndarray, real: np.ndarray, seed: int = 0) -> float:
    """Classify drawn and real latents by a random forest.

    Parameters
    ----------
    drawn, real : (n, latents), (m, latents) float arrays
        Drawn latents, and real ones to which the distribution was not fitted.
    seed : int
        Seed of forest and folds.

    Returns
    -------
    float
        Cross-validated area under the ROC curve: 0.5 is indistinguishable, 1 is separable.

    References
    ----------
    Lopez-Paz & Oquab 2017, arXiv 1610.06545.
    """
    n = min(len(drawn), len(real))
    points = np.concatenate([drawn[:n], real[:n]])
    is_real = np.repeat([False, True], n)
    score = cross_val_predict(
        RandomForestClassifier(_TREES, min_samples_leaf=3, random_state=seed),
        points,
        is_real,
        cv=StratifiedKFold(_FOLDS, shuffle=True, random_state=seed),
        method="predict_proba",
    )
    return float(roc_auc_score(is_real, score[:, 1]))


def read_drawn(path: PathOrUrl) -> np.ndarray:
    """Read latents that another model drew, (n, latents), from a ``.npy`` file.

    Raises
    ------
    TableError
        If the file is missing or unreadable, or holds anything but finite numbers.
    """
    try:
        points = np.load(local_copy(location(path)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TableError(f"{path}: is not a readable .npy file of latents ({error})") from error
    if not (isinstance(points, np.ndarray) and points.dtype.kind in "fi"):
        raise TableError(f"{path}: must hold an array of numbers, one row per drawn galaxy")
    if not np.isfinite(points).all():
        raise TableError(f"{path}: holds values that are not finite; draw again without them")
    return points

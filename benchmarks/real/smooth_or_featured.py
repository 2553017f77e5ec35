"""Classify Galaxy Zoo's guide images as smooth or featured.

``python -m benchmarks.real.smooth_or_featured GUIDE [--space SPACE]`` compares latents, statmorph
and principal components. It needs GUIDE, the table of guide images (see `read_guide`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.baselines.interface import in_frame_bands
from benchmarks.peers.morphology import PEER_COLUMNS, measure_morphology
from benchmarks.real.encoding import encode
from benchmarks.real.guide_images import GuideImages, read_guide
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.space import LatentSpace

__all__ = ["guide_rows"]

_COMPONENTS = 40
_R_NM = 642.0
_FOLDS, _REPEATS = 5, 5
_BOOTSTRAPS = 1000


def guide_rows(
    space: LatentSpace,
    path: str | os.PathLike[str],
    surveys: Sequence[str] = ("decals", "sdss", "kids"),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Classify by latents, by statmorph and by PCA-40 of the same cutouts.

    Logistic regression with 5 times 5-fold cross-validation; the penalty is chosen within each
    training fold. Surveys are classified one by one, then all together, standardised by survey.

    Parameters
    ----------
    space : LatentSpace
        Space to test; every survey is read by its definition.
    path : path
        Table of guide images.
    surveys : sequence of str
        Surveys that `read_guide` knows.
    seed : int
        Seed of folds and bootstrap.

    Returns
    -------
    list of dict
        ``survey``, ``features``, ``smooth`` and ``featured`` (counts), ``auc``,
        ``auc_low``, ``auc_high`` (95% bootstrap interval over images of the mean held-out score)
        and ``balanced_accuracy``.
    """
    known: dict[str, list[np.ndarray]] = {}
    labels: list[np.ndarray] = []
    rows = []
    for name in surveys:
        guide = read_guide(path, name)
        sets = _feature_sets(space, guide)
        labels.append(guide.featured)
        for features, values in sets.items():
            centred = (values - np.nanmean(values, 0)) / np.maximum(np.nanstd(values, 0), 1e-9)
            known.setdefault(features, []).append(centred)
            score = _score(values, guide.featured, seed)
            rows.append({"survey": name, "features": features, **score})
    joined = np.concatenate(labels)
    for features, parts in known.items():
        score = _score(np.concatenate(parts), joined, seed)
        rows.append({"survey": "all", "features": features, **score})
    return rows


def _feature_sets(space: LatentSpace, guide: GuideImages) -> Mapping[str, np.ndarray]:
    """Return latents, statmorph measures and principal components of the same cutouts."""
    found = encode(space, guide.survey, guide.cutouts)
    images = in_frame_bands(found.inputs.images, found.encoder, space.frame).numpy()
    present = [plane for plane, name in enumerate(found.encoder.bands) if name is not None]
    wavelengths = np.array(
        [guide.survey.band(str(found.encoder.bands[k])).wavelength_nm for k in present]
    )
    nearest = int(np.abs(wavelengths - _R_NM).argmin())
    r_like = present[nearest]
    softening = space.frame.softening_at(float(wavelengths[nearest]))
    brightness = np.sinh(images[:, r_like].astype(float)) * softening
    measured = measure_morphology(brightness)
    shape = [c for c in PEER_COLUMNS if "position_angle" not in c]
    flat = images.reshape(len(images), -1)
    components = PCA(min(_COMPONENTS, len(flat) - 1), random_state=0).fit_transform(flat)
    return {
        "latents": found.mean,
        "statmorph": np.stack([measured[name] for name in shape], axis=1),
        f"PCA-{_COMPONENTS}": components,
    }


def _score(values: np.ndarray, featured: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the cross-validated AUC with its interval, and the balanced accuracy."""
    smallest = int(min(featured.sum(), (~featured).sum()))
    counts = {"smooth": int((~featured).sum()), "featured": int(featured.sum())}
    if smallest < 2:
        return counts | dict.fromkeys(("auc", "auc_low", "auc_high", "balanced_accuracy"), np.nan)
    splits = RepeatedStratifiedKFold(
        n_splits=min(_FOLDS, smallest), n_repeats=_REPEATS, random_state=seed
    )
    model = _classifier(smallest)
    total, times = np.zeros(len(featured)), np.zeros(len(featured))
    for fitted, held_out in splits.split(values, featured):
        probability = (
            clone(model).fit(values[fitted], featured[fitted]).predict_proba(values[held_out])
        )
        total[held_out] += probability[:, 1]
        times[held_out] += 1
    mean = total / times
    rng = np.random.default_rng(seed)
    draws = [_resampled_auc(mean, featured, rng) for _ in range(_BOOTSTRAPS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return counts | {
        "auc": float(roc_auc_score(featured, mean)),
        "auc_low": float(low),
        "auc_high": float(high),
        "balanced_accuracy": float(balanced_accuracy_score(featured, mean >= 0.5)),
    }


def _classifier(smallest: int) -> Pipeline:
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 1, 6),
            cv=max(2, min(_FOLDS, smallest - 1)),
            scoring="neg_log_loss",
            class_weight="balanced",
            max_iter=1000,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        ),
    )


def _resampled_auc(score: np.ndarray, featured: np.ndarray, rng: np.random.Generator) -> float:
    """Return the AUC of images resampled within each class."""
    groups = [np.flatnonzero(featured), np.flatnonzero(~featured)]
    rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
    return float(roc_auc_score(featured[rows], score[rows]))


def main() -> None:
    """Print the table."""
    parser = command_parser("real.smooth_or_featured", __doc__)
    parser.add_argument("guide", type=Path, help="table of guide images")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    options = parser.parse_args()
    rows = guide_rows(LatentSpace.load(options.space), options.guide)
    print_rows("Smooth against features, Galaxy Zoo guide images", rows)


if __name__ == "__main__":
    main()

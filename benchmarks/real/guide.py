"""Classify smooth and featured galaxies of one real survey by a classifier trained in another.

``python -m benchmarks.real.guide DATA [--space SPACE]`` takes the guide images of Galaxy Zoo, and
pictures of Galaxy Zoo 1 by SDSS, in DATA, the folder of the real images. Every survey is read by
its definition. Galaxy latents are compared; those of one survey are also classified by folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.real.encoding import encode, options
from benchmarks.real.guide_images import (
    R90_ARCSEC,
    GuideImages,
    colour_cutout,
    read_colour,
    read_guide,
    with_stretch,
)
from benchmarks.support.tables import print_rows
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

_SURVEYS = ("decals", "sdss", "kids")
_FEWEST_PER_CLASS = 10
_FOLDS, _BOOTSTRAPS = 5, 1000
_PENALTY = 0.1  # inverse, in standardised latents
_GZ1_IMAGES = 1000
_GZ1_RADII_PER_PIXEL, _GZ1_PIXELS = 0.024, 423  # Lintott et al. 2008, MNRAS 389, 1179
_GZ1 = {"elliptical": False, "spiral_cw": True, "spiral_acw": True, "edge_on": True}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Galaxy latents (n, d) of a survey, and (n,) bool: features or a disc, or smooth."""

    name: str
    latents: np.ndarray
    featured: np.ndarray


def guide_rows(space: LatentSpace, data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Return `auc_rows` of the guide images and of Galaxy Zoo 1."""
    return auc_rows(read_labelled(space, data, seed), seed)


def read_labelled(space: LatentSpace, data: Path, seed: int = 0) -> list[Labelled]:
    """Read and encode the labelled images; Galaxy Zoo 1 has both classes in equal numbers."""
    guides = {name: read_guide(data / "galaxy_zoo_guide.parquet", name) for name in _SURVEYS}
    guides["sdss-gz1"] = _read_gz1(data / "sdss_galaxy_zoo1.parquet", seed)
    labelled = []
    for name, guide in guides.items():
        found = encode(space, guide.survey, guide.cutouts)
        latents = found.mean[found.usable, : space.galaxy_latents]
        labelled.append(Labelled(name=name, latents=latents, featured=guide.featured[found.usable]))
    return labelled


def auc_rows(surveys: Sequence[Labelled], seed: int = 0) -> list[dict[str, Any]]:
    """Train in each survey and test in every survey.

    Surveys with fewer than ten images of a class are left out. Returns ``trained``, ``tested``,
    ``smooth``, ``featured``, and ``auc`` with its 95% bootstrap interval over test images.
    """
    usable = [s for s in surveys if np.bincount(s.featured, minlength=2).min() >= _FEWEST_PER_CLASS]
    rows = []
    for trained in usable:
        model = _classifier().fit(trained.latents, trained.featured)
        for tested in usable:
            if tested is trained:
                folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
                predicted = cross_val_predict(
                    _classifier(), tested.latents, tested.featured, cv=folds, method="predict_proba"
                )
            else:
                predicted = model.predict_proba(tested.latents)
            rows.append(
                {
                    "trained": trained.name,
                    "tested": tested.name,
                    "smooth": int((~tested.featured).sum()),
                    "featured": int(tested.featured.sum()),
                    **_auc(tested.featured, predicted[:, 1], seed),
                }
            )
    return rows


def _read_gz1(path: Path, seed: int) -> GuideImages:
    table = pq.read_table(path)
    featured = np.array([_GZ1.get(label) for label in table["gz1_class"].to_pylist()], object)
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [
            rng.choice(np.flatnonzero(featured == kind), _GZ1_IMAGES // 2, replace=False)
            for kind in (False, True)
        ]
    )
    survey = with_stretch(get_survey("sdss"))
    width = _GZ1_RADII_PER_PIXEL * R90_ARCSEC * _GZ1_PIXELS
    images = table["image"].take(rows).to_pylist()
    cutouts = [colour_cutout(read_colour(image), survey, width) for image in images]
    return GuideImages(survey, cutouts, featured[rows].astype(bool))


def _classifier() -> Pipeline:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=1000)
    )


def _auc(featured: np.ndarray, score: np.ndarray, seed: int) -> dict[str, float]:
    """Return the AUC, and its interval by resampling the images of each class."""
    rng = np.random.default_rng(seed)
    difference = score[featured][:, None] - score[~featured]
    above = (difference > 0) + 0.5 * (difference == 0)
    yes, no = (rng.multinomial(n, np.full(n, 1 / n), _BOOTSTRAPS) / n for n in difference.shape)
    low, high = np.quantile(((yes @ above) * no).sum(1), [0.025, 0.975])
    auc = float(roc_auc_score(featured, score))
    return {"auc": auc, "auc_low": float(low), "auc_high": float(high)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    given = options("guide", __doc__, arguments)
    rows = guide_rows(LatentSpace.load(given.space), given.data)
    print_rows("Smooth against features across real surveys, by definition", rows)


if __name__ == "__main__":
    main()

"""Classify smooth and featured galaxies across real surveys: train in one, test in another.

A classifier of Galaxy Zoo's answers is trained in one survey and tested in another, before and
after adapting without pairs. Test images are never used to fit a map.

The guide images are far fewer than `training.adaptation.unpaired` needs, and have no positions to
split the sky by. Its closed forms are therefore fitted here directly, and evaluated by folds. SDSS
also takes labelled images of Galaxy Zoo 1, since its guide images are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.real.guide_images import (
    R90_ARCSEC,
    GuideImages,
    colour_cutout,
    read_colour,
    read_guide,
    with_stretch,
)
from evaluation.transfer import gap_closed
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training.adaptation.closed_form import match_covariances, match_moments
from training.losses import mmd

__all__ = ["FEWEST_PER_CLASS", "LabelledSurvey", "read_labelled", "transfer_rows"]

FEWEST_PER_CLASS = 10
"""Smallest number of images per class for training or testing in a survey."""

MAPS: Mapping[str, Callable[[Encoder, Tensor, Tensor], Encoder]] = {
    "unadapted": lambda network, target, anchor: network,
    "moments": match_moments,
    "covariances": match_covariances,
}
BY_DISCREPANCY = "by discrepancy"
"""Map with the smallest held-out discrepancy (MMD) from the anchor, chosen for each survey, as
`training.adaptation.unpaired` does."""

_FOLDS = 5
_BOOTSTRAPS = 1000
_PENALTY = 0.1  # inverse, in standardised latents
_BATCH = 256
_GZ1_RADII_PER_PIXEL, _GZ1_PIXELS = 0.024, 423  # Lintott et al. 2008, MNRAS 389, 1179
_GZ1 = {"elliptical": False, "spiral_cw": True, "spiral_acw": True, "edge_on": True}


@dataclass(frozen=True, kw_only=True)
class LabelledSurvey:
    """Labelled images of a survey, as inputs of the last layer of its un-adapted encoder.

    Attributes
    ----------
    name : str
        Name of the survey.
    network : Encoder
        Un-adapted encoder.
    features : (8, n, features) float tensor
        Features in every dihedral symmetry.
    featured : (n,) bool array
        True for features or a disc, false for smooth galaxies.
    galaxy_latents : int
        Number of galaxy latents.
    """

    name: str
    network: Encoder
    features: Tensor
    featured: np.ndarray
    galaxy_latents: int

    @classmethod
    def of(cls, space: LatentSpace, name: str, images: GuideImages) -> LabelledSurvey:
        """Prepare and encode images."""
        assert images.survey.stretch is not None
        is_anchor = images.survey.name == space.anchor
        encoder = (
            space.encoder(space.anchor)
            if is_anchor
            else space.unadapted(images.survey, images.survey.stretch.planes)
        )
        prepared = encoder.prepare(images.cutouts, space.frame).images
        with torch.inference_mode():
            features = torch.stack(
                [
                    torch.cat(
                        [encoder.network.features(apply_symmetry(batch, k)) for batch in parts]
                    )
                    for k in range(SYMMETRIES)
                    for parts in [torch.split(prepared, _BATCH)]
                ]
            )
        return cls(
            name=name,
            network=encoder.network,
            features=features.clone(),
            featured=images.featured,
            galaxy_latents=space.galaxy_latents,
        )

    @property
    def enough(self) -> bool:
        """True if both classes have `FEWEST_PER_CLASS` images."""
        return bool(min(self.featured.sum(), (~self.featured).sum()) >= FEWEST_PER_CLASS)

    def latents_by_symmetry(self, rows: np.ndarray) -> Tensor:
        """Return un-adapted latents of some images in every symmetry, (8 n, latents)."""
        latents: Tensor = self.network.mean(self.features[:, rows].flatten(0, 1))
        return latents.detach()

    def latents(self, network: Encoder, rows: np.ndarray) -> np.ndarray:
        """Return (n, galaxy latents) of a network with another last layer, mean over symmetries."""
        pooled = self.features[:, rows].mean(0)
        return np.asarray(network.mean(pooled).detach()[:, : self.galaxy_latents])


def read_labelled(
    space: LatentSpace, data: Path, surveys: Sequence[str], gz1_images: int, seed: int
) -> list[LabelledSurvey]:
    """Read the guide images of surveys, and images of Galaxy Zoo 1 as ``sdss-gz1``.

    Galaxy Zoo 1 is sampled with the class ratio of the anchor's guide images, since matching
    distributions assumes that both surveys show one population.

    Raises
    ------
    TableError
        If the guide is missing.
    """
    guides = {name: read_guide(data / "galaxy_zoo_guide.parquet", name) for name in surveys}
    smooth = 1 - guides[space.anchor].featured.mean()
    guides["sdss-gz1"] = _read_gz1(data / "sdss_galaxy_zoo1.parquet", smooth, gz1_images, seed)
    return [LabelledSurvey.of(space, name, guide) for name, guide in guides.items()]


def transfer_rows(
    surveys: Sequence[LabelledSurvey], anchor: str, seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Train in each survey and test in every other.

    Parameters
    ----------
    surveys : sequence of LabelledSurvey
        Surveys, including the anchor.
    anchor : str
        Name of the anchor.
    seed : int
        Seed of folds and bootstrap.

    Returns
    -------
    dict
        ``surveys``: counts, the map chosen, and for each map the AUC of a classifier of survey and
        anchor. ``transfer``: for each ordered pair and map ``auc`` and ``macro_f1`` with 95%
        bootstrap intervals over test images, their gain over un-adapted, the in-domain figures, and
        the share of the gap closed if the gap is significant.
    """
    by_name = {survey.name: survey for survey in surveys}
    centre = by_name[anchor]
    chosen, descriptions = {anchor: "unadapted"}, []
    for survey in surveys:
        row: dict[str, Any] = {
            "survey": survey.name,
            "smooth": int((~survey.featured).sum()),
            "featured": int(survey.featured.sum()),
            "enough": survey.enough,
        }
        if survey.name != anchor:
            row |= _distance_from(survey, centre, seed)
            chosen[survey.name] = row["chosen"]
        descriptions.append(row)
    usable = [survey for survey in surveys if survey.enough]
    rows = [
        row
        for trained in usable
        for tested in usable
        if trained.name != tested.name and {trained.name, tested.name} != {"sdss", "sdss-gz1"}
        for row in _ordered_pair(trained, tested, centre, chosen, seed)
    ]
    return {"surveys": descriptions, "transfer": rows}


def _read_gz1(path: Path, smooth: float, n: int, seed: int) -> GuideImages:
    table = pq.read_table(path)
    featured = np.array([_GZ1.get(label) for label in table["gz1_class"].to_pylist()], object)
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [
            rng.choice(np.flatnonzero(featured == is_featured), round(n * share), replace=False)
            for is_featured, share in ((False, smooth), (True, 1 - smooth))
        ]
    )
    survey = with_stretch(get_survey("sdss"))
    width = _GZ1_RADII_PER_PIXEL * R90_ARCSEC * _GZ1_PIXELS
    images = table["image"].take(rows).to_pylist()
    cutouts = [colour_cutout(read_colour(image), survey, width) for image in images]
    return GuideImages(survey, cutouts, featured[rows].astype(bool))


def _distance_from(survey: LabelledSurvey, anchor: LabelledSurvey, seed: int) -> dict[str, Any]:
    """Choose a map by the discrepancy of held-out images."""
    discrepancy, domain_auc = {}, {}
    every = np.arange(len(anchor.featured))
    reference = anchor.latents(anchor.network, every)
    for name in MAPS:
        mapped = np.concatenate(
            [
                survey.latents(_mapped(name, survey, fitted, anchor, every), held_out)
                for fitted, held_out in _folds(survey, seed)
            ]
        )
        discrepancy[name] = float(mmd(torch.from_numpy(mapped), torch.from_numpy(reference)))
        domain_auc[name] = _domain_auc(mapped, reference, seed)
    return {
        "chosen": min(discrepancy, key=lambda name: discrepancy[name]),
        **{f"mmd_{name}": value for name, value in discrepancy.items()},
        **{f"domain_auc_{name}": value for name, value in domain_auc.items()},
    }


def _ordered_pair(
    trained: LabelledSurvey,
    tested: LabelledSurvey,
    anchor: LabelledSurvey,
    chosen: Mapping[str, str],
    seed: int,
) -> Iterator[dict[str, Any]]:
    own = _in_domain(tested, seed)
    draws = _draws(tested.featured, seed)
    methods = {name: dict.fromkeys(chosen, name) for name in MAPS} | {BY_DISCREPANCY: dict(chosen)}
    predicted = {
        name: _predicted(trained, tested, anchor, kinds, seed) for name, kinds in methods.items()
    }
    scores = {
        name: _scores(tested.featured, probability, draws)
        for name, probability in {**predicted, "in_domain": own}.items()
    }
    for name in methods:
        row: dict[str, Any] = {
            "trained": trained.name,
            "tested": tested.name,
            "map": name,
            "training": len(trained.featured),
            "smooth": int((~tested.featured).sum()),
            "featured": int(tested.featured.sum()),
        }
        for measure, values in scores[name].items():
            before, within = scores["unadapted"][measure], scores["in_domain"][measure]
            row |= _interval(measure, values) | _interval(f"{measure}_gain", values - before)
            row |= _interval(f"{measure}_in_domain", within)
            significant = np.quantile(within - before, 0.025) > 0
            row[f"{measure}_gap_closed"] = (
                gap_closed(before[0], values[0], within[0]) if significant else None
            )
        yield row


def _predicted(
    trained: LabelledSurvey,
    tested: LabelledSurvey,
    anchor: LabelledSurvey,
    kinds: Mapping[str, str],
    seed: int,
) -> np.ndarray:
    """Return (n,) probabilities of features, each image held out of the fit of the maps."""
    predicted = np.zeros(len(tested.featured))
    for fitted, held_out in _folds(tested, seed):
        rows = {trained.name: np.arange(len(trained.featured)), tested.name: fitted}
        rows.setdefault(anchor.name, np.arange(len(anchor.featured)))
        networks = [
            _mapped(kinds[s.name], s, rows[s.name], anchor, rows[anchor.name])
            for s in (trained, tested)
        ]
        known = trained.latents(networks[0], rows[trained.name])
        model = _classifier().fit(known, trained.featured)
        latents = tested.latents(networks[1], held_out)
        predicted[held_out] = model.predict_proba(latents)[:, 1]
    return predicted


def _mapped(
    kind: str,
    survey: LabelledSurvey,
    rows: np.ndarray,
    anchor: LabelledSurvey,
    anchor_rows: np.ndarray,
) -> Encoder:
    if survey.name == anchor.name:
        return survey.network
    return MAPS[kind](
        survey.network, survey.latents_by_symmetry(rows), anchor.latents_by_symmetry(anchor_rows)
    )


def _in_domain(survey: LabelledSurvey, seed: int) -> np.ndarray:
    latents = survey.latents(survey.network, np.arange(len(survey.featured)))
    predicted = np.zeros(len(latents))
    for fitted, held_out in _folds(survey, seed):
        model = _classifier().fit(latents[fitted], survey.featured[fitted])
        predicted[held_out] = model.predict_proba(latents[held_out])[:, 1]
    return predicted


def _domain_auc(target: np.ndarray, anchor: np.ndarray, seed: int) -> float:
    latents, survey = (
        np.concatenate([target, anchor]),
        np.repeat([0, 1], [len(target), len(anchor)]),
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(_classifier(), latents, survey, cv=folds, method="predict_proba")
    return float(roc_auc_score(survey, predicted[:, 1]))


def _folds(survey: LabelledSurvey, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield fitted and held-out rows, stratified by class if both have enough images."""
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    labels = survey.featured if survey.enough else np.zeros(len(survey.featured))
    yield from folds.split(labels, labels)


def _classifier() -> Pipeline:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=1000)
    )


def _draws(featured: np.ndarray, seed: int) -> np.ndarray:
    """Return weights of each image, (1 + bootstraps, n): ones, then resampled by class."""
    rng = np.random.default_rng(seed)
    counts = np.ones((1 + _BOOTSTRAPS, len(featured)))
    for group in (np.flatnonzero(featured), np.flatnonzero(~featured)):
        even = np.full(len(group), 1 / len(group))
        counts[1:, group] = rng.multinomial(len(group), even, _BOOTSTRAPS)
    return counts


def _scores(
    featured: np.ndarray, predicted: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return AUC and macro-F1 of every draw, the whole sample first."""
    yes, no = counts[:, featured], counts[:, ~featured]
    difference = predicted[featured][:, None] - predicted[~featured]
    above = (difference > 0) + 0.5 * (difference == 0)
    auc = ((yes @ above) * no).sum(1) / (yes.sum(1) * no.sum(1))
    true_yes, false_yes = yes @ (predicted[featured] >= 0.5), no @ (predicted[~featured] >= 0.5)
    false_no, true_no = yes.sum(1) - true_yes, no.sum(1) - false_yes
    wrong = false_yes + false_no
    f1 = true_yes / (2 * true_yes + wrong) + true_no / (2 * true_no + wrong)
    return {"auc": auc, "macro_f1": f1}


def _interval(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}

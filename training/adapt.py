"""Map a new survey into a space: try candidates, keep what held-out pairs say is best.

The anchor stays frozen. Candidates are the un-adapted encoder, two ridge maps, and a network
refined from the best of them. Doing nothing is a candidate, so adapting never returns something the
held-out pairs call worse.
"""

from __future__ import annotations

import copy

import pyarrow as pa
import torch
from torch import Tensor

from catalogs.pairs import PairedRows
from evaluation.evaluate import sample_bands
from evaluation.retrieval import Retrieval
from galaxy_da.devices import best_device
from galaxy_da.models import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey
from galaxy_da.tables import Sample
from training.closed_form import ridge_from_features, ridge_from_latents
from training.paired_images import PairedImages, load_paired_images
from training.refine import RefineSettings, refine
from training.symmetry import SYMMETRIES, turn

__all__ = ["adapt"]

MOST_PAIRS = 10_000
"""Training pairs held in memory; more are left out by seed."""


def adapt(
    space: LatentSpace,
    anchor: Sample,
    target: Sample,
    pairs: pa.Table,
    *,
    survey: Survey,
    settings: RefineSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> LatentSpace:
    """Return the space with one more survey.

    Parameters
    ----------
    space : LatentSpace
        Not modified.
    anchor, target : Sample
        Cutouts of the anchor survey and of the new one.
    pairs : pa.Table
        Pair table from anchor to target. Its training part (by sky position) fits, its validation
        part chooses, its test part is left for `evaluation`.
    survey : Survey
        The new survey's definition.
    settings : RefineSettings, optional
        Of the trained candidate.
    seed : int
        Of order and choice.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    LatentSpace
        Its ``encoder(survey.name).record`` holds every candidate's score, the curves and settings.

    Raises
    ------
    CatalogError
        If too few usable pairs fall in the training or validation part of the sky.
    SpaceError
        If the survey is the space's anchor.
    """
    settings = settings or RefineSettings()
    rows = PairedRows.of(pairs, anchor, target)
    start = space.unadapted(survey, sample_bands(target, survey), every_band=True)
    train, held = (
        load_paired_images(space, anchor, target, rows.only(part, MOST_PAIRS, seed), start)
        for part in ("train", "validation")
    )
    latents = torch.stack(
        [space.encode(turn(train.anchor, k), space.anchor).mean for k in range(SYMMETRIES)]
    )
    features = _turned_features(start.network, train.target)
    candidates = {
        "unadapted": start.network,
        "ridge-latents": ridge_from_latents(start.network, features, latents.flatten(0, 1)),
        "ridge-features": ridge_from_features(start.network, features, latents.flatten(0, 1)),
    }
    scores = {name: held.score(network) for name, network in candidates.items()}
    best = _best(scores)
    candidates["refined"], curves = refine(
        candidates[best], train, latents, held, settings=settings, seed=seed, progress=progress
    )
    scores["refined"] = held.score(candidates["refined"])
    chosen = _best(scores)
    record = {
        "chosen": chosen,
        "refined_from": best,
        "candidates": [{"name": name, **score.as_dict()} for name, score in scores.items()],
        "pairs": {"train": len(train), "validation": len(held)},
        "curves": curves,
        "settings": settings.model_dump(),
        "seed": seed,
    }
    return space.with_survey(
        SurveyEncoder(
            survey=survey,
            bands=start.bands,
            network=_calibrated(candidates[chosen], held),
            record=record,
        )
    )


def _turned_features(network: Encoder, images: Tensor) -> Tensor:
    """(8 n, features) float32 of every image in every symmetry."""
    device = best_device()
    network.to(device)
    with torch.no_grad():
        features = [
            network.features(batch.to(device)).float().cpu()
            for k in range(SYMMETRIES)
            for batch in torch.split(turn(images, k), 512)
        ]
    return torch.cat(features)


def _best(scores: dict[str, Retrieval]) -> str:
    """Name the candidate with the highest mean reciprocal rank, the earlier one where they tie."""
    return max(scores, key=lambda name: scores[name].mean_reciprocal_rank)


def _calibrated(network: Encoder, held: PairedImages) -> Encoder:
    """Shift log variances so that both posteriors together explain the held-out differences."""
    mean, variance = held.encode(network)
    squared = (mean - held.mean).square().mean(0)
    own = torch.maximum(squared - held.variance.mean(0), 0.1 * squared)
    calibrated = copy.deepcopy(network)
    with torch.no_grad():
        calibrated.log_variance.bias.add_((own / variance.mean(0)).log())
    return calibrated

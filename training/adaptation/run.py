"""Map a new survey into a space: try candidates, keep what held-out pairs say is best.

The anchor stays frozen. Candidates are the un-adapted encoder, the same on images smoothed to the
anchor's PSF (`galaxy_da.models.smoothing`) or a network that learnt without pairs from degraded
images of
the anchor (`training.adaptation.unpaired`), one refined on pairs from the best that came before,
and closed forms on each of these. Doing nothing is a candidate, and another one has to beat it by
more than the error of the comparison. A closed form that wins is fitted once more, to the pairs
that chose it too. Few pairs are cross-validated, train nothing, and have to beat what would be
chosen without any. Processes that adapt together follow the first one's decisions, which an
interrupted run keeps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from catalogs.matching.pairs import PairedRows
from evaluation.targets import sample_bands
from galaxy_da.errors import CatalogError, SpaceError, StorageError
from galaxy_da.io.files import ensure_folder, json_hash, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.models.networks import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey
from training.adaptation.candidates import SMOOTHED, UNADAPTED, bases_of, calibrated, closed_forms
from training.adaptation.fine_tuning import FineTuningSettings, fine_tune
from training.adaptation.match_probability import match_record
from training.adaptation.paired_images import PairedImages, load_paired_images
from training.adaptation.selection import FOLDS, best_of, cross_validated, judged, verdict
from training.adaptation.unpaired import Unpaired, match_distributions
from training.adaptation.wrong_pairs import sound_pairs
from training.parallel.fabric import make_fabric
from training.parallel.processes import agreed, is_first

__all__ = ["adapt"]

MOST_PAIRS = 10_000
"""Training pairs held in memory; more are left out by seed."""

FEWEST_PAIRS = 10
"""Pairs outside the test part of the sky without which nothing can be judged."""

FEW_HELD_OUT = 30
"""Validation pairs below which candidates are judged by cross-validation, and none is trained."""

T = TypeVar("T")

_UNPAIRED, _DEGRADED, _REFINED = "unpaired", "degraded", "fine-tuned"
_DECISIONS = "decisions.json"


def adapt(
    space: LatentSpace,
    anchor: Sample,
    target: Sample,
    pairs: pa.Table | None,
    *,
    survey: Survey,
    settings: FineTuningSettings | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
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
        part chooses, its test part is left for `evaluation`. Pairs that look like two galaxies are
        left out of the fit. Without pairs only images are learnt from
        (`training.adaptation.unpaired`).
    survey : Survey
        The new survey's definition.
    settings : FineTuningSettings, optional
        Of the trained candidates.
    seed : int
        Of order and choice.
    checkpoint : path, optional
        Folder from whose files an interrupted adaptation goes on, with any number of processes, all
        of which see it.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    LatentSpace
        Its ``encoder(survey.name).record`` holds every candidate's score, the curves and settings.

    Raises
    ------
    CatalogError
        If fewer than 10 usable pairs fall outside the test part of the sky.
    SpaceError
        If the survey is the space's anchor.
    StorageError
        If the checkpoint is of another adaptation.
    """
    make_fabric()
    settings = settings or FineTuningSettings()
    if survey.name == space.anchor:
        raise SpaceError(f"{survey.name}: is the anchor of this space and stays as it is")
    start = space.unadapted(survey, sample_bands(target, survey), every_band=True)
    how = _Way(settings, seed, None if checkpoint is None else ensure_folder(checkpoint), progress)
    how.claim([space.id, _what(anchor), _what(target), _ids(pairs), survey.name])
    if pairs is None:
        network, record = how.without_pairs(Unpaired.load(space, anchor, target, start, seed))
        return space.with_survey(replace(start, network=network, record=record))
    rows = PairedRows.of(pairs, anchor, target)
    train, held = (
        load_paired_images(space, anchor, target, rows.only(part, MOST_PAIRS, seed), start)
        for part in ("train", "validation")
    )
    if len(train) + len(held) < FEWEST_PAIRS:
        raise CatalogError(
            f"{survey.name}: only {len(train) + len(held)} usable pairs fall outside the test part "
            f"of the sky, at least {FEWEST_PAIRS} are needed; match a larger area, or adapt "
            "without pairs"
        )
    images = _enough(space, anchor, target, start, seed)
    if len(held) < FEW_HELD_OUT:
        others = None if images is None else images.latents_beside(rows.anchor)
        network, record = _by_few(train.with_more(held), images, others, how)
    else:
        share = float(read_metadata(pairs.schema).get("expected_false_share", 0.0))
        network, record = _by_pairs(train, held, images, how, share)
    return space.with_survey(replace(start, network=network, record=record | {"seed": seed}))


@dataclass(frozen=True)
class _Way:
    """How candidates are trained."""

    settings: FineTuningSettings
    seed: int
    folder: Path | None
    progress: bool

    def claim(self, inputs: list[Any]) -> None:
        """Mark the folder as that of this adaptation, or refuse where it is another's."""
        if self.folder is None:
            return
        identity = json_hash([inputs, self.settings.model_dump(), self.seed])
        if self.kept("adaptation", lambda: identity) != identity:
            raise StorageError(
                f"{self.folder}: is left over from another adaptation; delete it, or choose "
                "another output"
            )

    def kept(self, name: str, decide: Callable[[], T]) -> T:
        """Return what was decided, by an earlier run or else now, by the first process."""
        path = None if self.folder is None else self.folder / _DECISIONS
        known: dict[str, T] = {}
        if path is not None and path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
        if agreed(name in known):
            return agreed(known)[name]
        known[name] = agreed(decide())
        if path is not None and is_first():
            write_json(path, known)
        return known[name]

    def file(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.safetensors"

    def without_pairs(self, images: Unpaired) -> tuple[Encoder, dict[str, Any]]:
        """Choose what images of any galaxies teach, and say how."""
        return match_distributions(images, self.settings, self.file(_DEGRADED), self.progress)

    def degraded(self, images: Unpaired | None) -> dict[str, Encoder]:
        """Return the candidate that needs no pairs, where there can be one."""
        if images is None or not images.loses:
            return {}
        network, _ = images.degraded(self.settings, self.file(_DEGRADED), self.progress)
        return {_DEGRADED: network}


def _what(sample: Sample) -> list[Any]:
    """Say briefly which galaxies a sample holds."""
    places = [float(pc.sum(sample.catalog[axis]).as_py()) for axis in ("ra", "dec")]
    return [sample.path.name, len(sample), *places]


def _ids(pairs: pa.Table | None) -> list[Any]:
    """List the ids that are paired."""
    if pairs is None:
        return []
    return [pairs[name].to_pylist() for name in ("anchor_id", "target_id")]


def _enough(
    space: LatentSpace, anchor: Sample, target: Sample, start: SurveyEncoder, seed: int
) -> Unpaired | None:
    """Return images of any galaxies, where there are as many as learning without pairs needs."""
    try:
        return Unpaired.load(space, anchor, target, start, seed)
    except CatalogError:
        return None


def _by_few(
    pairs: PairedImages, images: Unpaired | None, others: Tensor | None, how: _Way
) -> tuple[Encoder, dict[str, Any]]:
    """Choose by cross-validation what beats learning without pairs, and train on no pair.

    A few galaxies are soon found among themselves: `others` are the anchor's latents of more.
    """
    known = {} if images is None else {_UNPAIRED: how.without_pairs(images)[0]}
    bases = bases_of(pairs, known)
    ranks = cross_validated(bases, others)
    chosen = agreed(best_of(ranks, than=_UNPAIRED if known else UNADAPTED))
    record = verdict(f"{FOLDS}-fold", chosen, ranks) | {
        "pairs": {"train": len(pairs), "left_out": 0, "validation": len(pairs)}
    }
    return calibrated(closed_forms(bases)[chosen].network, pairs), record


def _by_pairs(
    train: PairedImages, held: PairedImages, images: Unpaired | None, how: _Way, wrong_share: float
) -> tuple[Encoder, dict[str, Any]]:
    """Choose on held-out pairs, and train on the others that are sound."""
    unpaired = how.degraded(images)
    bases, seen = (bases_of(pairs, unpaired) for pairs in (train, held))
    networks, ranks = judged(bases, seen)
    sound = how.kept(
        "sound", lambda: sound_pairs(train, networks[best_of(ranks)], how.seed).tolist()
    )
    if len(sound) < len(train):
        bases = {name: some.take(np.asarray(sound)) for name, some in bases.items()}
        networks, ranks = judged(bases, seen)
    training = bases[UNADAPTED]
    best = how.kept("start", lambda: best_of(_startable(ranks, unpaired)))
    fine_tuned, curves = fine_tune(
        networks[best],
        training,
        held,
        settings=how.settings,
        seed=how.seed,
        degrade=images.match if images is not None and unpaired else None,
        checkpoint=how.file(_REFINED),
        progress=how.progress,
    )
    bases[_REFINED], seen[_REFINED] = (
        some[UNADAPTED].of_network(fine_tuned) for some in (bases, seen)
    )
    last = judged({_REFINED: bases[_REFINED]}, seen)
    networks, ranks = networks | last[0], ranks | last[1]
    chosen = agreed(best_of(ranks))
    network = calibrated(networks[chosen], held)
    record = verdict("validation pairs", chosen, ranks) | {
        "fine_tuned_from": best,
        "curves": curves,
        "settings": how.settings.model_dump(),
        "pairs": {
            "train": len(training),
            "left_out": len(train) - len(training),
            "validation": len(held),
        },
        "match_probability": match_record(held, network, wrong_share=wrong_share, seed=how.seed),
    }
    if chosen in bases:
        return network, record
    form = closed_forms(bases)[chosen]
    more = seen[form.base].take(agreed(sound_pairs(held, networks[chosen], how.seed)))
    record["pairs"]["fitted_at_last"] = len(training) + len(more)
    return _with_variance_of(network, form.fit(form.training.with_more(more))), record


def _startable(ranks: dict[str, np.ndarray], unpaired: dict[str, Encoder]) -> dict[str, np.ndarray]:
    """Leave out what cannot be refined on degraded images, where there are some.

    They have the anchor's PSF or a wider one, and would be smoothed once more.
    """
    return {
        name: found for name, found in ranks.items() if not (unpaired and name.startswith(SMOOTHED))
    }


def _with_variance_of(other: Encoder, network: Encoder) -> Encoder:
    """Return a network with the variances of one that was judged on pairs it had not seen."""
    network.log_variance.load_state_dict(other.log_variance.state_dict())
    return network

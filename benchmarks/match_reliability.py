"""Measure the reliability of the match probability by survey and magnitude.

``python -m benchmarks.match_reliability [--space S] [--n N] [--surveys NAME ...]`` simulates two
skies, reads them by definition, fits the probability on the true pairs of one, and states it for
pairs of the other: true pairs, and galaxies paired with random others. It prints mean stated less
true share, and the calibration error, in bins of r, at two prior probabilities.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table
from galaxy_da.models.match_probability import MatchProbability, probability
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training.adaptation.match_probability import PairedPosteriors, fit_match_probability

__all__ = ["reliability_rows"]

_SURVEYS = ("sdss", "hsc", "bass-mzls")
_SEEDS = (101, 102)  # of the sky of the fit and of the test
_PRIORS = (0.5, 0.95)
_EDGES = (0.0, 19.0, 20.0, 20.75, 30.0)  # r [mag]
_OTHERS = 20  # random galaxies paired with each
_BINS = 10


def reliability_rows(
    model: MatchProbability, pairs: PairedPosteriors, r_mag: np.ndarray, seed: int = 0
) -> list[dict[str, Any]]:
    """State match probabilities of pairs outside the fit, and compare with the truth.

    Returns a row for each bin of `r_mag`, (n,), and prior: ``pairs``; ``excess``, the mean stated
    probability less the share of true pairs; and ``error``, the mean absolute difference of the
    two over ten bins of probability. Random pairs are weighed so that the prior is the true one.
    """
    n, rng = len(r_mag), np.random.default_rng(seed)
    own = np.arange(n)
    others = (own + rng.integers(1, n, (_OTHERS, n))) % n
    rows = []
    for prior in _PRIORS:
        true = np.repeat([True, False], [n, _OTHERS * n])
        weight = np.where(true, 1.0, (1 - prior) / prior / _OTHERS)
        stated = np.concatenate(
            [
                probability(
                    model.log_ratio(
                        pairs.anchor_mean[anchor],
                        pairs.anchor_variance[anchor],
                        pairs.target_mean,
                        pairs.target_variance,
                    ),
                    prior,
                )
                for anchor in (own, *others)
            ]
        )
        magnitude = np.tile(r_mag, 1 + _OTHERS)
        for low, high in pairwise(_EDGES):
            some = (magnitude >= low) & (magnitude < high)
            share = weight[some] / weight[some].sum()
            off = share * (stated[some] - true[some])
            by_bin = np.bincount((stated[some] * _BINS).astype(int).clip(0, _BINS - 1), off)
            rows.append(
                {
                    "prior": prior,
                    "r": f"{low:g} to {high:g}",
                    "pairs": int(some[:n].sum()),
                    "excess": float(off.sum()),
                    "error": float(np.abs(by_bin).sum()),
                }
            )
    return rows


def _observed(
    space: LatentSpace, names: Sequence[str], n: int, seed: int
) -> dict[str, tuple[PairedPosteriors, np.ndarray]]:
    """Simulate a sky, and return posteriors and r of the galaxies common to DECaLS and a survey."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        definitions = [get_survey(name) for name in (space.anchor, *names)]
        settings = SkySettings(seed=seed, repeat_anchor=False)
        simulate(definitions, n, out, settings, progress=False)
        features = {
            survey.name: extract(space, Sample(out / survey.name / "sample.parquet"))
            for survey in definitions
        }
        truth = read_table(out / "truth.parquet")
    return {name: _paired(truth, features, space.anchor, name) for name in names}


def _paired(
    truth: Any, features: Mapping[str, Features], anchor: str, target: str
) -> tuple[PairedPosteriors, np.ndarray]:
    arrays, known = [], np.ones(truth.num_rows, bool)
    for name in (anchor, target):
        table = features[name].ok()
        rows = pc.index_in(truth[f"{name}_id"], value_set=table["object_id"].combine_chunks())
        rows = pc.fill_null(rows, -1).to_numpy()
        known &= rows >= 0
        arrays += [(vectors(table, column), rows) for column in ("embedding", "variance")]
    posteriors = PairedPosteriors(*(values[rows[known]].astype(float) for values, rows in arrays))
    return posteriors, truth["r_mag"].to_numpy()[known]


def main() -> None:
    """Print the table."""
    parser = command_parser("match_reliability", __doc__)
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=1000, help="galaxies of either sky")
    parser.add_argument("--surveys", nargs="+", default=list(_SURVEYS))
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    fit, test = (_observed(space, given.surveys, given.n, seed) for seed in _SEEDS)
    rows = []
    for name in given.surveys:
        model = fit_match_probability(fit[name][0])
        rows += [{"survey": name, **row} for row in reliability_rows(model, *test[name])]
    print_rows("Reliability of the match probability", rows)


if __name__ == "__main__":
    main()

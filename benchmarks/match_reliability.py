"""Measure the reliability of the match probability by survey and magnitude.

``python -m benchmarks.match_reliability [--space S] [--n N] [--surveys NAME ...] [--adapted NAME
...]`` simulates two skies and states the probability for pairs of the second: true pairs, and
galaxies paired with random others. Surveys are read by definition, with a probability fitted on the
true pairs of the first sky; or they are adapted to that sky, with the probability that `adapt`
stores. It prints mean stated less true share with its noise, and the calibration error, in bins of
r, at two prior probabilities.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import vectors
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table
from galaxy_da.models.match_probability import MatchProbability, probability
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training.adaptation.match_probability import PairedPosteriors, fit_match_probability
from training.adaptation.run import adapt

_SURVEYS = ("sdss", "hsc", "bass-mzls", "kids")
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
    probability less the share of true pairs; ``noise``, the standard error of this; and ``error``,
    the mean absolute difference of the two over ten bins of probability. Random pairs are weighed
    so that the prior is the true one.
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
                    "noise": float(np.sqrt(np.square(off).sum())),
                    "error": float(np.abs(by_bin).sum()),
                }
            )
    return rows


@dataclass(frozen=True)
class _Sky:
    """Folder of a simulated sky, and its truth."""

    folder: Path
    truth: pa.Table

    @classmethod
    def drawn(cls, names: Sequence[str], n: int, seed: int, folder: Path) -> _Sky:
        """Simulate a sky as several surveys observe it."""
        settings = SkySettings(seed=seed, repeat_anchor=False)
        simulate([get_survey(name) for name in names], n, folder, settings, progress=False)
        return cls(folder, read_table(folder / "truth.parquet"))

    def sample(self, name: str) -> Sample:
        """Return the sample of a survey."""
        return Sample(self.folder / name / "sample.parquet")

    def posteriors(self, space: LatentSpace, target: str) -> tuple[PairedPosteriors, np.ndarray]:
        """Return posteriors and r of the galaxies common to the anchor and a survey."""
        arrays, known = [], np.ones(len(self.truth), bool)
        for name in (space.anchor, target):
            table = extract(space, self.sample(name)).ok()
            ids = table["object_id"].combine_chunks()
            rows = pc.fill_null(pc.index_in(self.truth[f"{name}_id"], value_set=ids), -1).to_numpy()
            known &= rows >= 0
            arrays += [(vectors(table, column), rows) for column in ("embedding", "variance")]
        posteriors = PairedPosteriors(
            *(values[rows[known]].astype(float) for values, rows in arrays)
        )
        return posteriors, self.truth["r_mag"].to_numpy()[known]


def _by_definition(space: LatentSpace, name: str, fit: _Sky, test: _Sky) -> list[dict[str, Any]]:
    model = fit_match_probability(fit.posteriors(space, name)[0])
    return reliability_rows(model, *test.posteriors(space, name))


def _adapted(space: LatentSpace, name: str, fit: _Sky, test: _Sky) -> list[dict[str, Any]]:
    pairs = read_table(fit.folder / f"pairs-{space.anchor}-{name}.parquet")
    adapted = adapt(space, fit.sample(space.anchor), fit.sample(name), pairs)
    model = adapted.match_probability(space.anchor, name)
    return reliability_rows(model, *test.posteriors(adapted, name))


def main() -> None:
    """Print the table."""
    parser = command_parser("match_reliability", __doc__)
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=1000, help="galaxies of either sky")
    parser.add_argument("--surveys", nargs="*", default=list(_SURVEYS), help="by definition")
    parser.add_argument("--adapted", nargs="*", default=[], help="surveys to adapt")
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    names = [space.anchor, *dict.fromkeys([*given.surveys, *given.adapted])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fit, test = (_Sky.drawn(names, given.n, s, Path(folder) / str(s)) for s in _SEEDS)
        for reading, surveys in ((_by_definition, given.surveys), (_adapted, given.adapted)):
            for name in surveys:
                start = {"survey": name, "reading": reading.__name__[1:].replace("_", " ")}
                rows += [start | row for row in reading(space, name, fit, test)]
    print_rows("Reliability of the match probability", rows)


if __name__ == "__main__":
    main()

"""The reliability of match probabilities is that of pairs drawn one by one."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.match_reliability import reliability_rows
from galaxy_da.models.match_probability import Population, gaussian_log_ratio
from training.adaptation.match_probability import PairedPosteriors

LATENTS, GALAXIES = 4, 4000
POPULATION = Population(mean=(0.0,) * LATENTS, variance=(1.0,) * LATENTS)


def posteriors(seed=0):
    """Two noisy measurements of each Gaussian galaxy, for which the log ratio is exact."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(GALAXIES, LATENTS))
    variance = np.full((GALAXIES, LATENTS), 0.5)
    one, other = truth + np.sqrt(0.5) * rng.normal(size=(2, GALAXIES, LATENTS))
    return PairedPosteriors(one, variance, other, variance)


def model(bias):
    """The exact log ratio plus a constant."""
    return SimpleNamespace(log_ratio=lambda *pair: gaussian_log_ratio(POPULATION, *pair) + bias)


def drawn_excess(bias, prior, pairs, inside, draws=200_000):
    """Draw pairs, true ones with the prior probability; return mean stated less true share."""
    rng = np.random.default_rng(1)
    target = rng.choice(np.flatnonzero(inside), draws)
    true = rng.random(draws) < prior
    anchor = np.where(true, target, (target + rng.integers(1, GALAXIES, draws)) % GALAXIES)
    ratio = gaussian_log_ratio(
        POPULATION,
        pairs.anchor_mean[anchor],
        pairs.anchor_variance[anchor],
        pairs.target_mean[target],
        pairs.target_variance[target],
    )
    odds = np.exp(ratio + bias) * prior / (1 - prior)
    return (odds / (1 + odds)).mean() - true.mean()


@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_the_excess_is_that_of_pairs_drawn_one_by_one(bias):
    pairs, r_mag = posteriors(), np.random.default_rng(2).uniform(18, 22, GALAXIES)
    rows = reliability_rows(model(bias), pairs, r_mag)
    assert [row["pairs"] for row in rows[:4]] == [
        int(((r_mag >= low) & (r_mag < high)).sum())
        for low, high in ((0, 19), (19, 20), (20, 20.75), (20.75, 30))
    ]
    for row in rows:
        low, high = map(float, row["r"].split(" to "))
        expected = drawn_excess(bias, row["prior"], pairs, (r_mag >= low) & (r_mag < high))
        assert row["excess"] == pytest.approx(expected, abs=0.006)
        if bias:
            assert row["excess"] > 5 * row["noise"] and row["error"] > 0.02
        else:
            assert abs(row["excess"]) < 3 * row["noise"] < 0.04 and row["error"] < 0.025

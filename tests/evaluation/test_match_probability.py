import numpy as np
import pytest
from numpy.testing import assert_allclose

from evaluation.match_probability import LOOKALIKES, calibration, match_trials
from galaxy_da.models.match_probability import MatchProbability, Population

MODEL = MatchProbability(
    population=Population(mean=(0.0, 0.0), variance=(1.0, 1.0)),
    intercept=0.0,
    weights=(0.0, 0.0, 1.0),
    floor=1e-4,
    most=20.0,
)


def observations(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.uniform(0.1, 0.5, (n, 2))


def test_trials_match_brute_force():
    pool, queries, own = observations(40, 0), observations(15, 1), np.arange(15) + 20
    trials = match_trials(MODEL, queries, pool, own)
    stated, same = trials["lookalikes"]
    for k in range(15):
        distance = np.linalg.norm(pool[0] - queries[0][k], axis=1)
        near = np.argsort(distance)[:LOOKALIKES]
        odds = np.exp(MODEL.log_ratio(queries[0][[k]], queries[1][[k]], *(x[near] for x in pool)))
        expected = odds / 40 / (odds / 40 + 39 / 40)
        mine = slice(k * LOOKALIKES, (k + 1) * LOOKALIKES)
        assert_allclose(np.sort(stated[mine]), np.sort(expected))
        assert same[mine].sum() == (own[k] in near)
    stated, same = trials["random"]
    odds = np.exp(MODEL.log_ratio(*queries, *(x[own] for x in pool)))
    assert_allclose(stated[:15], odds / (1 + odds))
    assert_allclose(same, np.arange(30) < 15)


def test_summary_follows_from_the_trials():
    trials = match_trials(MODEL, observations(30, 2), observations(30, 3), np.arange(30))
    summary = calibration(trials)
    for name, (stated, same) in trials.items():
        assert summary[name]["brier"] == pytest.approx(np.square(stated - same).mean())
        assert summary[name]["brier_constant"] == pytest.approx(same.var())
        assert sum(summary[name]["reliability"]["count"]) == summary[name]["n"] == len(same)


def test_a_pool_of_one_is_refused():
    with pytest.raises(ValueError, match="at least two galaxies but holds 1"):
        match_trials(MODEL, observations(1, 0), observations(1, 1), np.zeros(1, int))

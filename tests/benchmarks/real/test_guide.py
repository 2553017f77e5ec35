import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.real.guide import Labelled, _auc, auc_rows


def labelled(name, seed, n=80, shift=0.0):
    rng = np.random.default_rng(seed)
    featured = rng.random(n) < 0.7
    latents = rng.normal(size=(n, 4))
    latents[:, 0] += 3 * featured + shift
    return Labelled(name=name, latents=latents, featured=featured)


def test_every_survey_is_tested_by_every_classifier():
    rows = auc_rows([labelled("a", 1), labelled("b", 2, shift=5.0), labelled("few", 3, n=12)])
    assert [(row["trained"], row["tested"]) for row in rows] == [
        ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")
    ]  # fmt: skip
    for row in rows:  # a shift does not change the order
        assert row["auc_low"] < row["auc"] <= row["auc_high"] + 0.02
        assert row["auc"] > 0.9


def test_the_interval_is_that_of_resampled_images():
    rng = np.random.default_rng(0)
    featured, score = rng.random(60) < 0.5, rng.normal(size=60)
    score[featured] += 1
    found = _auc(featured, score, 0)
    assert found["auc"] == roc_auc_score(featured, score)
    groups = [np.flatnonzero(featured), np.flatnonzero(~featured)]
    draws = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        draws.append(roc_auc_score(featured[rows], score[rows]))
    expected = np.quantile(draws, [0.025, 0.975])
    assert [found["auc_low"], found["auc_high"]] == pytest.approx(expected, abs=0.03)

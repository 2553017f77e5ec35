"""The networks of a probe."""

import numpy as np
import pytest

from evaluation.probes.network import fit_networks


def test_a_rare_quantity_is_predicted_at_its_mean():
    """Two of three galaxies have no bar, and x tells a little of who has: the mean is known."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 8))
    chance = 1 / (1 + np.exp(1 - 2 * x[:, 0]))
    y = np.where(rng.random(len(x)) < chance, rng.exponential(0.13, len(x)), 0)
    (w1, w2), (b1, b2) = fit_networks(x[:4000], y[:4000, None], "identity", 0, weight=0.5)
    test = x[4000:].astype(np.float32)
    outputs = np.tanh(test @ w1 + b1[:, None]) @ w2 + b2[:, None]
    mean, expected = outputs[..., 0].mean(0), 0.13 * chance[4000:]
    assert mean.mean() == pytest.approx(expected.mean(), rel=0.15)
    few, many = chance[4000:] < 0.2, chance[4000:] > 0.6
    assert mean[few].mean() == pytest.approx(expected[few].mean(), rel=0.25)
    assert mean[many].mean() == pytest.approx(expected[many].mean(), rel=0.25)

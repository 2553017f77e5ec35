import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.losses import mmd


def points(n, d=4, seed=0, shift=0.0):
    return torch.tensor(np.random.default_rng(seed).normal(shift, 1, (n, d)))


def squared(a, b):
    return np.array([[float(((x - y) ** 2).sum()) for y in b] for x in a])


def test_mmd_equals_the_sums_over_pairs():
    target, anchor = points(5, seed=1, shift=0.5), points(8, seed=2)
    own = squared(anchor, anchor).mean()
    for width, given in ((own, {}), (0.7, {"bandwidth": torch.tensor(0.7)})):
        expected = np.mean([
            np.exp(-squared(target, target) / (f * width)).mean()
            + np.exp(-squared(anchor, anchor) / (f * width)).mean()
            - 2 * np.exp(-squared(target, anchor) / (f * width)).mean()
            for f in (0.5, 1, 3)
        ])  # fmt: skip
        assert_allclose(mmd(target, anchor, factors=(0.5, 1, 3), **given), expected, rtol=1e-6)


def test_it_ignores_pairing_and_detects_a_shift():
    anchor, target = points(300, seed=1), points(300, seed=2)
    assert_allclose(mmd(anchor.flip(0), anchor), 0, atol=1e-12)
    assert mmd(target + 1, anchor) > 10 * mmd(target, anchor)


def test_gradients_are_finite_where_points_coincide():
    target = points(8).requires_grad_(True)
    mmd(target, target.detach()).backward()
    assert torch.isfinite(target.grad).all()


def test_unequal_widths_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        mmd(torch.zeros(4, 5), torch.zeros(4, 6))

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.losses import mmd


def points(n, d=4, seed=0, shift=0.0):
    return torch.tensor(np.random.default_rng(seed).normal(shift, 1, (n, d)))


def squared(a, b):
    return np.array([[float(((x - y) ** 2).sum()) for y in b] for x in a])


def widths(target, anchor):
    both = squared(torch.cat([target, anchor]), torch.cat([target, anchor]))
    different = both[~np.eye(len(both), dtype=bool)]
    return {
        "anchor": squared(anchor, anchor).mean(),
        "mean": different.mean(),
    }


@pytest.mark.parametrize("bandwidth", ["anchor", "mean"])
def test_mmd_equals_the_sums_over_pairs(bandwidth):
    target, anchor = points(5, seed=1, shift=0.5), points(8, seed=2)
    width = widths(target, anchor)[bandwidth]
    kernel = lambda d, w: np.exp(-d / w)  # noqa: E731
    expected = np.mean([
        kernel(squared(target, target), f * width).mean()
        + kernel(squared(anchor, anchor), f * width).mean()
        - 2 * kernel(squared(target, anchor), f * width).mean()
        for f in (0.5, 1, 3)
    ])  # fmt: skip
    found = mmd(target, anchor, bandwidth=bandwidth, factors=(0.5, 1, 3))
    assert_allclose(found, expected, rtol=1e-6)


def test_it_ignores_pairing_and_detects_a_shift():
    anchor, target = points(300, seed=1), points(300, seed=2)
    assert_allclose(mmd(anchor.flip(0), anchor), 0, atol=1e-12)
    assert mmd(target + 1, anchor) > 10 * mmd(target, anchor)


def test_gradients_are_finite_where_points_coincide():
    target = points(8).requires_grad_(True)
    mmd(target, target.detach()).backward()
    assert torch.isfinite(target.grad).all()


def test_unequal_widths_and_unknown_bandwidths_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        mmd(torch.zeros(4, 5), torch.zeros(4, 6))
    with pytest.raises(ValueError, match="'mode' is not one of anchor, mean"):
        mmd(points(4), points(4), bandwidth="mode")

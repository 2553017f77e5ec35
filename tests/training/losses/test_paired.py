import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.losses import paired


def points(n, d=4, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, d)))


def test_paired_equals_the_mean_over_entries():
    target, anchor, scale = points(5, seed=1), points(5, seed=2), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = np.mean([
        (float(target[i, j]) - float(anchor[i, j])) ** 2 / float(scale[j])
        for i in range(5) for j in range(4)
    ])  # fmt: skip
    assert_allclose(paired(target, anchor, scale), expected)


def test_unpaired_rows_are_refused():
    with pytest.raises(ValueError, match=r"pair row by row .*\(4, 4\) and \(5, 4\)"):
        paired(points(4), points(5), torch.ones(4))

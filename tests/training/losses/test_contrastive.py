import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.losses import contrastive


def points(n, d=4, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, d)))


def test_by_hand():
    target, anchor, temperature = points(6, seed=1), points(6, seed=2), 1.7
    logits = np.array(
        [[-float(((t - a) ** 2).sum()) / temperature for a in anchor] for t in target]
    )
    rows = [np.log(np.exp(logits[i]).sum()) - logits[i, i] for i in range(6)]
    columns = [np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in range(6)]
    assert_allclose(contrastive(target, anchor, temperature), np.mean(rows + columns), rtol=1e-9)


def test_indistinguishable_galaxies_give_log_n():
    same = torch.zeros(7, 3)
    assert_allclose(contrastive(same, same, 1.0), np.log(7), rtol=1e-6)


def test_gradients_are_finite_where_points_coincide():
    target = points(8).requires_grad_(True)
    contrastive(target, target.detach(), 0.1).backward()
    assert torch.isfinite(target.grad).all()


def test_unpaired_rows_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(5, 4\)"):
        contrastive(points(4), points(5), 1.0)

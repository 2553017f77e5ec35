import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.alignment import contrastive, mmd, paired


def points(n, d=4, seed=0, shift=0.0):
    return torch.tensor(np.random.default_rng(seed).normal(shift, 1, (n, d)), dtype=torch.float64)


def test_paired_by_hand():
    target, anchor, scale = points(5, seed=1), points(5, seed=2), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = np.mean([
        (float(target[i, j]) - float(anchor[i, j])) ** 2 / float(scale[j])
        for i in range(5) for j in range(4)
    ])  # fmt: skip
    assert_allclose(paired(target, anchor, scale), expected)


def test_contrastive_by_hand():
    target, anchor, temperature = points(6, seed=1), points(6, seed=2), 1.7
    logits = np.array(
        [[-float(((t - a) ** 2).sum()) / temperature for a in anchor] for t in target]
    )
    rows = [np.log(np.exp(logits[i]).sum()) - logits[i, i] for i in range(6)]
    columns = [np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in range(6)]
    assert_allclose(contrastive(target, anchor, temperature), np.mean(rows + columns), rtol=1e-9)


def test_contrastive_of_indistinguishable_galaxies_is_log_n():
    same = torch.zeros(7, 3)
    assert_allclose(contrastive(same, same, 1.0), np.log(7), rtol=1e-6)


def test_mmd_by_hand():
    target, anchor = points(5, seed=1, shift=0.5), points(6, seed=2)
    squared = lambda a, b: np.array([[float(((x - y) ** 2).sum()) for y in b] for x in a])  # noqa: E731
    width = squared(anchor, anchor).mean()
    expected = np.mean([
        np.exp(-squared(target, target) / (f * width)).mean()
        + np.exp(-squared(anchor, anchor) / (f * width)).mean()
        - 2 * np.exp(-squared(target, anchor) / (f * width)).mean()
        for f in (0.25, 0.5, 1, 2, 4)
    ])  # fmt: skip
    assert_allclose(mmd(target, anchor), expected, rtol=1e-6)


def test_mmd_ignores_pairing_and_sees_a_shift():
    anchor, target = points(300, seed=1), points(300, seed=2)
    assert_allclose(mmd(anchor.flip(0), anchor), 0, atol=1e-12)
    assert mmd(target + 1, anchor) > 10 * mmd(target, anchor)


def test_gradients_are_finite_where_points_coincide():
    target = points(8).requires_grad_(True)
    loss = mmd(target, target.detach()) + contrastive(target, target.detach(), 0.1)
    loss.backward()
    assert torch.isfinite(target.grad).all()


@pytest.mark.parametrize(
    "term", [lambda a, b: paired(a, b, torch.ones(4)), lambda a, b: contrastive(a, b, 1)]
)
def test_unpaired_rows_are_refused(term):
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(5, 4\)"):
        term(points(4), points(5))

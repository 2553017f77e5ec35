import numpy as np
import pytest

from evaluation.domains import domain_auc


def latents(n=400, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.integers(0, 40, n)


def test_mixed_shifted_and_scaled_domains():
    anchor, target, cells = latents()
    mixed = domain_auc(anchor, target, cells)
    assert all(abs(auc - 0.5) < 0.06 for auc in mixed.values())
    shifted = domain_auc(anchor, target + 1.5, cells)
    assert all(auc > 0.95 for auc in shifted.values())
    wider = domain_auc(anchor, 3 * target, cells)
    assert wider["boosting"] > 0.85 and abs(wider["logistic"] - 0.5) < 0.1


def test_logistic_auc_of_a_known_shift():
    anchor, target, cells = latents(4000, 1, 1)
    expected = 0.7602  # Phi(1 / sqrt(2)) of unit Gaussians one apart
    assert domain_auc(anchor, target + 1, cells)["logistic"] == pytest.approx(expected, abs=0.02)


def test_equal_latents_cannot_be_classified():
    anchor, _, cells = latents()
    assert all(auc <= 0.5 for auc in domain_auc(anchor, anchor.copy(), cells).values())


def test_a_field_of_few_cells_is_refused():
    anchor, target, cells = latents()
    with pytest.raises(ValueError, match="in 3 cells"):
        domain_auc(anchor, target, cells % 3)

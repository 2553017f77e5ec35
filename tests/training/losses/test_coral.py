import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from training.losses import coral


def test_it_matches_numpy_covariances():
    s, t = (np.random.default_rng(i).normal(size=(40 + i, 5)) for i in (1, 2))
    expected = ((np.cov(s.T) - np.cov(t.T)) ** 2).sum() / (4 * 5**2)
    assert_allclose(coral(torch.tensor(s), torch.tensor(t)), expected, rtol=1e-9)


def test_it_is_blind_to_a_shift_and_sees_a_stretch():
    x = torch.tensor(np.random.default_rng(0).normal(size=(50, 3)))
    assert_allclose(coral(x + 7, x), 0, atol=1e-12)
    assert coral(2 * x, x) > 0.1


def test_unequal_widths_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        coral(torch.zeros(4, 5), torch.zeros(4, 6))

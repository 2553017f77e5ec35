"""Fast hyperbolic functions, against NumPy in double precision."""

import numpy as np
import pytest
import torch

from galaxy_da.images.hyperbolic import asinh, sinh


@pytest.mark.parametrize(("ours", "exact"), [(asinh, np.arcsinh), (sinh, np.sinh)])
def test_they_agree_with_numpy(ours, exact):
    x = np.concatenate([-np.logspace(-6, 1.9, 2000), [0], np.logspace(-6, 1.9, 2000)])
    x = x.astype(np.float32)
    found = ours(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, exact(x.astype(np.float64)), rtol=1e-5, atol=3e-7)
    assert found[2000] == 0


def test_infinite_light_stays_infinite():
    assert sinh(torch.tensor([100.0, -100.0])).tolist() == [float("inf"), -float("inf")]

import numpy as np
import torch
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from training.losses import dependence


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_dependence_equals_the_trace_of_centred_kernels():
    first, second = draw(30, 3), draw(30, 2, seed=1)
    centring = np.eye(30) - 1 / 30
    kernels = []
    for values in (first, second):
        squared = cdist(values, values, "sqeuclidean")
        kernels.append(centring @ np.exp(-squared / squared.mean()) @ centring)
    k, m = kernels
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert_allclose(dependence(first, second), expected, rtol=1e-4)


def test_functions_of_the_conditions_depend_on_them():
    conditions = draw(400, 2)
    assert_allclose(dependence(conditions, conditions), 1, rtol=1e-5)
    square = conditions.square() - 1  # no linear correlation
    assert dependence(square, conditions) > 4 * dependence(draw(400, 2, seed=2), conditions)


def test_its_gradient_is_finite_where_instruments_are_equal():
    latents = draw(20, 4).requires_grad_()
    dependence(latents, torch.ones(20, 3)).backward()
    assert torch.isfinite(latents.grad).all()

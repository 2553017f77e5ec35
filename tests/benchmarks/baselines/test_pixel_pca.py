import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose

from benchmarks.baselines import AdaptationData, PixelPCA
from galaxy_da.images.inputs import Inputs
from galaxy_da.surveys import get_survey


def inputs(n=60, seed=0):
    return Inputs.plain(torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed)))


def data(bands=("g", "r", "z"), **changes):
    space = make_space()
    encoder = space.by_definition(get_survey("sdss"), bands)
    return AdaptationData(
        space=space, encoder=encoder, **{"anchor": inputs(), "target": inputs(), **changes}
    )


def test_it_equals_the_singular_vectors():
    strength = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    few = (torch.randn(60, 5) * strength) @ torch.randn(5, 3 * 64 * 64)
    fitted = PixelPCA(components=5).fit(data(anchor=Inputs.plain(few.view(60, 3, 64, 64))))
    pixels = few.double().numpy()
    _, _, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    fresh = inputs(10, seed=9)
    expected = (fresh.images.flatten(1).double().numpy() - pixels.mean(0)) @ axes[:5].T
    for project in (fitted.anchor, fitted.target):
        assert_allclose(project(fresh).abs(), np.abs(expected), rtol=1e-3, atol=0.01)
    assert_allclose(fitted.record["explained_variance"], 1, rtol=1e-5)


def test_a_missing_band_is_replaced_by_the_nearest():
    target = inputs(50)
    target.images[:, 2] = 0
    fitted = PixelPCA(components=4).fit(data(("g", "r"), target=target))
    whole = Inputs.plain(target.images[:, [0, 1, 1]])
    assert torch.equal(fitted.target(target), fitted.anchor(whole))


def test_wrong_shapes_and_few_images_are_refused():
    with pytest.raises(ValueError, match=r"target images must have shape \(n, 3, y, x\).*\(60, 2"):
        data(target=Inputs.plain(inputs().images[:, :2]))
    with pytest.raises(ValueError, match=r"40 components need as many .* 20"):
        PixelPCA().fit(data(anchor=inputs(20)))

import numpy as np
import torch
from numpy.testing import assert_allclose

from galaxy_da.models import Architecture, Encoder
from training.closed_form import ridge_from_features, ridge_from_latents

SMALL = Architecture(widths=(8, 16), blocks=(1, 1), features=12, latents=4, pixels=16)


def encoder():
    torch.manual_seed(0)
    return Encoder(SMALL).eval().requires_grad_(False)


def test_a_linear_relation_is_found_exactly():
    network = encoder()
    images = torch.randn(400, 3, 16, 16)
    features = network.features(images)
    rng = np.random.default_rng(0)
    slope = torch.tensor(rng.normal(size=(4, 4)), dtype=torch.float32)
    anchor = network(images).mean @ slope.T + 0.3
    for make in (ridge_from_latents, ridge_from_features):
        mapped = make(network, features, anchor)
        assert_allclose(mapped(images).mean, anchor, atol=0.02 * float(anchor.std()))


def test_the_body_and_the_original_stay():
    network = encoder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = network.features(torch.randn(100, 3, 16, 16))
    mapped = ridge_from_features(network, features, torch.randn(100, 4))
    changed = {
        name for name, value in mapped.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"mean.weight", "mean.bias"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_noise_shrinks_the_map():
    network = encoder()
    features = network.features(torch.randn(60, 3, 16, 16))
    unrelated = torch.randn(60, 4)
    mapped = ridge_from_features(network, features, unrelated)
    assert mapped.mean(features).std() < 0.5 * unrelated.std()

import numpy as np
import ot
import torch
from numpy.testing import assert_allclose

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Architecture, Encoder
from training.adaptation.closed_form import match_covariances, match_moments, ridge_to_identity

SMALL = Architecture(widths=(8, 16), blocks=(1, 1), features=12, latents=4, pixels=16)


def encoder():
    torch.manual_seed(0)
    return Encoder(SMALL).eval().requires_grad_(False)


def inputs(n):
    return Inputs.plain(torch.randn(n, 3, 16, 16))


def test_an_exact_linear_relation_is_recovered():
    network = encoder()
    images = inputs(400)
    features = network.features(images)
    rng = np.random.default_rng(0)
    slope = torch.tensor(rng.normal(size=(4, 4)), dtype=torch.float32)
    anchor = network(images).mean @ slope.T + 0.3
    mapped = ridge_to_identity(network, network.mean(features), anchor)
    assert_allclose(mapped(images).mean, anchor, atol=0.02 * float(anchor.std()))


def test_only_the_last_layer_changes_and_in_a_copy():
    network = encoder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    latents = network.mean(network.features(inputs(100)))
    mapped = ridge_to_identity(network, latents, torch.randn(100, 4))
    changed = {
        name for name, value in mapped.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"mean.weight", "mean.bias"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_few_noisy_pairs_leave_the_encoder_nearly_as_it_is():
    network = encoder()
    features = network.features(inputs(12))
    latents = network.mean(features)
    noisy = latents + 0.05 * latents.std() * torch.randn(12, 4)
    mapped = ridge_to_identity(network, latents, noisy).mean(features)
    assert (mapped - latents).std() < 0.1 * latents.std()


def test_moments_and_covariances_are_matched_without_pairs():
    network = encoder()
    features = network.features(inputs(500))
    latents = network.mean(features)
    anchor = torch.randn(700, 4) @ torch.randn(4, 4) + 3
    standardised = match_moments(network, latents, anchor).mean(features)
    assert_allclose(standardised.mean(0), anchor.mean(0), atol=1e-3)
    assert_allclose(standardised.std(0), anchor.std(0), rtol=1e-3)
    whole = match_covariances(network, latents, anchor).mean(features)
    assert_allclose(whole.mean(0), anchor.mean(0), atol=1e-3)
    assert_allclose(torch.cov(whole.T), torch.cov(anchor.T), rtol=1e-2, atol=1e-2)


def test_the_covariance_map_equals_pots_empirical_map():
    network = encoder()
    features = network.features(inputs(500))
    latents = network.mean(features)
    anchor = torch.randn(700, 4) @ torch.randn(4, 4) + 3
    slope, offset = ot.gaussian.empirical_bures_wasserstein_mapping(
        latents.double().numpy(), anchor.double().numpy(), reg=1e-9
    )
    mapped = match_covariances(network, latents, anchor).mean(features)
    assert_allclose(mapped, latents.double().numpy() @ slope + offset, rtol=1e-2, atol=1e-2)


def test_galaxy_and_nuisance_latents_are_not_mixed():
    torch.manual_seed(0)
    network = Encoder(SMALL.model_copy(update={"nuisance_latents": 1})).eval().requires_grad_(False)
    latents = network.mean(network.features(inputs(500)))
    whole = match_covariances(network, latents, latents @ torch.randn(4, 4))
    slope = torch.linalg.lstsq(network.mean.weight.T, whole.mean.weight.T).solution
    assert_allclose(slope[3, :3], 0, atol=1e-3)
    assert_allclose(slope[:3, 3], 0, atol=1e-3)

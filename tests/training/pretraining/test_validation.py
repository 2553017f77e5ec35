import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample
from torch.distributions import Normal, kl_divergence

from galaxy_da.extraction.loading import load_images
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from training.pretraining.validation import sky_biases, validation_metrics

SIDE = Frame().pixels


@pytest.fixture
def sample(tmp_path):
    return Sample(write_sample(tmp_path / "sky", blobs(40, 140, 0.262)))


def read(space, sample):
    inputs, ok = load_images(sample, np.arange(len(sample)), space.encoder("decals"), space.frame)
    assert ok.all()
    return inputs


def noise():
    pixels = np.random.default_rng(0).normal(0, 0.3, (200, 3, SIDE, SIDE))
    return pixels.astype(np.float32)


def test_metrics_are_those_of_decoded_posterior_means(sample):
    space = make_space(nuisance_latents=2)
    inputs = read(space, sample)
    found = validation_metrics(space, inputs)
    posterior = space.encode(inputs, "decals", precision="fp32")
    error = space.decode(posterior.mean, precision="fp32") - inputs.images[:, :3]
    assert found["reconstruction"] == pytest.approx(float(error.square().mean()), rel=1e-3)
    expected = kl_divergence(Normal(posterior.mean, posterior.variance.sqrt()), Normal(0.0, 1.0))
    np.testing.assert_allclose(found["kl_per_latent"], expected.mean(0), rtol=0.02, atol=2e-3)
    assert found["kl_nat"] == pytest.approx(float(expected.sum(1).mean()), rel=0.02)
    assert found["active_latents"] == int((posterior.mean.numpy().var(0) > 0.01).sum())
    assert found["validation_images"] == 40


def test_bright_decoder_raises_the_sky_bias(sample):
    space = make_space(nuisance_latents=2)
    inputs = read(space, sample)
    before = validation_metrics(space, inputs)["sky_bias"]
    with torch.no_grad():
        space.decoder.body[-1].bias += 0.5
    assert validation_metrics(space, inputs)["sky_bias"] > before + 0.5


def test_metrics_decode_unpooled_latents(sample):
    """Latents pooled over symmetries hold no orientation and would decode to a mean of all."""
    pooled, plain = make_space(symmetric=True), make_space()
    inputs = read(plain, sample)
    assert validation_metrics(pooled, inputs) == validation_metrics(plain, inputs)


@pytest.mark.parametrize("bias", [0.0, 0.03])
def test_a_known_sky_bias_is_found_and_no_bias_is_not(bias):
    images = noise()
    images[:, :, 5:9, 5:9] += 3.0  # a neighbour, not sky
    images[:, :, SIDE // 2 - 4 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 4] += 5.0
    found = sky_biases(images, np.full_like(images, bias), Frame())
    np.testing.assert_allclose(found, np.full(3, bias / 0.3), atol=0.01)


def test_trails_in_one_band_and_unobserved_pixels_are_no_sky():
    images = noise()
    decoded = np.zeros_like(images)
    before = sky_biases(images, decoded, Frame())
    images[:, 1, :, 4:6] = 6.0
    images[..., :3, :], decoded[..., :3, :] = 0.0, 2.0
    np.testing.assert_allclose(sky_biases(images, decoded, Frame()), before, atol=0.005)

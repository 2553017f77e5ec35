import sys

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample
from torch.distributions import Normal, kl_divergence

from benchmarks.latent_usage import main
from benchmarks.measures.reconstruction import encode_sample
from galaxy_da.io.samples import Sample
from training.pretraining.validation import validation_metrics


@pytest.fixture
def sample(tmp_path):
    return Sample(write_sample(tmp_path / "sky", blobs(40, 140, 0.262)))


def test_metrics_are_those_of_decoded_posterior_means(sample):
    space = make_space(nuisance_latents=2)
    encoded = encode_sample(space, sample, 100)
    found = validation_metrics(space, encoded.inputs)
    error = (
        space.decode(torch.from_numpy(encoded.mean), precision="fp32") - encoded.images
    ).square()
    assert found["reconstruction"] == pytest.approx(float(error.mean()), rel=1e-3)
    here = Normal(torch.from_numpy(encoded.mean), torch.from_numpy(encoded.variance).sqrt())
    expected = kl_divergence(here, Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose(found["kl_per_latent"], expected, rtol=0.02, atol=2e-3)
    assert found["kl_nat"] == pytest.approx(float(expected.sum()), rel=0.02)
    assert found["active_latents"] == int((encoded.mean.var(0) > 0.01).sum())
    assert found["validation_images"] == 40


def test_bright_decoder_raises_the_sky_bias(sample):
    space = make_space(nuisance_latents=2)
    inputs = encode_sample(space, sample, 100).inputs
    before = validation_metrics(space, inputs)["sky_bias"]
    with torch.no_grad():
        space.decoder.body[-1].bias += 0.5
    assert validation_metrics(space, inputs)["sky_bias"] > before + 0.5


def test_metrics_decode_unpooled_latents(sample):
    """Latents pooled over symmetries hold no orientation and would decode to a mean of all."""
    pooled, plain = make_space(symmetric=True), make_space()
    inputs = encode_sample(plain, sample, 100).inputs
    assert validation_metrics(pooled, inputs) == validation_metrics(plain, inputs)
    encoded = encode_sample(pooled, sample, 100)
    assert np.array_equal(encoded.mean, encode_sample(plain, sample, 100).mean)


def test_command_prints_every_latent(sample, tmp_path, monkeypatch, capsys):
    space = make_space(nuisance_latents=2)
    space.save(tmp_path / "space")
    monkeypatch.setattr(sys, "argv", ["latent_usage", str(tmp_path / "space"), str(sample.path)])
    main()
    out = capsys.readouterr().out
    assert "sky_bias" in out and out.count("galaxy") == 4 and out.count("nuisance") == 2

import numpy as np
import pytest
import torch

from galaxy_da.models.networks import Architecture, Decoder, Encoder, VariationalAutoencoder

SMALL = Architecture(widths=(8, 16), blocks=(1, 1), features=32, latents=5, pixels=32)


def test_shapes():
    torch.manual_seed(0)
    model = VariationalAutoencoder(SMALL)
    images = torch.randn(4, 3, 32, 32)
    posterior, decoded = model(images)
    assert posterior.mean.shape == posterior.variance.shape == (4, 5)
    assert (posterior.variance > 0).all()
    assert decoded.shape == images.shape


def test_latents_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    encoder = Encoder(SMALL).eval()
    images = torch.randn(6, 3, 32, 32)
    torch.testing.assert_close(encoder(images).mean[2:3], encoder(images[2:3]).mean)


@pytest.mark.parametrize(("planes", "source"), [(1, [0, 0, 0]), (5, [0, 1, 4]), (2, [1, 0, 1])])
def test_an_encoder_of_other_planes_is_the_same_function(planes, source):
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    torch.nn.init.normal_(encoder.stem.weight)
    images = torch.randn(3, planes, 32, 32)
    expected = encoder(images[:, source]).mean
    torch.testing.assert_close(encoder.with_planes(planes, source)(images).mean, expected)


def test_sky_may_be_negative():
    torch.manual_seed(0)
    images = Decoder(SMALL)(torch.randn(8, 5))
    assert images.min() < 0 < images.max()


def test_draws_follow_the_posterior():
    torch.manual_seed(0)
    model = VariationalAutoencoder(SMALL)
    model.decoder = torch.nn.Identity()
    images = torch.randn(1, 3, 32, 32).expand(20_000, -1, -1, -1)
    posterior, draws = model(images)
    np.testing.assert_allclose(draws.mean(0).detach(), posterior.mean[0].detach(), atol=0.04)
    np.testing.assert_allclose(draws.var(0).detach(), posterior.variance[0].detach(), rtol=0.05)

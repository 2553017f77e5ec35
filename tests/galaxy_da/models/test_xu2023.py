import pytest
import torch

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Architecture, VariationalAutoencoder


@torch.no_grad()
def test_xu2023_has_2048_features_and_40_latents_of_256_pixels():
    model = VariationalAutoencoder(Architecture(kind="galaxy-vae", pixels=256))
    images = torch.randn(2, 3, 256, 256)
    assert model.encoder.features(Inputs.plain(images)).shape == (2, 2048)
    posterior, decoded = model(Inputs.plain(images))
    assert posterior.mean.shape == (2, 40) and decoded.shape == images.shape
    assert float(decoded.min()) >= 0  # so the seed cannot draw a negative sky


@pytest.mark.parametrize("kind", ["residual", "galaxy-vae"])
@pytest.mark.parametrize("pixels", [69, 128, 158])
def test_any_side_is_padded_and_cropped(kind, pixels):
    torch.manual_seed(0)
    architecture = Architecture(kind=kind, pixels=pixels, bands=1, widths=(4, 4, 4))
    model = VariationalAutoencoder(architecture)
    images = torch.randn(2, 1, pixels, pixels)
    _, decoded = model(Inputs.plain(images))
    assert decoded.shape == images.shape
    moved = images.clone()
    moved[..., :16, :16] += 10  # the corner is seen
    seen = [model.encoder.features(Inputs.plain(batch)) for batch in (images, moved)]
    assert not torch.equal(*seen)

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from galaxy_da.models.networks import Architecture, Encoder
from galaxy_da.models.smoothing import Smoothing
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

SMALL = Architecture(
    widths=(8, 16),
    blocks=(1, 1),
    features=32,
    latents=5,
    nuisance_latents=2,
    symmetric=True,
    pixels=32,
)


def test_planes_are_smoothed_in_flux():
    """As scipy does it, which computes its own taps."""
    images = torch.randn(4, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 3
    variance = torch.tensor([1.3, 0.0, 0.4])
    found = Smoothing.by(variance)(images)
    flux = np.sinh(images.double().numpy())
    expected = np.empty_like(flux)
    for plane, sigma in enumerate(variance.sqrt().tolist()):
        expected[:, plane] = gaussian_filter(
            flux[:, plane], (0, sigma, sigma), mode="nearest", radius=5
        )
    assert_allclose(found, np.arcsinh(expected), atol=2e-5)


def test_bf16_does_not_reach_it():
    images = 8 * torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    layer = Smoothing.by(torch.tensor([0.8]))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(images)
    torch.testing.assert_close(found, layer(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["features", "forward", "pooled"])
def test_an_encoder_that_smooths_gives_what_it_gives_on_smoothed_images(name):
    torch.manual_seed(0)
    plain, layer = Encoder(SMALL).eval(), Smoothing.by(torch.tensor([1.0, 0.0, 0.5]))
    images = torch.randn(3, 3, 32, 32)
    smoothed = plain.smoothed(layer)
    torch.testing.assert_close(getattr(smoothed, name)(images), getattr(plain, name)(layer(images)))
    assert set(smoothed.state_dict()) - set(plain.state_dict()) == {"smoothing.taps"}


def test_galaxy_latents_of_turned_images_are_the_same():
    torch.manual_seed(0)
    network = Encoder(SMALL).eval().smoothed(Smoothing.by(torch.tensor([1.0, 0.7, 0.5])))
    images = torch.randn(2, 3, 32, 32)
    for k in range(SYMMETRIES):
        torch.testing.assert_close(
            network.pooled(apply_symmetry(images, k)).mean[:, :3],
            network.pooled(images).mean[:, :3],
        )

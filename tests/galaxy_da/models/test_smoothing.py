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
    """Compare with scipy, which computes its own kernel."""
    images = torch.randn(4, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 3
    variance = torch.tensor([1.3, 0.0, 0.4])
    found = Smoothing.from_variance(variance)(images)
    flux = np.sinh(images.double().numpy())
    expected = np.empty_like(flux)
    for plane, sigma in enumerate(variance.sqrt().tolist()):
        expected[:, plane] = gaussian_filter(
            flux[:, plane], (0, sigma, sigma), mode="nearest", radius=5
        )
    assert_allclose(found, np.arcsinh(expected), atol=2e-5)


def test_smoothing_is_never_in_bf16():
    images = 8 * torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    layer = Smoothing.from_variance(torch.tensor([0.8]))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(images)
    torch.testing.assert_close(found, layer(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["features", "forward", "pooled"])
def test_an_encoder_with_smoothing_matches_one_of_smoothed_images(name):
    torch.manual_seed(0)
    plain, layer = Encoder(SMALL).eval(), Smoothing.from_variance(torch.tensor([1.0, 0.0, 0.5]))
    images = torch.randn(3, 3, 32, 32)
    smoothed = plain.with_smoothing(layer)
    torch.testing.assert_close(getattr(smoothed, name)(images), getattr(plain, name)(layer(images)))
    assert set(smoothed.state_dict()) - set(plain.state_dict()) == {"smoothing.taps"}


def test_galaxy_latents_of_rotated_images_are_the_same():
    torch.manual_seed(0)
    network = (
        Encoder(SMALL).eval().with_smoothing(Smoothing.from_variance(torch.tensor([1.0, 0.7, 0.5])))
    )
    images = torch.randn(2, 3, 32, 32)
    for k in range(SYMMETRIES):
        torch.testing.assert_close(
            network.pooled(apply_symmetry(images, k)).mean[:, :3],
            network.pooled(images).mean[:, :3],
        )

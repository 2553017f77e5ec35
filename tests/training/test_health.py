import pytest
import torch

from training.health import sky_bias


def noise(n=200):
    return torch.randn(n, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_bias_is_that_of_the_worst_band_in_units_of_its_noise():
    images = noise() * torch.tensor([0.3, 0.6])[:, None, None]
    decoded = torch.zeros_like(images)
    decoded[:, 1] -= 0.06
    assert sky_bias(images, decoded) == pytest.approx(-0.1, abs=0.01)


def test_galaxies_in_the_middle_and_pixels_never_seen_do_not_count():
    images = noise()
    decoded = torch.zeros_like(images)
    decoded[..., 12:20, 12:20] = 100.0
    images[..., :4, :], decoded[..., :4, :] = 0.0, 7.0
    assert abs(sky_bias(images, decoded)) < 0.01
    assert sky_bias(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)) is None

import numpy as np
import pytest
import torch

from galaxy_da.images.stretches import apply_stretch, invert_stretch
from galaxy_da.surveys import builtin_surveys, get_survey


def viewer_rgb(flux, scales, m=0.03, q=20):
    """Apply the Legacy viewer's formula pixel by pixel (flux in red, green, blue order)."""
    out = np.zeros(flux.shape)
    for y in range(flux.shape[1]):
        for x in range(flux.shape[2]):
            value = [flux[b, y, x] * scales[b] + m for b in range(3)]
            mean = sum(max(0.0, v) for v in value) / 3 + 1e-9
            factor = np.arcsinh(q * mean) / np.sqrt(q) / mean
            out[:, y, x] = [min(max(v * factor, 0.0), 1.0) for v in value]
    return out


def test_decals_stretch_matches_the_viewers_formula():
    stretch = get_survey("decals").stretch
    flux = np.random.default_rng(0).normal(0.02, 0.05, (3, 6, 6))
    expected = viewer_rgb(flux, stretch.scales)
    got = apply_stretch(torch.tensor(flux), stretch).numpy() / 255
    assert np.abs(got - expected).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("name", [s.name for s in builtin_surveys().values() if s.stretch])
def test_inverse_recovers_flux_to_rounding(name):
    stretch = get_survey(name).stretch
    flux = torch.rand(2, 3, 32, 32).pow(3) * 0.5 / torch.tensor(stretch.scales)[:, None, None]
    colour = apply_stretch(flux, stretch)
    kept = ((colour > 0) & (colour < 255)).all(1, keepdim=True).expand_as(colour)
    assert kept.float().mean() > 0.5
    back = invert_stretch(colour, stretch)
    step = invert_stretch((colour.int() + 2).clamp(max=255).to(torch.uint8), stretch) - back
    assert ((back - flux).abs() <= step.abs() + 1e-6)[kept].all()


def test_every_colour_has_a_finite_flux():
    stretch = get_survey("sdss").stretch
    levels = torch.tensor([0, 1, 128, 254, 255], dtype=torch.uint8)
    colour = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 5, 25)
    assert torch.isfinite(invert_stretch(colour, stretch)).all()

import math
from functools import partial

import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose
from psf_helpers import SCALE, SIGMA, match_of, star, variance

from galaxy_da.surveys import get_survey
from training.adaptation.image_matching import ImageMatch, background_noise, excess_variance

match = partial(match_of, ImageMatch)


@pytest.mark.parametrize(("anchor", "target"), [(1.3, 2.2), (1.4, 1.48)])
def test_a_star_gets_the_other_psf_and_keeps_its_flux(anchor, target):
    observed = torch.asinh(star(anchor) / 0.1)[None, None]
    found = 0.1 * torch.sinh(match(anchor, target)(observed))[0, 0]
    expected = star(target)
    assert_allclose(found, expected, atol=4e-3 * float(expected.max()))
    assert_allclose(found.sum(), expected.sum(), rtol=2e-3)
    assert_allclose(variance(found), variance(expected), rtol=0.02)


def test_a_sharper_target_leaves_the_psf_as_it_is():
    observed = torch.asinh(star(2.2) / 0.1)[None, None]
    assert_allclose(match(2.2, 1.5)(observed), observed, atol=1e-4)


def test_noise_rises_to_the_targets_and_stays_white():
    torch.manual_seed(0)
    noise = 0.02 * torch.randn(200, 1, 64, 64)
    matched = match(0.75, 1.4, 0.02, 0.05)(torch.asinh(noise / 0.1))
    linear = 0.1 * torch.sinh(matched)
    assert_allclose(linear.std(), 0.05, rtol=0.01)
    assert_allclose(background_noise(linear), 0.05, rtol=0.02)
    neighbours = (linear[..., 1:] * linear[..., :-1]).mean() / linear.var()
    assert abs(neighbours) < 0.01


def test_without_noise_to_add_convolution_only_lowers_it():
    torch.manual_seed(0)
    noise = 0.05 * torch.randn(100, 1, 64, 64)
    linear = 0.1 * torch.sinh(match(0.9, 1.4, 0.05, 0.0)(torch.asinh(noise / 0.1)))
    sigma2 = (1.4**2 - 0.9**2) * SIGMA**2 / SCALE**2
    expected = 0.05 / math.sqrt(4 * math.pi * sigma2)  # of a well sampled Gaussian kernel
    assert_allclose(linear.std(), expected, rtol=0.05)


def test_noise_is_measured_beside_a_galaxy():
    torch.manual_seed(0)
    images = 5 * star(4.0, peak=50.0) + 0.03 * torch.randn(100, 2, 64, 64)
    assert_allclose(background_noise(images), [0.03, 0.03], rtol=0.03)


def sides(survey, bands, scale=1.0):
    """Space, encoder, and blank images of the anchor and of a survey."""
    torch.manual_seed(0)
    space = make_space()
    encoder = space.unadapted(get_survey(survey), bands)
    softening = torch.tensor([
        space.frame.softening_at(encoder.survey.band(b).wavelength_nm) for b in encoder.bands
    ])[:, None, None]  # fmt: skip
    noise = 0.01 * torch.randn(50, len(encoder.bands), 64, 64)
    anchor = 0.02 * torch.randn(50, 3, 64, 64) / torch.tensor([0.07, 0.1, 0.25])[:, None, None]
    return space, encoder, torch.asinh(anchor), torch.asinh(scale * noise / softening)


def test_widths_come_from_the_definitions_and_noise_from_the_images():
    hsc, decals = get_survey("hsc"), get_survey("decals")
    found = ImageMatch.to_target(*sides("hsc", ("g", "r", "z")))
    expected = [
        (hsc.band(b).psf_fwhm_arcsec ** 2 - decals.band(b).psf_fwhm_arcsec ** 2)
        * SIGMA**2 / SCALE**2
        for b in ("g", "r", "z")
    ]  # fmt: skip
    assert_allclose(found.variance_px2, expected, rtol=1e-5)
    assert_allclose(found.noise_from, 0.02, rtol=0.03)
    assert_allclose(found.noise_to, 0.01, rtol=0.03)
    assert not found.degrades
    assert ImageMatch.to_target(*sides("hsc", ("g", "r", "z"), scale=10)).degrades


def test_the_anchors_blank_sky_gets_the_targets_noise():
    some = sides("sdss", ("g", "r", "z"), scale=10)
    found = ImageMatch.to_target(*some)
    made = found(some[2], torch.Generator().manual_seed(0))
    linear = torch.sinh(made) * found.softening_to[:, None, None]
    assert_allclose(linear.std((0, 2, 3)), found.noise_to, rtol=0.03)


def test_flux_of_a_band_comes_from_the_nearest():
    some = sides("euclid-vis", ("VIS",))
    found, frame = ImageMatch.to_target(*some), some[0].frame
    assert found.source.tolist() == [frame.bands.index("r")]
    softening = torch.tensor(frame.softening)[:, None, None]
    observed = torch.asinh(torch.stack([star(2.0, 10), star(2.0, 20), star(2.0, 30)]) / softening)
    made = torch.sinh(found(observed[None], torch.Generator().manual_seed(0))) * found.softening_to
    assert_allclose(made.sum(), star(2.0, 20).sum(), rtol=0.05)


def test_only_bands_clearly_sharper_than_the_anchor_are_smoothed():
    space = make_space()
    names = {"hsc": "grizy", "bass-mzls": "grz", "sdss": "ugriz"}
    excess = {
        name: excess_variance(space, space.unadapted(get_survey(name), bands, every_band=True))
        for name, bands in names.items()
    }
    expected = [1.48**2 - 0.79**2, 1.33**2 - 0.75**2, 1.33**2 - 0.61**2]  # i is nearest to r
    assert_allclose(excess["hsc"][:3], np.array(expected) * (SIGMA / SCALE) ** 2, rtol=1e-4)
    assert (excess["bass-mzls"] > 0).tolist() == [False, False, True]
    assert not excess["sdss"].any()

import math

import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose

from galaxy_da.surveys import get_survey
from training.baselines import AdaptationData, PsfMatching
from training.baselines.psf_matching import PsfNoiseMatch, background_noise

SCALE = 0.524
SIGMA = 1 / math.sqrt(8 * math.log(2))
GRID = np.arange(64) - 31.5


def star(fwhm_arcsec, peak=20.0):
    """A Gaussian star on the frame's pixels, unit flux times a peak factor."""
    sigma = fwhm_arcsec * SIGMA / SCALE
    profile = np.exp(-0.5 * (GRID[:, None] ** 2 + GRID[None, :] ** 2) / sigma**2)
    return torch.tensor(peak * profile / (2 * math.pi * sigma**2), dtype=torch.float32)


def variance(image):
    """Second moment along an axis [pixel^2]."""
    weight = image.double().numpy()
    return float((weight.sum(0) * GRID**2).sum() / weight.sum())


def match(target_fwhm, anchor_fwhm, target_noise=1e-6, anchor_noise=1e-6, softening=0.1):
    sigma2 = ((anchor_fwhm * SIGMA) ** 2 - (target_fwhm * SIGMA) ** 2) / SCALE**2
    one = lambda value: torch.tensor([value])  # noqa: E731
    return PsfNoiseMatch(
        softening=one(softening), variance_px2=one(sigma2),
        anchor_noise=one(anchor_noise), target_noise=one(target_noise),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "anchor", "error"), [(1.3, 2.2, 4e-3), (1.4, 1.48, 4e-3), (2.2, 1.5, 0.015)]
)
def test_a_star_gets_the_others_width_and_keeps_its_flux(target, anchor, error):
    seen = torch.asinh(star(target) / 0.1)[None, None]
    found = 0.1 * torch.sinh(match(target, anchor)(seen))[0, 0]
    expected = star(anchor)
    assert_allclose(found, expected, atol=error * float(expected.max()))
    assert_allclose(found.sum(), expected.sum(), rtol=2e-3)
    assert_allclose(variance(found), variance(expected), rtol=5 * error)


def test_noise_rises_to_the_anchors_and_stays_white():
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


def test_deconvolution_is_held_back_by_noise():
    """Stars get sharper by what their noise allows, which stays in bounds; a division would not."""
    torch.manual_seed(0)
    gains = []
    for peak in (0.1, 20.0):
        seen = star(2.0, peak) + 0.02 * torch.randn(100, 1, 64, 64)
        linear = 0.1 * torch.sinh(match(2.0, 1.0, 0.02, 0.0)(torch.asinh(seen / 0.1)))
        assert background_noise(linear)[0] < 0.03
        assert_allclose(linear.sum((2, 3)).mean(), seen.sum((2, 3)).mean(), rtol=0.02)
        middle = (linear.mean(0) / seen.mean(0))[0, 31:33, 31:33].mean()
        gains.append(float(middle))
    assert 0.9 < gains[0] < 1.1 < gains[1] < star(1.0)[31, 31] / star(2.0)[31, 31]


def test_noise_is_seen_beside_a_galaxy():
    torch.manual_seed(0)
    images = 5 * star(4.0, peak=50.0) + 0.03 * torch.randn(100, 2, 64, 64)
    assert_allclose(background_noise(images), [0.03, 0.03], rtol=0.03)


def data(survey, bands, scale=1.0):
    torch.manual_seed(0)
    space = make_space()
    encoder = space.unadapted(get_survey(survey), bands)
    softening = torch.tensor([
        space.frame.softening_at(encoder.survey.band(b).wavelength_nm) for b in encoder.bands
    ])[:, None, None]  # fmt: skip
    noise = 0.01 * torch.randn(50, len(encoder.bands), 64, 64)
    anchor = 0.02 * torch.randn(50, 3, 64, 64) / torch.tensor([0.07, 0.1, 0.25])[:, None, None]
    return AdaptationData(
        space=space, encoder=encoder, anchor_images=torch.asinh(anchor),
        target_images=torch.asinh(scale * noise / softening), paired=False,
    )  # fmt: skip


def test_widths_come_from_the_definitions_and_noise_from_the_images():
    hsc, decals = get_survey("hsc"), get_survey("decals")
    found = PsfNoiseMatch.between(data("hsc", ("g", "r", "z")))
    expected = [
        (decals.band(b).psf_fwhm_arcsec ** 2 - hsc.band(b).psf_fwhm_arcsec ** 2)
        * SIGMA**2 / SCALE**2
        for b in ("g", "r", "z")
    ]  # fmt: skip
    assert_allclose(found.variance_px2, expected, rtol=1e-5)
    assert_allclose(found.target_noise, 0.01, rtol=0.03)
    assert_allclose(found.anchor_noise, 0.02, rtol=0.03)


def test_one_band_is_matched_to_its_nearest():
    found = PsfNoiseMatch.between(data("euclid-vis", ("VIS",)))
    band, twin = get_survey("euclid-vis").band("VIS"), get_survey("decals").band("r")
    expected = (twin.psf_fwhm_arcsec**2 - band.psf_fwhm_arcsec**2) * SIGMA**2 / SCALE**2
    assert_allclose(found.variance_px2, [expected], rtol=1e-5)


def test_the_encoder_reads_matched_images():
    some = data("hsc", ("g", "r", "z"))
    fitted = PsfMatching().fit(some)
    matched = PsfNoiseMatch.between(some)(some.target_images)
    assert torch.equal(fitted.target(some.target_images), some.encode_target(matched))
    assert torch.equal(fitted.target(some.target_images), fitted.target(some.target_images))
    assert torch.equal(fitted.anchor(some.anchor_images), some.encode_anchor(some.anchor_images))
    assert fitted.target(some.target_images[:0]).shape == (0, 6)

from functools import partial

import torch
from conftest import make_space
from numpy.testing import assert_allclose
from psf_helpers import SCALE, SIGMA, match_of, star, variance

from benchmarks.baselines import AdaptationData, PsfMatching
from benchmarks.baselines.psf_matching import AnchorMatch
from galaxy_da.surveys import get_survey
from training.adaptation.image_matching import ImageMatch, background_noise

match = partial(match_of, AnchorMatch)


def test_a_blurrier_star_gets_the_sharper_psf_and_keeps_its_flux():
    observed = torch.asinh(star(2.2) / 0.1)[None, None]
    found = 0.1 * torch.sinh(match(2.2, 1.5)(observed))[0, 0]
    expected = star(1.5)
    assert_allclose(found, expected, atol=0.015 * float(expected.max()))
    assert_allclose(found.sum(), expected.sum(), rtol=2e-3)
    assert_allclose(variance(found), variance(expected), rtol=0.075)


def test_a_sharper_star_is_convolved_as_one_of_the_anchor():
    observed = torch.asinh(star(1.3) / 0.1)[None, None]
    found = 0.1 * torch.sinh(match(1.3, 2.2)(observed))[0, 0]
    assert_allclose(found, star(2.2), atol=4e-3 * float(star(2.2).max()))


def test_deconvolution_is_limited_by_noise():
    """Bright stars get sharper, faint ones do not, and the noise stays bounded."""
    torch.manual_seed(0)
    gains = []
    for peak in (0.1, 20.0):
        observed = star(2.0, peak) + 0.02 * torch.randn(100, 1, 64, 64)
        linear = 0.1 * torch.sinh(match(2.0, 1.0, 0.02, 0.0)(torch.asinh(observed / 0.1)))
        assert background_noise(linear)[0] < 0.03
        assert_allclose(linear.sum((2, 3)).mean(), observed.sum((2, 3)).mean(), rtol=0.02)
        middle = (linear.mean(0) / observed.mean(0))[0, 31:33, 31:33].mean()
        gains.append(float(middle))
    assert 0.9 < gains[0] < 1.1 < gains[1] < star(1.0)[31, 31] / star(2.0)[31, 31]


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


def sides(some):
    return some.space, some.encoder, some.anchor_images, some.target_images


def to_anchor(some):
    return AnchorMatch.to_anchor(*sides(some))


def test_widths_come_from_the_definitions_and_noise_from_the_images():
    hsc, decals = get_survey("hsc"), get_survey("decals")
    found = to_anchor(data("hsc", ("g", "r", "z")))
    expected = [
        (decals.band(b).psf_fwhm_arcsec ** 2 - hsc.band(b).psf_fwhm_arcsec ** 2)
        * SIGMA**2 / SCALE**2
        for b in ("g", "r", "z")
    ]  # fmt: skip
    assert_allclose(found.variance_px2, expected, rtol=1e-5)
    assert_allclose(found.noise_from, 0.01, rtol=0.03)
    assert_allclose(found.noise_to, 0.02, rtol=0.03)


def test_one_band_is_matched_to_its_nearest():
    found = to_anchor(data("euclid-vis", ("VIS",)))
    band, twin = get_survey("euclid-vis").band("VIS"), get_survey("decals").band("r")
    expected = (twin.psf_fwhm_arcsec**2 - band.psf_fwhm_arcsec**2) * SIGMA**2 / SCALE**2
    assert_allclose(found.variance_px2, [expected], rtol=1e-5)


def test_the_encoder_reads_matched_images():
    some = data("hsc", ("g", "r", "z"))
    fitted = PsfMatching().fit(some)
    matched = to_anchor(some)(some.target_images, torch.Generator().manual_seed(0))
    assert torch.equal(fitted.target(some.target_images), some.encode_target(matched))
    assert torch.equal(fitted.target(some.target_images), fitted.target(some.target_images))
    assert torch.equal(fitted.anchor(some.anchor_images), some.encode_anchor(some.anchor_images))
    assert fitted.target(some.target_images[:0]).shape == (0, 6)


def test_matching_to_the_target_inverts_matching_to_the_anchor():
    some = data("sdss", ("g", "r", "z"), scale=10)
    there, back = to_anchor(some), ImageMatch.to_target(*sides(some))
    assert_allclose(back.variance_px2, -there.variance_px2)
    assert_allclose(back.noise_to, there.noise_from)
    assert_allclose(back.noise_from, there.noise_to)
    assert back.degrades
    assert not there.degrades

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from benchmarks.adaptation.faults import FAULTS, noise_per_pixel
from benchmarks.adaptation.settings import BenchmarkSettings
from galaxy_da.surveys import get_survey

SDSS, BANDS = get_survey("sdss"), ("g", "r", "z")


def images(n=20):
    noise = noise_per_pixel(SDSS, BANDS)
    clean = torch.zeros(n, 3, 40, 40)
    clean[..., 15:25, 15:25] = 500 * noise
    rough = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean + noise * rough, clean, noise


def test_noise_is_that_of_a_point_source_at_the_depth():
    noise = noise_per_pixel(SDSS, ("r",)).item()
    band = SDSS.band("r")
    sigma_px = band.psf_fwhm_arcsec / 2.3548 / SDSS.pixel_scale_arcsec
    flux = 10 ** (0.4 * (22.5 - band.depth_mag))
    assert_allclose(flux / (noise * np.sqrt(4 * np.pi) * sigma_px), 5, rtol=1e-3)


def test_the_true_survey_differs_as_its_fault_says():
    wide, red = (FAULTS[name].truth(SDSS) for name in ("psf+30", "band+40"))
    for band in SDSS.bands:
        assert wide.band(band.name).psf_fwhm_arcsec == pytest.approx(1.3 * band.psf_fwhm_arcsec)
        assert red.band(band.name).wavelength_nm == band.wavelength_nm + 40
    assert FAULTS["stretch"].truth(SDSS) == SDSS
    assert FAULTS["missing-band"].bands(SDSS, BANDS) == ("g", "r")
    assert FAULTS["psf+30"].bands(SDSS, BANDS) == BANDS


def test_a_zeropoint_makes_images_brighter():
    flux, clean, noise = images()
    ratio = FAULTS["zeropoint+0.3"].spoil(flux, clean, noise) / flux
    assert_allclose(-2.5 * np.log10(ratio.numpy()), -0.3, rtol=1e-4)


def test_correlated_noise_keeps_its_variance_and_the_light():
    flux, clean, noise = images()
    spoiled = FAULTS["correlated-noise"].spoil(flux, clean, noise)
    rest = (spoiled - clean) / noise
    assert float(rest.std()) == pytest.approx(1, rel=0.02)
    neighbours = float((rest[..., 1:] * rest[..., :-1]).mean())
    assert neighbours > 0.5


def test_the_truth_of_correlated_noise_has_white_noise_as_strong_within_the_psf():
    flux, clean, noise = images(200)
    spoiled = FAULTS["correlated-noise"].spoil(flux, clean, noise) - clean
    truth = FAULTS["correlated-noise"].truth(SDSS)
    white = (flux - clean) / noise * noise_per_pixel(truth, BANDS)
    for i, name in enumerate(BANDS):
        psf = SDSS.band(name).psf_fwhm_arcsec / 2.3548 / SDSS.pixel_scale_arcsec
        behind = [gaussian_filter(n[:, i].numpy(), (0, psf, psf)) for n in (spoiled, white)]
        rms = [image[:, 6:-6, 6:-6].std() for image in behind]
        assert rms[0] == pytest.approx(rms[1], rel=0.05)


def test_a_sky_residual_is_a_constant_and_a_stretch_spares_faint_light():
    flux, clean, noise = images()
    lifted = FAULTS["sky-residual"].spoil(flux, clean, noise)
    assert_allclose((lifted - flux) / noise, torch.full_like(flux, 0.5), rtol=1e-3)
    gentle = FAULTS["stretch"].spoil(clean, clean, noise) / clean
    assert float(gentle[..., 20, 20].max()) < 0.8
    faint = 0.1 * noise.expand(1, 3, 4, 4)
    assert_allclose(FAULTS["stretch"].spoil(faint, faint, noise), faint, rtol=1e-3)


def test_each_target_is_measured_with_each_fault():
    settings = BenchmarkSettings(targets=("sdss", "hsc"), wrong=("psf+30", "stretch"))
    assert list(settings.by_name) == ["sdss-psf+30", "sdss-stretch", "hsc-psf+30", "hsc-stretch"]
    with pytest.raises(ValueError, match="wrong names psf; faults of definitions are psf"):
        BenchmarkSettings(wrong=("psf",))

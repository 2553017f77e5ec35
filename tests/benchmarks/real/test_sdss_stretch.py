"""The built-in stretch of SDSS fits linear images, and the magnitude limit of its sample."""

import numpy as np
import pytest

from benchmarks.real.sdss_stretch import bytes_of, faint_end, fit_stretch, read_annuli
from galaxy_da.surveys import get_survey

STRETCH = get_survey("sdss").stretch


def test_bytes_are_those_of_the_product():
    import torch

    from galaxy_da.images.stretches import apply_stretch

    flux = np.random.default_rng(0).uniform(0.001, 0.3, (3, 50))
    ours = apply_stretch(torch.tensor(flux)[:, None], STRETCH)[:, 0].numpy()
    constants = np.array([*STRETCH.scales, STRETCH.q])
    np.testing.assert_allclose(ours, bytes_of(constants, flux), atol=0.51)


def test_the_built_in_constants_are_the_fit(data):
    _, flux, seen = read_annuli(data / "sdss_jpeg_calibration.csv")
    found = fit_stretch(flux, seen)
    np.testing.assert_allclose(found, [*STRETCH.scales, STRETCH.q], rtol=0.003)
    rms = np.sqrt(np.mean((bytes_of(found, flux) - seen) ** 2))
    assert rms < 10
    documented = np.array([4.9, 5.7, 7.8, 6.75])
    assert np.sqrt(np.mean((bytes_of(documented, flux) - seen) ** 2)) > 40


@pytest.mark.slow
def test_the_main_sample_ends_at_its_limit(data):
    assert abs(faint_end(data / "sdss_spirals.parquet", STRETCH) - 17.77) < 0.1

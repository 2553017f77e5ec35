"""Observations in the frame, against cutouts on native pixels that are prepared as users' are."""

import numpy as np
import pytest
import torch

from catalogs.simulation.conditions import draw_conditions, median_conditions
from catalogs.simulation.framing import frequencies_of, observe_in_frame, surround
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.instruments import Instrument, draw_instrument
from catalogs.simulation.observing import observe
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.instrument import image_noise
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.surveys import get_survey

FRAME = Frame(wide_pixel_scale_arcsec=2.096)
DECALS, SDSS = get_survey("decals"), get_survey("sdss")
CAMERA = Instrument(survey=DECALS, planes=("g", "r", "z"))
SOFTENING = torch.tensor(FRAME.softening)[:, None, None]


@pytest.fixture(scope="module")
def sky():
    galaxies = draw_galaxies(16, np.random.default_rng(3), (17, 20))
    return galaxies.render(frequencies_of([CAMERA], 42.0))


def prepared(flux, survey, bands):
    middle = (flux.shape[-1] - 1) / 2
    cutouts = [
        Cutout(
            pixels=pixels,
            bands=bands,
            pixel_scale_arcsec=survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in flux.numpy()
    ]
    return prepare(cutouts, survey, FRAME, bands)


def test_without_noise_it_equals_prepared_cutouts(sky):
    state = median_conditions(16, CAMERA.bands)
    (ours,) = observe_in_frame(sky, CAMERA, state, FRAME)
    theirs = prepared(observe(sky, DECALS, CAMERA.bands, state), DECALS, CAMERA.planes)
    torch.testing.assert_close(
        torch.asinh(ours / SOFTENING), theirs.images[:, :3], atol=1e-3, rtol=0
    )


def test_a_rotated_camera_sees_what_native_pixels_see(sky):
    state = draw_conditions(16, CAMERA.bands, np.random.default_rng(1))
    state = state.rotated(np.random.default_rng(2))
    (ours,) = observe_in_frame(sky, CAMERA, state, FRAME)
    theirs = prepared(observe(sky, DECALS, CAMERA.bands, state), DECALS, CAMERA.planes)
    inner = (slice(None), slice(0, 3), slice(8, -8), slice(8, -8))
    difference = (torch.asinh(ours / SOFTENING)[inner] - theirs.images[inner]).abs()
    assert difference.mean() < 0.01 and difference.max() < 0.4


def test_the_noise_is_that_of_prepared_cutouts(sky):
    state = median_conditions(16, CAMERA.bands)
    (ours,) = observe_in_frame(sky, CAMERA, state, FRAME, np.random.default_rng(1))
    flux = observe(sky, DECALS, CAMERA.bands, state, np.random.default_rng(1))
    theirs = prepared(flux, DECALS, CAMERA.planes).images[:, :3]
    covered = torch.ones(16, 64, 64)
    noise = [
        image_noise(x, covered).median(0).values for x in (torch.asinh(ours / SOFTENING), theirs)
    ]
    torch.testing.assert_close(*noise, rtol=0.35, atol=0)  # sub-pixel phases differ


def test_a_picture_keeps_the_flux_of_bright_light(sky):
    camera = Instrument(survey=SDSS, planes=("g", "r", "i"), stretch=SDSS.stretch)
    state = median_conditions(16, camera.bands)
    (picture,) = observe_in_frame(sky, camera, state, FRAME, np.random.default_rng(1))
    (flux,) = observe_in_frame(sky, camera, state, FRAME)
    middle = (slice(None), slice(None), slice(28, 36), slice(28, 36))
    bright = (flux[middle].mean((2, 3)) > 0.5) & (flux[middle].amax((2, 3)) < 5)
    ratio = (picture[middle].mean((2, 3)) / flux[middle].mean((2, 3)))[bright]
    assert bright.sum() > 10 and ratio.median() == pytest.approx(1, abs=0.05)


def test_the_wide_grid_shares_its_middle_with_the_first():
    galaxies = draw_galaxies(4, np.random.default_rng(3), (13, 15), 168.0)
    sky = galaxies.render(frequencies_of([CAMERA], 168.0))
    state = median_conditions(4, CAMERA.bands)
    inner, wide = observe_in_frame(sky, CAMERA, state, FRAME)
    small = torch.nn.functional.avg_pool2d(inner, 4)
    torch.testing.assert_close(wide[..., 24:40, 24:40], small, rtol=0.05, atol=0.02)


def test_small_patches_are_surrounded_by_others_of_the_batch():
    inner = torch.arange(4.0)[:, None, None, None].expand(4, 2, 64, 64).clone()
    wide = surround(inner, 64, 4, np.random.default_rng(0))
    assert wide.shape == (4, 2, 64, 64)
    assert torch.equal(wide[:, 0, 24:40, 24:40].amax((1, 2)), torch.arange(4.0))
    around = wide.clone()
    around[..., 24:40, 24:40] = -1
    for own in range(4):
        assert set(around[own].unique().tolist()) == {-1.0, 0.0, 1.0, 2.0, 3.0} - {float(own)}


def test_surroundings_are_at_random_angles():
    inner = torch.zeros(2, 1, 64, 64)
    inner[..., :8, :] = 1.0  # a bar at the top
    wide = surround(inner, 64, 4, np.random.default_rng(0))
    tiles = wide[0, 0].reshape(4, 16, 4, 16).transpose(1, 2).reshape(16, 16, 16)
    assert len(torch.unique(tiles, dim=0)) > 4


def test_instruments_cover_the_surveys_and_their_planes():
    rng = np.random.default_rng(0)
    drawn = [draw_instrument(DECALS, FRAME, rng) for _ in range(400)]
    fwhm = [band.psf_fwhm_arcsec for each in drawn for band in each.bands]
    assert min(fwhm) < 0.2 and max(fwhm) > 2.2
    assert {len(each.bands) for each in drawn} == {1, 2, 3}
    assert 0.1 < np.mean([each.stretch is not None for each in drawn]) < 0.4
    for each in drawn:
        waves = [band.wavelength_nm for band in each.bands]
        assert waves == sorted(waves)

"""Images outside the domain are what their names say."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import blobs

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.measurements import measure
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.models.colours import COEFFICIENTS
from galaxy_da.surveys import get_survey
from training.anchor.images import N_TARGETS, TARGETS, TrainingSky
from training.readings.fit import fit_readings
from training.readings.kinds import KINDS, REASONS, enlarged
from training.readings.light import Light
from training.readings.sky import KIND_NAMES

FRAME = Frame(wide_pixel_scale_arcsec=2.096)
COLOURS = np.array([[[0.5]], [[1.0]], [[1.6]]], np.float32)  # brightness of g, r and z


def images_of(n, seed=0):
    """Images without coverage planes, and conditions, of red Gaussian galaxies."""
    pixels = blobs(n, 520, 0.262, seed, bands=1) * COLOURS
    pixels += np.random.default_rng(seed).normal(0, 0.003, pixels.shape).astype(np.float32)
    cutouts = [
        Cutout(pixels=p, bands=("g", "r", "z"), pixel_scale_arcsec=0.262, centre_xy=(259.5, 259.5))
        for p in pixels
    ]
    inputs = prepare(cutouts, get_survey("decals"), FRAME, ("g", "r", "z")).inputs
    return inputs.images[:, :6], inputs.conditions


@pytest.fixture(scope="module")
def light():
    return Light.of(*images_of(12), FRAME)


def measured(light):
    images, conditions = light.scaled()
    whole = torch.cat([images, torch.ones(len(images), 2, *images.shape[2:])], 1)
    return measure(Inputs(whole, conditions), FRAME)


def test_light_is_scaled_back(light):
    images, conditions = images_of(12)
    again, noise = light.scaled()
    torch.testing.assert_close(again, images, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(noise, conditions, atol=0.05, rtol=0.05)


def test_bands_change_places(light):
    changed = KINDS["bands"](light, np.random.default_rng(0))
    before, after = measured(light), measured(changed)
    assert (np.sort(after.aperture_flux, 1) - np.sort(before.aperture_flux, 1)).max() < 0.1
    order = np.argsort(after.aperture_flux / before.aperture_flux, 1)
    assert not (np.abs(after.aperture_flux / before.aperture_flux - 1) < 0.1).all(1).any()
    assert order.shape == (12, 3)


def test_zeropoints_are_off_by_a_third_of_a_magnitude_or_more(light):
    changed = KINDS["zeropoint"](light, np.random.default_rng(0))
    off = np.abs(2.5 * np.log10(measured(changed).aperture_flux / measured(light).aperture_flux))
    assert (off.max(1) > 0.29).all() and off.max() < 2.6
    alone = (off < 0.01).sum(1) == 2
    assert 0 < alone.sum() < 12


def test_the_middle_is_blank_or_a_star(light):
    rng = np.random.default_rng(0)
    blank = measured(KINDS["blank"](light, rng))
    assert (blank.aperture_flux < 0.2 * measured(light).aperture_flux).all()
    star = measured(KINDS["star"](light, rng))
    fwhm = light.psf_fwhm_arcsec[:, 1].numpy()
    unsaturated = np.median(star.half_light_arcsec / fwhm)
    assert 0.45 < unsaturated < 0.9  # the half-light radius of a Moffat PSF, in pixels of 0.5"


def test_artefacts_change_the_image_far_above_the_noise(light):
    changed = KINDS["artefact"](light, np.random.default_rng(1))
    difference = (changed.grids[0] - light.grids[0]).abs() / light.noise[..., None, None]
    assert (difference.flatten(1).amax(1) > 5).all()


def test_galaxies_become_larger_than_the_frame(light):
    big = measured(enlarged(light, np.full(12, 2.0), np.random.default_rng(0)))
    assert (~big.complete | (big.half_light_arcsec > 15)).all()


def test_every_kind_has_a_reason():
    assert set(REASONS) == set(KIND_NAMES)


@pytest.mark.slow
def test_domain_and_probes_are_fitted_to_a_sky(wide_space):
    images, conditions = images_of(1024)
    planes = images.numpy().astype(np.float16)
    blocks = [np.stack([planes] * 4, 1)]
    flux = measure(
        Inputs(torch.cat([images, torch.ones(1024, 2, 64, 64)], 1), conditions), FRAME
    ).petrosian_flux[:, 1]
    rng = np.random.default_rng(0)
    columns = {name: rng.uniform(0, 1, 1024) for name in TARGETS}
    columns |= {"r_mag": 22.5 - 2.5 * np.log10(flux), "half_light_arcsec": np.full(1024, 4.0)}
    columns["half_light_arcsec"] += rng.normal(0, 0.1, 1024)
    truth = pa.table({"label": rng.choice(["spiral", "elliptical"], 1024), **columns})
    unused = torch.zeros(1024, N_TARGETS)
    sky = TrainingSky(blocks, conditions[:, None].expand(-1, 3, -1), truth, unused)
    fitted = fit_readings(wide_space, sky, 1024)
    outside = {row["kind"]: row["outside"] for row in fitted.domain_rows}
    assert outside["galaxies"] < 0.05
    rows = {row["column"]: row for row in fitted.probe_rows}
    assert rows["morph_r_mag"]["r2"] > 0.8
    again = fit_readings(wide_space, sky, 1024)
    assert [p.hash for p in again.probes] == [p.hash for p in fitted.probes]
    assert again.domain.hash == fitted.domain.hash
    assert fitted.domain.colours.shape == (COEFFICIENTS,)

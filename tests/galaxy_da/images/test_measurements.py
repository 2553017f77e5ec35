"""Measurements on prepared images, against photutils, GalSim and closed forms."""

import galsim
import numpy as np
import pytest
import torch
from conftest import make_space
from photutils.aperture import CircularAperture
from scipy.optimize import brentq

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.measurements import APERTURE_ARCSEC, brightness, measure
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.surveys import get_survey

FRAME = Frame(wide_pixel_scale_arcsec=2.096)
PIXEL = 0.262


def drawn(profiles, side=600, noise=0.0):
    """Draw GalSim profiles as a DECaLS cutout each, the same in g, r and z, and prepare them."""
    rng = np.random.default_rng(0)
    cutouts = []
    for profile in profiles:
        image = profile.drawImage(nx=side, ny=side, scale=PIXEL, dtype=np.float32).array
        pixels = np.stack([image] * 3) + rng.normal(0, noise, (3, side, side)).astype(np.float32)
        middle = ((side - 1) / 2, (side - 1) / 2)
        cutouts.append(
            Cutout(pixels=pixels, bands=("g", "r", "z"), pixel_scale_arcsec=PIXEL, centre_xy=middle)
        )
    return prepare(cutouts, get_survey("decals"), FRAME, ("g", "r", "z")).inputs


def exponential(flux, scale, q=1.0, angle_deg=0.0):
    """Draw an exponential disc; the angle is of the major axis, north through east."""
    disc = galsim.Exponential(flux=flux, scale_radius=scale)
    shear = galsim.Shear(q=q, beta=(angle_deg + 90) * galsim.degrees)
    # East is to the left: mirror the angle from y through -x.
    return galsim.Convolve(disc.shear(shear), galsim.Gaussian(fwhm=1.3))


def test_brightness_undoes_the_scaling():
    inputs = drawn([exponential(100, 2)])
    light, noise, present = brightness(inputs, FRAME)
    expected = torch.sinh(inputs.images[:, :3]) * torch.tensor(FRAME.softening)[:, None, None]
    torch.testing.assert_close(light[0], expected)
    assert noise.shape == (1, 3) and present.all()


@pytest.mark.parametrize("flux", [20.0, 3000.0])
def test_fluxes_against_photutils(flux):
    profiles = [exponential(flux, scale, 0.7, 30) for scale in (0.8, 2.0, 6.0)]
    found = measure(drawn(profiles), FRAME)
    for row, profile in enumerate(profiles):
        image = profile.drawImage(nx=600, ny=600, scale=PIXEL).array
        for radius, value in (
            (APERTURE_ARCSEC, found.aperture_flux[row, 1]),
            (2 * found.petrosian_arcsec[row], found.petrosian_flux[row, 1]),
        ):
            aperture = CircularAperture((299.5, 299.5), radius / PIXEL)
            assert value == pytest.approx(aperture.do_photometry(image)[0][0], rel=0.03)
    assert found.complete.all()


def test_radii_and_concentration_of_an_exponential_disc():
    scale = 4.0
    profile = galsim.Exponential(flux=1000, scale_radius=scale)
    found = measure(drawn([galsim.Convolve(profile, galsim.Gaussian(fwhm=0.6))]), FRAME)

    def light(x):  # within x scale lengths
        return 1 - (1 + x) * np.exp(-x)

    petrosian = brentq(lambda x: x**2 * np.exp(-x) / (2 * light(x)) - 0.2, 1, 9)
    total = light(2 * petrosian)
    r20, r50, r80 = (brentq(lambda x, s=s: light(x) - s * total, 0, 9) for s in (0.2, 0.5, 0.8))
    assert found.petrosian_arcsec[0] == pytest.approx(petrosian * scale, rel=0.04)
    assert found.half_light_arcsec[0] == pytest.approx(r50 * scale, rel=0.03)
    assert found.concentration[0] == pytest.approx(5 * np.log10(r80 / r20), abs=0.1)
    assert abs(found.asymmetry[0]) < 0.02


def test_shapes_against_the_adaptive_moments_of_galsim():
    profiles = [exponential(500, 2.5, q, a) for q, a in ((0.5, 20), (0.8, 100), (0.3, 160))]
    inputs = drawn(profiles)
    found = measure(inputs, FRAME)
    image = brightness(inputs, FRAME)[0][0][:, 1].numpy()
    for row in range(3):
        peer = galsim.hsm.FindAdaptiveMom(galsim.Image(image[row].copy(), scale=1.0))
        shape = peer.observed_shape
        assert found.axis_ratio[row] == pytest.approx(shape.q, abs=0.02)
        angle = (shape.beta.deg - 90) % 180  # from north (y) through east (-x)
        assert abs((found.position_angle[row] - angle + 90) % 180 - 90) < 2


def test_a_neighbour_does_not_count():
    alone = exponential(50, 1.5)
    both = galsim.Add(alone, exponential(50, 1.5).shift(8.0, 3.0))
    one, two = measure(drawn([alone]), FRAME), measure(drawn([both]), FRAME)
    assert two.petrosian_flux[0, 1] == pytest.approx(one.petrosian_flux[0, 1], rel=0.05)
    assert two.half_light_arcsec[0] == pytest.approx(one.half_light_arcsec[0], rel=0.05)


def test_a_galaxy_beyond_its_stamp_is_not_complete():
    wide = exponential(5000, 9.0)
    assert measure(drawn([wide]), FRAME).complete[0]
    assert not measure(drawn([wide], side=140), FRAME).complete[0]


def test_noise_is_stated_as_it_scatters():
    empty = galsim.Gaussian(flux=1e-9, fwhm=1.3)
    found = measure(drawn([empty] * 60, side=140, noise=0.01), FRAME)
    scatter = found.aperture_flux[:, 1].std()
    assert np.median(found.aperture_noise[:, 1]) == pytest.approx(scatter, rel=0.25)


def test_missing_bands_and_blank_images_are_nan():
    inputs = drawn([exponential(100, 2)])
    images = inputs.images.clone()
    images[:, [1, 4]] = 0  # no r
    without = measure(Inputs(images, inputs.conditions), FRAME)
    assert np.isnan(without.petrosian_flux[0, 1]) and without.petrosian_flux[0, 0] > 90
    nothing = measure(Inputs(torch.zeros_like(images), inputs.conditions), FRAME)
    assert np.isnan(nothing.petrosian_arcsec[0]) and not nothing.complete[0]


def test_a_frame_of_one_grid_is_measured():
    space = make_space()
    inputs = Inputs.plain(drawn([exponential(100, 1.0)]).images[:, :3])
    found = measure(inputs, space.frame)
    assert found.petrosian_flux[0, 1] == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("side", [128, 600])
def test_the_light_at_the_edge_is_that_of_the_profile(side):
    scale = 10.0 if side == 128 else 40.0
    profiles = [
        galsim.Exponential(flux=5000, scale_radius=scale),
        galsim.Exponential(flux=500, scale_radius=1.0),
    ]
    found = measure(drawn(profiles, side, noise=0.001), FRAME)
    edge = found.reach_arcsec[0] / scale

    def light(x):
        return 1 - (1 + x) * np.exp(-x)

    expected = (1 - light(0.85 * edge) / light(edge)) / (1 - 0.85**2)
    assert found.edge_share[0] == pytest.approx(expected, rel=0.05)
    assert found.edge_share[1] < 0.02
    assert found.complete.tolist() == [False, True]

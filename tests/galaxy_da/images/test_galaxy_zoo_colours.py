import numpy as np
from astropy.io import fits

from galaxy_da.images.galaxy_zoo_colours import galaxy_zoo_flux


def galaxy_zoo_colour(flux):
    """Apply the published formula: (3, y, x) nanomaggies in z, r, g to uint8."""
    low, high = np.arcsinh(-0.5), np.arcsinh(300)
    scaled = flux / np.array([0.019, 0.014, 0.008])[:, None, None]
    rgb = (np.arcsinh(scaled) - low) / (high - low)
    mean = rgb.mean(0)
    share = np.minimum(1, rgb.max(0) / mean / 2.5)
    kept = np.sin((1 - share) * np.pi / 2)
    rgb = rgb * kept + mean * (1 - kept) + mean * (1 - kept) ** 2 * rgb
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def binned(image, by):
    planes, side = image.shape[0], image.shape[1] // by
    return image.reshape(planes, side, by, side, by).mean((2, 4))


def test_flux_of_a_real_galaxy_is_recovered(data):
    cube = fits.getdata(data / "decals_fits" / "example_e__a11c605.fits").astype(float)
    flux = cube[[2, 1, 0]]
    colour = galaxy_zoo_colour(flux)
    found = galaxy_zoo_flux(colour)
    clear = (colour > 40).all(0) & (colour < 250).all(0)
    assert clear.mean() > 0.02
    for one, expected in zip(found, flux, strict=True):
        ratio = one[clear] / expected[clear]
        assert abs(np.median(ratio) - 1) < 0.03
        assert np.percentile(np.abs(ratio - 1), 90) < 0.1


def test_recovered_sky_is_at_zero():
    rng = np.random.default_rng(0)
    sigma = np.array([0.0117, 0.0044, 0.0031])[:, None, None]
    flux = rng.normal(0, 1, (3, 240, 240)) * sigma
    found = galaxy_zoo_flux(galaxy_zoo_colour(flux))
    assert (np.abs(found.mean((1, 2))) < 0.15 * sigma.ravel()).all()


def test_grey_ramp_is_recovered_to_eight_bits():
    levels = np.array([0.019, 0.014, 0.008])[:, None, None]
    flux = levels * np.geomspace(1, 200, 500)[None, None, :]
    found = galaxy_zoo_flux(galaxy_zoo_colour(flux))
    np.testing.assert_allclose(found, flux, rtol=0.03)

"""Photometry of real galaxies as read here, against photutils on the same files."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose
from photutils.aperture import CircularAnnulus, CircularAperture, SkyCircularAperture

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_cutout
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.surveys import get_survey

DECALS_PIXEL = 0.262
"""The flux of the Legacy Surveys viewer refers to this pixel at every scale [arcsec]."""

EXAMPLES = [
    "example__d83a482", "example_a__ba79bb8", "example_a__cb2185a", "example_b__5e3c033",
    "example_bad_pix__09782dd", "example_c__4989d6a", "example_c__737ac39", "example_d__c9ab79a",
    "example_e__a11c605", "temp_extended__8f25b84", "temp_small__d331021",
]  # fmt: skip


def ours(cutout, survey, radius_arcsec, centre_xy=None, sky=False):
    """Nanomaggies in an aperture of the surface brightness that encoders see."""
    scale = cutout.pixel_scale_arcsec
    centre = centre_xy or cutout.centre_xy
    aperture = CircularAperture(centre, radius_arcsec / scale)
    ring = CircularAnnulus(centre, 22 / scale, 28 / scale).to_mask()
    planes = to_surface_brightness([cutout], survey)[0].double().numpy()
    if sky:
        planes = [plane - np.nanmedian(ring.get_values(plane)) for plane in planes]
    return np.array([aperture.do_photometry(plane)[0][0] for plane in planes]) * scale**2


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("radius", [3.0, 6.0, 15.0])
def test_decals_apertures_are_those_of_the_file(data, name, radius):
    path = data / "decals_fits" / f"{name}.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, header = fits.getdata(path).astype(float), fits.getheader(path)
        wcs = WCS(header, naxis=2)
        middle = [(side - 1) / 2 for side in pixels.shape[:0:-1]]
        ra, dec = (float(value) for value in wcs.all_pix2world(*middle, 0))
        aperture = SkyCircularAperture(SkyCoord(ra, dec, unit="deg"), radius * u.arcsec)
        in_pixels = aperture.to_pixel(wcs)
    pixel_area = abs(np.linalg.det(wcs.pixel_scale_matrix)) * 3600**2
    sums = np.array([in_pixels.do_photometry(plane)[0][0] for plane in pixels])
    true = sums * pixel_area / DECALS_PIXEL**2
    row = {"ra": ra, "dec": dec, "cutout": path.name}
    got = ours(read_cutout(row, path.parent, get_survey("decals")), get_survey("decals"), radius)
    assert_allclose(got, true, rtol=10 ** (0.4 * 0.02) - 1, atol=1e-6)
    assert np.isfinite(true).all() and (true[2] > 0 or name.startswith("example_bad"))


def test_one_galaxy_has_one_magnitude_at_two_pixel_scales(data):
    """Files of 0.1 and 0.262 arcsec a pixel: the flux refers to the same pixel in both."""
    survey = get_survey("decals")
    fluxes = []
    for name in ("example_a__ba79bb8", "temp_small__d331021"):
        row = {"ra": 146.714208787, "dec": -1.04128156958, "cutout": f"{name}.fits"}
        fluxes.append(ours(read_cutout(row, data / "decals_fits", survey), survey, 6.0))
    assert np.abs(-2.5 * np.log10(fluxes[0] / fluxes[1])).max() < 0.02


def test_truncated_decals_files_are_refused(data):
    for path in (data / "decals_fits").glob("*incomplete*"):
        with pytest.raises(CutoutError, match="corrupt or truncated FITS"):
            read_cutout({"cutout": path.name}, path.parent, get_survey("decals"))


@pytest.mark.parametrize("radius", [8.0, 12.0])
def test_one_spiral_has_one_magnitude_in_three_surveys(data, radius):
    """r within 0.12 mag: filters of 617 to 644 nm, and a red galaxy (g - r = 0.9).

    The apertures are centred on the nucleus, for the WCS of the SDSS stamp is 5 arcmin off.
    """
    magnitudes = {}
    for name, ra, dec in (
        ("des", 27.952, 0.2635), ("ps1", 27.952, 0.2635), ("sdss", 27.8693, 0.2147)
    ):  # fmt: skip
        survey = get_survey(name)
        row = {"ra": ra, "dec": dec, "bands": "r", "cutout": f"{name.upper()}_{{band}}.fits"}
        cutout = read_cutout(row, data / "des_ps1_sdss_fits", survey)
        height, width = cutout.pixels.shape[1:]
        y, x = np.mgrid[:height, :width]
        near = np.hypot(x - cutout.centre_xy[0], y - cutout.centre_xy[1]) < 15
        peak = np.unravel_index(np.nanargmax(np.where(near, cutout.pixels[0], np.nan)), near.shape)
        flux = ours(cutout, survey, radius, (float(peak[1]), float(peak[0])), sky=True)
        magnitudes[name] = 22.5 - 2.5 * np.log10(flux[0])
    assert max(magnitudes.values()) - min(magnitudes.values()) < 0.12, magnitudes
    assert 14 < magnitudes["des"] < 16

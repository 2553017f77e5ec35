"""Pixel scales that a user gives."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_image
from galaxy_da.images.scale import at_pixel_scale
from galaxy_da.surveys import get_survey

SDSS = get_survey("sdss")


def test_picture_without_wcs_takes_the_scale_given(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cutout = read_image(tmp_path / "a.png", SDSS)
    assert at_pixel_scale(cutout, None).pixel_scale_arcsec == SDSS.pixel_scale_arcsec
    scaled = at_pixel_scale(cutout, 0.2)
    assert scaled.pixel_scale_arcsec == 0.2
    np.testing.assert_array_equal(scaled.pixels, cutout.pixels)
    with pytest.raises(CutoutError, match="must be positive but is -1 arcsec"):
        at_pixel_scale(cutout, -1)


def test_wcs_of_a_file_is_not_overridden(tmp_path):
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 20.5, "CRPIX2": 20.5,
            "CRVAL1": 150.0, "CRVAL2": 2.0, "CDELT1": -1e-4, "CDELT2": 1e-4, "BANDS": "r",
        }
    )  # fmt: skip
    fits.PrimaryHDU(np.ones((40, 40), np.float32), header).writeto(tmp_path / "a.fits")
    cutout = read_image(tmp_path / "a.fits", SDSS)
    assert at_pixel_scale(cutout, 0.36).pixel_scale_arcsec == pytest.approx(0.36)
    with pytest.raises(CutoutError, match=r"WCS of the image says 0.36 arcsec a pixel but 0.2"):
        at_pixel_scale(cutout, 0.2)

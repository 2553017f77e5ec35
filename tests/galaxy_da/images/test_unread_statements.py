"""Statements of a file that are not understood are refused, never overlooked."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from galaxy_da.errors import CutoutError
from galaxy_da.images.arrays import image_planes, read_nested_image
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.cutouts import read_image
from galaxy_da.images.hdu_roles import role_of
from galaxy_da.images.wcs import locate
from galaxy_da.surveys import get_survey

DECALS, PS1 = get_survey("decals"), get_survey("ps1")


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 1e-4, "CD2_2": 1e-4},
        {"CTYPE1": "RA_TAN", "CTYPE2": "DEC_TAN", "CDELT1": 1e-4},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "PC1_1": 1.0},
        {"PIXSCALE": 0.5},
    ],
)
def test_a_scale_without_sky_coordinates_is_refused(cards):
    with pytest.raises(CutoutError, match="name no sky coordinates"):
        locate(fits.Header(cards), (20, 20))


def test_sky_coordinates_without_a_scale_are_refused():
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 1.0, "CRVAL2": 2.0})
    with pytest.raises(CutoutError, match="scale is unknown"):
        locate(header, (20, 20))


@pytest.mark.parametrize("card", ["MAG_ZP", "ZPMAG", "MAG_ZERO", "ZEROPT", "AB_ZP", "SEXMGZPT"])
def test_another_zeropoint_under_an_unread_name_is_refused(card):
    header = fits.Header({card: 22.5, "EXPTIME": 1.0})
    with pytest.raises(CutoutError, match=f"card {card} looks like a zeropoint of 22.5"):
        calibrate(np.ones((1, 4, 4), np.float32), header, PS1, 0.25)
    header[card] = 25.0
    assert calibrate(np.ones((1, 4, 4), np.float32), header, PS1, 0.25).mean() == 1
    header["ZPT_0000"] = 24.7  # zeropoint of one input of a stack
    assert calibrate(np.ones((1, 4, 4), np.float32), header, PS1, 0.25).mean() == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("BADMASK", "mask"), ("WEIGHTMAP", "weight"), ("IVARMASK", "mask"), ("IMAGE", "science")],
)
def test_compound_names_of_masks_are_known(name, kind):
    assert role_of(fits.Header({"EXTNAME": name}), DECALS).kind == kind


@pytest.mark.parametrize("pattern", ["FILTER{}", "BAND_{}", "BAND{:02d}", "FILT{}", "PLANE{}"])
def test_bands_are_read_from_cards_of_any_spelling(tmp_path, pattern):
    cube = np.random.default_rng(0).normal(size=(3, 20, 20)).astype(np.float32)
    header = fits.Header({pattern.format(i + 1): band for i, band in enumerate("zrg")})
    fits.PrimaryHDU(cube, header).writeto(tmp_path / "a.fits")
    cutout = read_image(tmp_path / "a.fits", DECALS)
    assert cutout.bands == ("z", "r", "g")


def test_a_wavelength_axis_without_names_is_refused(tmp_path):
    cube = np.ones((3, 20, 20), np.float32)
    header = fits.Header({"CTYPE3": "WAVE", "CRVAL3": 9e-7, "CDELT3": -2e-7})
    fits.PrimaryHDU(cube, header).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match="no card names its bands"):
        read_image(tmp_path / "a.fits", DECALS)


def test_nested_bands_of_different_size_are_refused():
    ragged = [np.zeros((n, 16)).tolist() for n in (12, 16, 20)]
    image = pa.array([{"band": ["g", "r", "z"], "flux": ragged}])
    with pytest.raises(CutoutError, match="lists differ in length"):
        read_nested_image(image[0])
    flat = pa.array([{"band": ["g", "r", "z"], "flux": [[1.0, 2.0]] * 3}])
    with pytest.raises(CutoutError, match="must be images of rows"):
        read_nested_image(flat[0])


def test_long_doubles_become_floats():
    assert image_planes(np.ones((3, 8, 8), np.longdouble), None, DECALS).dtype == np.float32


@pytest.mark.parametrize("projection", ["TNX", "ZPX"])
def test_distortions_in_wat_cards_are_refused(projection):
    axes = {"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}"}
    header = fits.Header({**axes, "CD1_1": -1e-4, "CD2_2": 1e-4, "CRPIX1": 10, "CRPIX2": 10})
    with pytest.raises(CutoutError, match="WAT cards"):
        locate(header, (20, 20))


def test_bands_in_different_units_are_not_guessed(tmp_path):
    plane = np.ones((20, 20), np.float32)
    first = fits.PrimaryHDU(plane, fits.Header({"EXTNAME": "g", "BUNIT": "uJy"}))
    others = [fits.ImageHDU(plane, name=band) for band in "rz"]
    fits.HDUList([first, *others]).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match="give each band its own BUNIT"):
        read_image(tmp_path / "a.fits", DECALS)

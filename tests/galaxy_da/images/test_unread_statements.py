"""Statements of a file that are not understood are refused, never overlooked."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from galaxy_da.errors import CutoutError
from galaxy_da.images.arrays import image_planes, read_nested_image
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.cutouts import read_cutout, read_image
from galaxy_da.images.hdu_roles import role_of
from galaxy_da.images.placement import locate
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


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"EXTNAME": "IMAGE_R"}, "name says bands g but the header says r"),
        ({"EXTNAME": "r", "FILTER": "g"}, "is named r but its FILTER or BAND card says g"),
        ({"EXTNAME": "SCI_R", "BAND0": "g"}, "extension SCI_R is of r but a card says g"),
        ({"BAND": "g", "FILTER": "r DECam"}, "BAND says g but FILTER says r"),
        ({"BANDS": "r", "BAND0": "g"}, "BAND0 says g but BANDS says r"),
    ],
)
def test_statements_of_bands_that_differ_are_refused(tmp_path, cards, message):
    fits.PrimaryHDU(np.ones((20, 20), np.float32), fits.Header(cards)).writeto(tmp_path / "g.fits")
    with pytest.raises(CutoutError, match=message):
        read_cutout({"cutout": "{band}.fits", "bands": "g"}, tmp_path, DECALS)


def test_cubes_whose_cards_differ_are_refused(tmp_path):
    cards = {"BANDS": "grz", "BAND0": "z", "BAND1": "r", "BAND2": "g"}
    fits.PrimaryHDU(np.ones((3, 20, 20)), fits.Header(cards)).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match="BAND0 says z, r, g but BANDS says g, r, z"):
        read_image(tmp_path / "a.fits", DECALS)


def test_an_extension_named_after_its_band_needs_no_card(tmp_path):
    fits.PrimaryHDU(np.ones((20, 20)), fits.Header({"EXTNAME": "z"})).writeto(tmp_path / "a.fits")
    assert read_image(tmp_path / "a.fits", DECALS).bands == ("z",)
    wheels = fits.Header({"FILTER1": "CLEAR1L", "FILTER2": "r"})
    fits.PrimaryHDU(np.ones((20, 20)), wheels).writeto(tmp_path / "b.fits")
    assert read_image(tmp_path / "b.fits", DECALS).bands == ("r",)


@pytest.mark.parametrize("text", ["z-r-g", "z r g", "z;r;g", "z_r_g", "zrg", "['z', 'r', 'g']"])
def test_bands_are_separated_by_anything(tmp_path, text):
    cube = np.random.default_rng(0).normal(size=(3, 20, 20)).astype(np.float32)
    fits.PrimaryHDU(cube, fits.Header({"BANDS": text})).writeto(tmp_path / "a.fits")
    fits.PrimaryHDU(cube).writeto(tmp_path / "b.fits")
    for row in ({"cutout": "a.fits"}, {"cutout": "b.fits", "bands": text}):
        assert read_cutout(row, tmp_path, DECALS).bands == ("z", "r", "g")


def test_bands_on_different_pixels_need_sky_coordinates(tmp_path):
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0,
           "CRPIX1": 8.0, "CRPIX2": 10.0, "CD1_1": -7e-5, "CD2_2": 7e-5}  # fmt: skip
    row = {"cutout": "{band}.fits", "ra": 150.0, "dec": 2.0}

    def written(**files):
        for band, (side, cards) in files.items():
            hdu = fits.PrimaryHDU(np.ones((side, side), np.float32), fits.Header(cards))
            hdu.writeto(tmp_path / f"{band}.fits", overwrite=True)
        return read_cutout(row, tmp_path, DECALS)

    for g, r in (((20, {}), (40, {})), ((20, {}), (20, sky)), ((20, sky), (40, {}))):
        with pytest.raises(CutoutError, match=r"bands g .* and r .* on different pixels"):
            written(g=g, r=r)
    assert written(g=(20, {}), r=(20, {})).bands == ("g", "r")
    assert written(g=(20, sky), r=(40, sky)).bands == ("g", "r")


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("shape", ["struct of lists", "list of structs"])
def test_nested_masks_mark_missing_pixels(good, shape):
    """True is good in the Multimodal Universe, and bad elsewhere."""
    flux = np.random.default_rng(0).normal(size=(2, 12, 12)).astype(np.float32)
    bad = np.zeros(flux.shape, bool)
    bad[0, 2:4, 5:9] = True
    fields = {"band": ["g", "r"], "flux": flux.tolist(), "mask": (bad ^ good).tolist(),
              "psf_fwhm": [1.0, 1.1], "scale": [0.3, 0.3]}  # fmt: skip
    rows = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    image = pa.array([fields if shape == "struct of lists" else rows])
    np.testing.assert_array_equal(read_nested_image(image[0]).pixels, np.where(bad, np.nan, flux))


def test_a_nested_mask_of_half_the_pixels_is_refused():
    mask = [[[True] * 6, [False] * 6]]
    image = pa.array([{"band": ["g"], "flux": [[[1.0] * 6] * 2], "mask": mask}])
    with pytest.raises(CutoutError, match="marks 50% of the pixels: it could mark the good or"):
        read_nested_image(image[0])


@pytest.mark.parametrize("kind", ["fits", "npy"])
def test_infinite_flux_at_the_galaxy_is_refused(tmp_path, kind):
    cube = np.random.default_rng(0).normal(size=(3, 21, 21)).astype(np.float32)
    for place, refused in (((1, 10, 11), True), ((1, 2, 3), False)):
        bad = cube.copy()
        bad[place] = np.inf
        np.save(tmp_path / "a.npy", bad)
        fits.PrimaryHDU(bad).writeto(tmp_path / "a.fits", overwrite=True)
        if not refused:
            assert read_cutout({"cutout": f"a.{kind}"}, tmp_path, DECALS).bands
            continue
        with pytest.raises(CutoutError, match="flux at the galaxy is infinite"):
            read_cutout({"cutout": f"a.{kind}"}, tmp_path, DECALS)


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


@pytest.mark.parametrize(
    ("stated", "read_as"), [("DECaLS", "hsc"), ("SDSS", "decals"), ("KiDS", "sdss")]
)
def test_an_image_of_another_built_in_survey_is_refused(stated, read_as):
    pixels, header = np.ones((1, 4, 4), np.float32), fits.Header({"SURVEY": stated})
    with pytest.raises(CutoutError, match=f"SURVEY = {stated}, but the image is read as {read_as}"):
        calibrate(pixels, header, get_survey(read_as), 0.25)
    own = get_survey(read_as).model_copy(update={"name": "mine"})
    assert calibrate(pixels, header, own, 0.25).mean() == 1


@pytest.mark.parametrize(
    ("stated", "read_as"),
    [("DECaLS", "decals-dr11"), ("HSC", "hsc-deep"), ("LegacySurvey", "sdss")],
)
def test_other_releases_and_unknown_names_of_a_survey_are_read(stated, read_as):
    header = fits.Header({"SURVEY": stated})
    assert calibrate(np.ones((1, 4, 4), np.float32), header, get_survey(read_as), 0.25).mean() == 1

"""Units, zeropoints and stretches of FITS headers against astropy.units and arithmetic."""

import io

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from galaxy_da.errors import CutoutError
from galaxy_da.images.calibration import calibrate, calibration_cards
from galaxy_da.images.cutouts import read_image
from galaxy_da.surveys import Survey, get_survey

BAND = {"name": "r", "wavelength_nm": 620.0, "psf_fwhm_arcsec": 1.0, "depth_mag": 24.0}
PIXEL = 0.3
VALUES = np.array([[[0.5, 2.0], [-3.0, 7.0]]], np.float32)
MAGGY = 3631 * u.Jy  # the AB flux of magnitude 0


def survey(unit="nanomaggy", **more):
    return Survey.model_validate(
        {"name": "mine", "title": "Mine", "bands": [BAND], "pixel_scale_arcsec": PIXEL,
         "flux_unit": unit, **more}
    )  # fmt: skip


def nanomaggies(header, definition=None, scale=PIXEL):
    """Nanomaggies of a value of one, in a pixel of the file, by the code under test."""
    definition = definition or survey()
    cards = fits.Header()
    cards.update(header)
    got = calibrate(VALUES, cards, definition, scale)
    np.testing.assert_allclose(got, VALUES * got[0, 1, 1] / VALUES[0, 1, 1], rtol=1e-5)
    return float(got[0, 1, 1] / VALUES[0, 1, 1]) * definition.nanomaggy_per_unit


def of(quantity):
    """Nanomaggies of a flux density or, in the pixel of the test, a surface brightness."""
    quantity = 1 * quantity
    if quantity.unit.is_equivalent(u.Jy / u.sr):
        quantity = quantity * (PIXEL * u.arcsec) ** 2
    return (quantity / MAGGY).to_value(u.one, u.dimensionless_angles()) * 1e9


COMMENTED = (25.0, "[mag] Vega zeropoint")
JY, AREA = u.Jy, u.arcsec**2


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("Jy", 1 * JY), ("JY", 1 * JY), ("jy", 1 * JY), ("mJy", 1e-3 * JY), ("MJy", 1e6 * JY),
        ("uJy", 1e-6 * JY), ("ujy", 1e-6 * JY), ("UJY", 1e-6 * JY), ("microJy", 1e-6 * JY),
        ("micro Jansky", 1e-6 * JY), ("microjanskys", 1e-6 * JY), ("1e-6 Jy", 1e-6 * JY),
        ("10**-6 Jy", 1e-6 * JY), ("nJy", 1e-9 * JY), ("nanoJy", 1e-9 * JY),
        ("nJy/pix", 1e-9 * JY), ("nJy / pixel", 1e-9 * JY), ("nJy pix-1", 1e-9 * JY),
        ("MJy/sr", 1e6 * JY / u.sr), ("MJy sr-1", 1e6 * JY / u.sr), ("MJy.sr-1", 1e6 * JY / u.sr),
        ("MJy sr^-1", 1e6 * JY / u.sr), ("Jy/deg2", JY / u.deg**2),
        ("uJy/arcsec2", 1e-6 * JY / AREA), ("uJy/arcsec^2", 1e-6 * JY / AREA),
        ("uJy arcsec-2", 1e-6 * JY / AREA), ("mJy/arcsec**2", 1e-3 * JY / AREA),
        ("maggy", MAGGY), ("maggies", MAGGY), ("Maggies", MAGGY), ("mgy", MAGGY),
        ("nanomaggy", 1e-9 * MAGGY), ("nanomaggies", 1e-9 * MAGGY), ("NANOMAGGY", 1e-9 * MAGGY),
        ("nmgy", 1e-9 * MAGGY), ("nMgy", 1e-9 * MAGGY), ("nmaggy", 1e-9 * MAGGY),
        ("1e-9 maggy", 1e-9 * MAGGY), ("nanomaggies/arcsec^2", 1e-9 * MAGGY / AREA),
        ("nanomaggy/pix", 1e-9 * MAGGY), ("maggy/sr", MAGGY / u.sr),
        ("Nanomaggie", 1e-9 * MAGGY), ("micromaggy", 1e-6 * MAGGY), ("umgy", 1e-6 * MAGGY),
        ("mmgy", 1e-3 * MAGGY), ("NANOMAGGIES/ARCSEC2", 1e-9 * MAGGY / AREA),
        ("mjy", 1e-3 * JY), ("mjy/arcsec2", 1e-3 * JY / AREA), ("MJY/SR", 1e6 * JY / u.sr),
        ("MJY SR-1", 1e6 * JY / u.sr), ("UJY/ARCSEC^2", 1e-6 * JY / AREA), ("NJY/PIX", 1e-9 * JY),
        ("ERG/S/CM2/HZ", u.erg / u.s / u.cm**2 / u.Hz),
        ("erg/s/cm2/Hz", u.erg / u.s / u.cm**2 / u.Hz),
        ("erg s-1 cm-2 Hz-1", u.erg / u.s / u.cm**2 / u.Hz),
        ("erg/s/cm^2/Hz", u.erg / u.s / u.cm**2 / u.Hz),
        ("erg/s/cm2/Hz/arcsec2", u.erg / u.s / u.cm**2 / u.Hz / AREA),
        ("W m-2 Hz-1", u.W / u.m**2 / u.Hz),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", ["nanomaggy", "Jy", "uJy"])
def test_physical_units_in_all_spellings(text, one, unit):
    assert nanomaggies({"BUNIT": text}, survey(unit)) == pytest.approx(of(one), rel=2e-3)


@pytest.mark.parametrize("text", ["MJy/sr", "nanomaggy/arcsec2"])
def test_surface_brightness_follows_the_pixel_of_the_file(text):
    small, large = (nanomaggies({"BUNIT": text}, scale=s) for s in (0.1, 0.3))
    assert large / small == pytest.approx(9, rel=1e-4)
    fixed = survey(flux_pixel_scale_arcsec=0.3)
    assert nanomaggies({"BUNIT": text}, fixed, 0.1) == pytest.approx(large, rel=1e-4)


@pytest.mark.parametrize(
    "text",
    ["adu", "ADU", "DN", "counts", "COUNTS",
     "count", "ct", "electron", "ELECTRONS", "e-", "photons",
     "adu/s", "counts/s", "counts per second", "electron/s", "electrons s-1", "e-/s",
     "electron s^-1",
     "electron s**-1", "electron.s-1", "DN/sec", "electron/s/pix"],
)  # fmt: skip
def test_counts_need_a_zeropoint(text):
    for cards in ({"MAGZERO": 25.0}, {"FLUXMAG0": 1e10}):
        assert nanomaggies({"BUNIT": text, **cards}) == pytest.approx(10 ** (-0.4 * 2.5), rel=1e-4)
    own = survey("count", zeropoint_mag=27.5)
    assert nanomaggies({"BUNIT": text}, own) == pytest.approx(10 ** (-0.4 * 5), rel=1e-4)
    with pytest.raises(CutoutError, match=r"defined in 'nanomaggy' and the header names no zerop"):
        nanomaggies({"BUNIT": text})


@pytest.mark.parametrize("text", ["", "none", "unknown"])
def test_a_silent_header_leaves_it_to_the_definition(text):
    for unit in ("nanomaggy", "maggy", "nJy", "uJy", "Jy"):
        got = nanomaggies({"BUNIT": text}, survey(unit))
        assert got == pytest.approx(of(1 * u.Unit(unit)) if "Jy" in unit else
                                    {"nanomaggy": 1, "maggy": 1e9}[unit], rel=2e-3)  # fmt: skip
    own = survey("count", zeropoint_mag=30.0)
    assert nanomaggies({"BUNIT": text}, own) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize(
    "card", ["MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPNT", "ABMAGZP", "ZPT", "ZP_AB"]
)
@pytest.mark.parametrize("value", [22.5, 25.0, 31, 0.0])
def test_a_zeropoint_of_the_header_wins_over_the_definition(card, value):
    for definition in (survey(), survey("count", zeropoint_mag=27.0)):
        expected = 10 ** (-0.4 * (value - 22.5))
        assert nanomaggies({card: value}, definition) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"BUNIT": "uJy", "MAGZERO": 25.0}, r"'uJy' means an AB zeropoint of 23\.90 but MAGZERO"),
        ({"BUNIT": "nanomaggy", "FLUXMAG0": 1e10}, r"zeropoint of 22\.50 but FLUXMAG0 says 25\.00"),
        ({"MAGZERO": 25.0, "MAGZPT": 30.0}, r"MAGZERO states .* 25\.000 but MAGZPT states 30\.000"),
        ({"MAGZERO": 25.0, "FLUXMAG0": 1e9}, "MAGZERO states .* but FLUXMAG0"),
        ({"MAGZERO": 25.0, "MAGSYS": "Vega"}, "MAGSYS says 'Vega'.* not an AB magnitude"),
        ({"MAGZPT": 25.0, "ZPSYS": "VEGAMAG"}, "ZPSYS says 'VEGAMAG'"),
        ({"MAGZPT": 25.0, "MAGSYS": "STMAG"}, "STMAG"),
        ({"MAGZPT": COMMENTED}, "comment of MAGZPT says .*Vega"),
        ({"MAGZPT": 25.0, "INSTRUME": "WFCAM"}, "zeropoint MAGZPT of WFCAM is a Vega magnitude"),
        ({"MAGZERO": 99.0}, "states the zeropoint 99, which no survey has"),
        ({"MAGZERO": "25 mag"}, "MAGZERO must be a number but is '25 mag'"),
        ({"MAGZERO": True}, "MAGZERO must be a number but is T"),
        ({"FLUXMAG0": 0.0}, "FLUXMAG0 must be positive"),
        ({"FLUXMAG0": -1e9}, "FLUXMAG0 must be positive"),
        ({"BUNIT": "m"}, "neither a flux density nor a surface brightness"),
        ({"BUNIT": "furlong"}, "is no unit that astropy knows"),
        ({"BUNIT": "mag"}, "neither a flux density nor a surface brightness"),
        ({"BUNIT": "mag(AB)"}, "is no unit"),
        ({"BUNIT": "MJY"}, "is no unit that astropy knows"),
        ({"BUNIT": "mjy/sr"}, "is no unit that astropy knows"),
        ({"BUNIT": "MJY/ARCSEC2"}, "is no unit that astropy knows"),
        ({"BUNIT": "erg/s/cm2/Angstrom"}, "neither a flux density"),
        ({"BUNIT": "Jy/beam"}, "neither a flux density"),
        ({"BUNIT": "Jy2"}, "neither a flux density"),
        ({"BUNIT": "0 Jy"}, "BUNIT '0 Jy' is no"),
        ({"BUNIT": "-1 Jy"}, "no positive unit"),
        ({"BUNIT": "nonsense !!"}, "is no unit that astropy knows"),
    ],
)
def test_contradictions_and_nonsense_are_refused_by_name(cards, message):
    with pytest.raises(CutoutError, match=message):
        nanomaggies(cards)


def test_agreeing_cards_are_accepted():
    cards = {"BUNIT": "uJy", "MAGZERO": 23.9, "MAGZPT": 23.9001, "FLUXMAG0": 10 ** (23.9 / 2.5),
             "MAGSYS": "AB", "INSTRUME": "WFCAM"}  # fmt: skip
    assert nanomaggies(cards) == pytest.approx(of(1e-6 * JY), rel=2e-3)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [({"EXPTIME": 40.0}, 1 / 40), ({"EXPTIME": 40, "BUNIT": "adu"}, 1 / 40),
     ({"BUNIT": "adu/s"}, 1.0), ({"BUNIT": "e-/s", "EXPTIME": 40.0}, 1.0)],
)  # fmt: skip
def test_counts_are_divided_by_the_exposure_unless_they_are_rates(cards, expected):
    own = survey("count", zeropoint_mag=22.5, exposure_keyword="EXPTIME")
    assert nanomaggies(cards, own) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("exposure", [None, 0.0, -3.0, "forty"])
def test_a_wrong_exposure_is_refused(exposure):
    own = survey("count", zeropoint_mag=25.0, exposure_keyword="EXPTIME")
    cards = {} if exposure is None else {"EXPTIME": exposure}
    with pytest.raises(CutoutError, match="needs the exposure time in card EXPTIME but it is"):
        nanomaggies(cards, own)


def test_asinh_counts_of_pan_starrs_become_linear():
    """Waters et al. 2020: value = α asinh((flux - BOFFSET) / 2 BSOFTEN), α = 2.5 log10 e."""
    flux = np.array([[[-40.0, 0.0], [3.0, 20000.0]]])
    offset, soften = 1.25, 8.5
    alpha = 2.5 * np.log10(np.e)
    values = (alpha * np.arcsinh((flux - offset) / (2 * soften))).astype(np.float32)
    header = fits.Header({"BOFFSET": offset, "BSOFTEN": soften, "EXPTIME": 50.0})
    got = calibrate(values, header, get_survey("ps1"), 0.25)
    np.testing.assert_allclose(got, flux / 50, rtol=1e-4, atol=1e-4)
    far = calibrate(np.full((1, 1, 1), 3e3, np.float32), header, get_survey("ps1"), 0.25)
    assert np.isinf(far).all()


@pytest.mark.parametrize(
    "name", ["decals", "sdss", "hsc", "ps1", "des", "kids", "euclid-vis", "rubin"]
)
def test_cards_of_calibrated_pixels_leave_them_as_they_are(name):
    definition = get_survey(name)
    got = calibrate(VALUES, fits.Header(calibration_cards(definition)), definition, 0.3)
    np.testing.assert_array_equal(got, VALUES)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "u2", "u4"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("blank", [0, 7])
def test_scaled_integers_and_blank_pixels(dtype, compressed, blank):
    """BSCALE, BZERO and BLANK: value = BZERO + BSCALE × integer, and BLANK is missing."""
    rng = np.random.default_rng(4)
    stored = rng.integers(1, 120, (40, 48)).astype(dtype)
    stored[3, 5] = blank
    kind = fits.CompImageHDU if compressed else fits.PrimaryHDU
    hdu = kind(stored)
    offset = {"u2": 2**15, "u4": 2**31}.get(dtype)  # of BZERO, written by astropy
    hdu.header["BLANK"] = blank - (offset or 0)
    if offset is None:
        hdu.header["BSCALE"], hdu.header["BZERO"] = 0.25, -10.0
    hdu.header["BUNIT"] = "uJy"
    buffer = io.BytesIO()
    hdus = [fits.PrimaryHDU(), hdu] if compressed else [hdu]
    fits.HDUList(hdus).writeto(buffer)
    true = stored.astype(float) if offset is not None else -10 + 0.25 * stored.astype(float)
    got = read_image(buffer.getvalue(), survey("uJy")).pixels[0]
    np.testing.assert_allclose(got, np.where(stored == blank, np.nan, true), rtol=1e-6)

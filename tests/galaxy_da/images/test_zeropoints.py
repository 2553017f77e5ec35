"""Zeropoints per second, per ADU, per plane and of HST, against arithmetic and astropy.units."""

import io

import astropy.constants as const
import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from galaxy_da.errors import CutoutError
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.cutouts import read_image
from galaxy_da.surveys import Survey, get_survey

BAND = {"name": "r", "wavelength_nm": 620.0, "psf_fwhm_arcsec": 1.0, "depth_mag": 24.0}


def survey(unit="nanomaggy", bands="r", **more):
    return Survey.model_validate(
        {"name": "mine", "title": "Mine", "bands": [{**BAND, "name": name} for name in bands],
         "pixel_scale_arcsec": 0.3, "flux_unit": unit, **more}
    )  # fmt: skip


def nanomaggies(cards, definition=None):
    """Nanomaggies of a value of one."""
    definition = definition or survey()
    header = fits.Header()
    header.update(cards)
    one = calibrate(np.ones((1, 2, 2), np.float32), header, definition, 0.3)
    return float(one.mean()) * definition.nanomaggy_per_unit


def of_mag(mag):
    return 10 ** (-0.4 * (mag - 22.5))


SECONDS, GAIN = 40.0, 4.0
TAKEN = {"EXPTIME": SECONDS, "GAIN": GAIN}


@pytest.mark.parametrize("definition", [survey(), survey("count", zeropoint_mag=27.0)])
@pytest.mark.parametrize(
    ("comment", "per_second", "count"),
    [
        ("[mag] AB zeropoint", False, ""), ("AB, i.e. of all e-bands/stars", False, ""),
        ("[mag] per second", True, ""),
        ("AB mag of 1 count/s", True, ""), ("zeropoint for 1 s", True, ""),
        ("mag of 1 ADU", False, "adu"), ("AB magnitude of one ADU/sec", True, "adu"),
        ("zeropoint [e-/s]", True, "electron"), ("mag of one electron", False, "electron"),
        ("AB, 1 DN per second", True, "adu"), ("AB mag of count rate 1", True, ""),
        ("magnitude of 1 e- s-1", True, "electron"), ("mag of 1 e", False, "electron"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", ["adu", "DN/s", "electrons", "e-/s", "counts", "count s-1"])
def test_comments_say_which_count_a_zeropoint_is_of(unit, comment, per_second, count, definition):
    """One pixel unit is so many counts of the zeropoint: 1/EXPTIME, GAIN or 1/GAIN of them."""
    expected = of_mag(26.0)
    if per_second and "s" not in unit.replace("electrons", "").replace("counts", ""):
        expected /= SECONDS
    own = "adu" if unit in ("adu", "DN/s") else "electron" if unit.startswith("e") else count
    if count:
        expected *= {("adu", "electron"): GAIN, ("electron", "adu"): 1 / GAIN}.get((own, count), 1)
    cards = {"BUNIT": unit, "MAGZERO": (26.0, comment), **TAKEN}
    assert nanomaggies(cards, definition) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"BUNIT": "adu", "MAGZERO": (26.0, "per second")}, "EXPTIME but it is missing"),
        ({"BUNIT": "adu", "MAGZERO": (26.0, "per second"), "EXPTIME": 0}, "EXPTIME but it is 0"),
        ({"MAGZERO": (26.0, "per second"), "EXPTIME": 9.0}, "no BUNIT says if the pixels are"),
        ({"BUNIT": "electron", "MAGZERO": (26.0, "of 1 ADU")}, "of one ADU but BUNIT says 'electr"),
        ({"BUNIT": "adu", "MAGZERO": (26.0, "of 1 e-"), "GAIN": -1}, "no GAIN .electrons per ADU"),
        ({"BUNIT": "adu", "MAGZERO": (26.0, "[mag/s]"), "EXPTIME": 9.0}, "or of counts per second"),
        ({"BUNIT": "electrons", "PHOTFLAM": 1e-19, "EXPTIME": 9.0}, "PHOTPLAM must be a number"),
        ({"BUNIT": "electrons", "PHOTFLAM": -1e-19}, "PHOTFLAM must be positive"),
        ({"BUNIT": "electrons/s", "PHOTFNU": 1e-7, "MAGZERO": 20.0}, "MAGZERO states .* PHOTFNU"),
        ({"PHOTFNU": 1e-7, "EXPTIME": 9.0}, "no BUNIT says"),
        ({"MAG_ZP": "25.0"}, "MAG_ZP looks like a zeropoint of 25"),
        ({"ZP_G": 25.0}, "ZP_G looks like"),
    ],
)
def test_what_no_card_converts_is_refused(cards, message):
    with pytest.raises(CutoutError, match=message):
        nanomaggies(cards)


def test_coadds_of_des_are_scaled_to_their_zeropoint():
    """Their comment says "magnitudes/s"; `test_photometry` measures that 30.0 holds as it is."""
    cards = {"BUNIT": "electrons", "MAGZERO": (30.0, "Mag Zero-point in magnitudes/s"), **TAKEN}
    assert nanomaggies(cards, get_survey("des")) == pytest.approx(of_mag(30.0), rel=1e-4)


def test_numbers_written_as_text_are_read():
    cards = {"BUNIT": "adu", "MAGZERO": (" 26.0 ", "per second"), "EXPTIME": "40"}
    assert nanomaggies(cards) == pytest.approx(of_mag(26.0) / 40, rel=1e-4)
    own = survey("count", zeropoint_mag=22.5, exposure_keyword="EXPTIME")
    assert nanomaggies({"EXPTIME": "53.9"}, own) == pytest.approx(1 / 53.9, rel=1e-4)


@pytest.mark.parametrize(
    ("unit", "seconds"), [("ELECTRONS/S", 1), ("ELECTRONS", 1200.0), ("COUNTS", 1200.0)]
)
def test_inverse_sensitivities_of_hst(unit, seconds):
    """ACS F814W, of 25.94 AB mag: the flux of one electron per second."""
    flam, pivot = 7.03e-20 * u.erg / u.s / u.cm**2 / u.AA, 8045.0 * u.AA
    flux = (flam * pivot**2 / const.c).to(u.Jy)
    assert flux.to(u.ABmag).value == pytest.approx(25.94, abs=0.02)
    common = {"BUNIT": unit, "EXPTIME": 1200.0, "PHOTZPT": -21.1}
    expected = (flux / (3631 * u.Jy)).to_value("") * 1e9 / seconds
    for cards in (
        {"PHOTFLAM": flam.value, "PHOTPLAM": pivot.value},
        {"PHOTFNU": flux.value},
        {"PHOTFNU": flux.value, "PHOTFLAM": 0.0, "MAGZERO": 25.94},
    ):
        assert nanomaggies({**common, **cards}) == pytest.approx(expected, rel=0.02)
    physical = {"BUNIT": "uJy", "PHOTFNU": flux.value}  # of the counts before calibration
    assert nanomaggies(physical) == pytest.approx(1e9 * 1e-6 / 3631, rel=1e-3)


@pytest.mark.parametrize("pattern", ["MAGZERO{}", "MAGZPT_{}", "ZP{}"])
@pytest.mark.parametrize("start", [0, 1])
def test_each_plane_has_its_zeropoint(pattern, start):
    mags = [25.0, 26.0, 27.0]
    cards = {pattern.format(i + start): mag for i, mag in enumerate(mags)}
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.ones((3, 8, 8), np.float32), fits.Header(cards)).writeto(buffer)
    got = read_image(buffer.getvalue(), survey(bands="grz")).pixels
    np.testing.assert_allclose(got[:, 0, 0], [of_mag(mag) for mag in mags], rtol=1e-5)
    del cards[pattern.format(1)]
    with pytest.raises(CutoutError, match="not one for each of the 3 planes"):
        calibrate(np.ones((3, 8, 8), np.float32), fits.Header(cards), survey(bands="grz"), 0.3)


@pytest.mark.parametrize(
    ("name", "plane", "image", "noise", "sigma"),
    [
        ("SIGMA", 0.3, {"BUNIT": "uJy"}, {"BUNIT": "nJy"}, 0.3e-9 * u.Jy),
        ("SIGMA", 0.3, {"BUNIT": "uJy"}, {"BUNIT": "uJy"}, 0.3e-6 * u.Jy),
        ("RMS", 0.3, {"BUNIT": "adu", "MAGZERO": 8.9}, {"BUNIT": "uJy"}, 0.3e-6 * u.Jy),
        ("RMS", 0.3, {"BUNIT": "uJy"}, {"BUNIT": "adu", "MAGZERO": 18.9}, 0.3e-4 * u.Jy),
        ("RMS", 0.3, {"MAGZERO": 8.9}, {"MAGZERO": 18.9}, 0.3e-4 * u.Jy),
        ("VARIANCE", 0.09, {"BUNIT": "uJy"}, {"BUNIT": "nJy2"}, 0.3e-9 * u.Jy),
        ("VARIANCE", 0.09, {"BUNIT": "uJy"}, {"BUNIT": "uJy**2"}, 0.3e-6 * u.Jy),
        ("VARIANCE", 0.09, {"BUNIT": "uJy"}, {"BUNIT": "uJy"}, 0.3e-6 * u.Jy),
        ("VAR", 0.09, {"BUNIT": "adu", "MAGZERO": 8.9}, {"BUNIT": "adu2"}, 0.3 * u.Jy),
        ("VAR", 0.09, {"BUNIT": "e-/s", "MAGZERO": 8.9}, {"BUNIT": "(e-/s)^2"}, 0.3 * u.Jy),
        ("IVAR", 100 / 9, {"BUNIT": "uJy"}, {"BUNIT": "nanomaggy-2"}, 0.3e-9 * 3631 * u.Jy),
        ("IVAR", 100 / 9, {"BUNIT": "uJy"}, {"BUNIT": "1/nJy^2"}, 0.3e-9 * u.Jy),
        ("IVAR", 100 / 9, {"BUNIT": "nanomaggy"}, {}, 0.3e-9 * 3631 * u.Jy),
    ],
)
def test_noise_is_in_the_unit_of_its_own_extension(name, plane, image, noise, sigma):
    pixels = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    spread = np.full((8, 8), plane, np.float32)
    hdus = [fits.ImageHDU(pixels, fits.Header(image), name="SCI"),
            fits.ImageHDU(spread, fits.Header(noise), name=name)]  # fmt: skip
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer)
    (got,) = read_image(buffer.getvalue(), survey()).noise
    assert got == pytest.approx((sigma / (3631 * u.Jy)).to_value("") * 1e9, rel=2e-3)


def test_noise_in_no_unit_is_refused():
    pixels = np.ones((8, 8), np.float32)
    for name, unit in (("VARIANCE", "nJy"), ("IVAR", "furlong-2"), ("SIGMA", "m")):
        hdus = [fits.ImageHDU(pixels, fits.Header({"BUNIT": "uJy"}), name="SCI"),
                fits.ImageHDU(pixels, fits.Header({"BUNIT": unit}), name=name)]  # fmt: skip
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer)
        with pytest.raises(CutoutError, match="noise"):
            read_image(buffer.getvalue(), survey())

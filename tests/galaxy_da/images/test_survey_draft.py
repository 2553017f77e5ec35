import math
import tomllib

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_da.cli import main
from galaxy_da.errors import SurveyError
from galaxy_da.images.survey_draft import draft_survey
from galaxy_da.images.survey_header import wavelength_of
from galaxy_da.surveys import get_survey, load_survey

ANSWERS = {
    "name": "mine", "title": "Mine", "bands": "B,I", "pixel_scale_arcsec": "0.4",
    "flux_unit": "count", "zeropoint_mag": "27", "psf_fwhm_arcsec": "1.1", "depth_mag": "24",
    "I.depth_mag": "23.5",
}  # fmt: skip


def cutout(path, sigma=0.01, pixel=0.3, side=96, **cards):
    """Write a FITS cube of noise of three planes with a WCS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [48, 48]
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    header = wcs.to_header()
    header.update({"BANDS": "gri", "BUNIT": "nanomaggy", **cards})
    noise = np.random.default_rng(5).normal(0, sigma, (3, side, side)).astype(np.float32)
    fits.writeto(path, noise, header)
    return path


def test_answers_alone_make_a_definition(tmp_path):
    survey = draft_survey(tmp_path / "mine.toml", answers=ANSWERS)
    assert survey == load_survey(tmp_path / "mine.toml")
    assert survey.band_names == ("B", "I")
    assert [band.wavelength_nm for band in survey.bands] == [440, 800]
    assert [band.depth_mag for band in survey.bands] == [24, 23.5]
    assert survey.zeropoint_mag == 27


def test_every_value_has_a_comment(tmp_path):
    draft_survey(tmp_path / "mine.toml", answers=ANSWERS)
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    names = ('name = "B', 'name = "I')
    values = [line for line in lines if " = " in line and not line.startswith(("#", *names))]
    assert len(values) == 5 + 2 * 3
    assert all(len(line.partition("# ")[2]) > 5 for line in values)


def test_the_header_of_a_cutout_answers_what_it_says(tmp_path):
    image = cutout(tmp_path / "a.fits", TELESCOP="Test Telescope", SEEING=0.9)
    survey = draft_survey(tmp_path / "mine.toml", image)
    assert (survey.name, survey.title) == ("test-telescope", "Test Telescope")
    assert survey.band_names == ("g", "r", "i")
    assert survey.pixel_scale_arcsec == pytest.approx(0.3, abs=1e-4)
    assert survey.flux_unit == "nanomaggy"
    assert {band.psf_fwhm_arcsec for band in survey.bands} == {0.9}
    comments = (tmp_path / "mine.toml").read_text()
    assert "card SEEING" in comments and "WCS of the image" in comments


def test_depth_follows_from_the_noise(tmp_path):
    # the expected flux is 5 sigma of a matched filter on a drawn PSF
    sigma, fwhm, pixel = 0.013, 1.2, 0.3
    image = cutout(tmp_path / "a.fits", sigma, pixel)
    given = {"name": "m", "title": "M", "psf_fwhm_arcsec": str(fwhm)}
    survey = draft_survey(tmp_path / "m.toml", image, given)
    y, x = np.mgrid[-30:31, -30:31] * pixel
    width = fwhm / (2 * math.sqrt(2 * math.log(2)))
    psf = np.exp(-(x**2 + y**2) / (2 * width**2))
    psf /= psf.sum()
    flux = 5 * sigma / math.sqrt((psf**2).sum())
    expected = 22.5 - 2.5 * math.log10(flux)
    assert [band.depth_mag for band in survey.bands] == pytest.approx([expected] * 3, abs=0.06)


def test_a_zeropoint_card_makes_counts(tmp_path):
    image = cutout(tmp_path / "a.fits", BUNIT="adu", MAGZERO=26.5)
    given = {"name": "m", "title": "M", "psf_fwhm_arcsec": "1", "depth_mag": "24"}
    survey = draft_survey(tmp_path / "m.toml", image, given)
    assert (survey.flux_unit, survey.zeropoint_mag) == ("count", 26.5)


def test_a_person_is_asked_with_the_headers_values_as_proposals(tmp_path):
    image = cutout(tmp_path / "a.fits", SEEING=0.9)
    asked = {}

    def ask(name, meaning, proposal):
        asked[name] = proposal
        return {"name": "mine", "title": "Mine", "r.psf_fwhm_arcsec": "0.7"}.get(name, proposal)

    survey = draft_survey(tmp_path / "mine.toml", image, {"g.depth_mag": "25"}, ask)
    assert asked["pixel_scale_arcsec"] == pytest.approx(0.3, abs=1e-4)
    assert asked["name"] is None and "g.depth_mag" not in asked
    assert [band.psf_fwhm_arcsec for band in survey.bands] == [0.9, 0.7, 0.9]
    assert survey.band("g").depth_mag == 25


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "nothing says bands, name, title, pixel_scale_arcsec, flux_unit"),
        ({k: v for k, v in ANSWERS.items() if k != "zeropoint_mag"}, "nothing says zeropoint_mag;"),
        ({"psf_fwhm_arcsec": "1"}, "nothing says bands,.*flux_unit is nanomaggy.*, or give a FITS"),
        (ANSWERS | {"dept": "3"}, "no such field: dept; fields are name, title"),
        (ANSWERS | {"name": "hsc"}, "hsc: is built in; give the definition another name"),
        (ANSWERS | {"name": "My Süd"}, "name: 'My Süd' is no name; use lower-case letters, digits"),
        (ANSWERS | {"depth_mag": "deep"}, "depth_mag is a number, not 'deep'"),
        (ANSWERS | {"flux_unit": "adu"}, "flux_unit: Input should be"),
        (ANSWERS | {"bands": "B,I,Q1"}, "nothing says Q1.wavelength_nm"),
    ],
)
def test_missing_and_wrong_values_are_named(tmp_path, answers, message):
    with pytest.raises(SurveyError, match=message):
        draft_survey(tmp_path / "mine.toml", answers=answers)
    assert list(tmp_path.iterdir()) == []


def test_a_depth_that_follows_from_the_noise_is_not_asked_for(tmp_path, data):
    cube, path = next((data / "decals_fits").glob("example_a*")), tmp_path / "mine.toml"
    answers = {"name": "mine", "title": "Mine", "psf_fwhm_arcsec": "1.2"}
    with pytest.raises(SurveyError, match=r"nothing says flux_unit; add .* or count\)$"):
        draft_survey(path, cube, answers)
    survey = draft_survey(path, cube, answers | {"flux_unit": "nanomaggy"})
    assert all(20 < band.depth_mag < 27 for band in survey.bands)


def test_an_existing_file_and_other_inputs_are_refused(tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    with pytest.raises(SurveyError, match="exists; change it by hand"):
        draft_survey(tmp_path / "mine.toml", answers=ANSWERS)
    with pytest.raises(SurveyError, match="give it a name ending in"):
        draft_survey(tmp_path / "mine.txt", answers=ANSWERS)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SurveyError, match="is no FITS file"):
        draft_survey(tmp_path / "new.toml", tmp_path / "a.jpg", ANSWERS)
    with pytest.raises(SurveyError, match="cannot be read"):
        draft_survey(tmp_path / "new.toml", tmp_path / "none.fits", ANSWERS)


@pytest.mark.parametrize(
    ("band", "telescope", "expected"),
    [
        ("F814W", "HST", 814), ("F160W", "HST", 1600), ("F200W", "JWST", 2000), ("F444W", "", 4440),
        ("F158", "ROMAN", 1580), ("HSC-G", "", None), ("DECam_r", "", 625), ("Ks", "", 2150),
        ("u*", "", 360), ("odd", "", None),
    ],
)  # fmt: skip
def test_wavelengths_of_known_filters(band, telescope, expected):
    assert wavelength_of(band, telescope) == expected


def test_filters_are_near_those_of_the_built_in_surveys():
    for name in ("decals", "sdss", "hsc", "ps1", "kids", "ukidss"):
        for band in get_survey(name).bands:
            assert wavelength_of(band.name) == pytest.approx(band.wavelength_nm, rel=0.05)


def test_the_command_writes_a_file_and_reads_it(tmp_path, capsys):
    out = tmp_path / "mine.toml"
    words = [word for name, value in ANSWERS.items() for word in ("--set", f"{name}={value}")]
    assert main(["surveys", "--new", str(out), *words]) == 0
    assert "I" in capsys.readouterr().out
    assert tomllib.loads(out.read_text())["bands"][1]["depth_mag"] == 23.5
    assert main(["surveys", "--new", str(tmp_path / "b.toml"), "--set", "name"]) == 2
    assert "takes NAME=VALUE" in capsys.readouterr().err
    assert main(["surveys", "hsc", "--set", "name=a"]) == 2
    assert "belong to --new" in capsys.readouterr().err

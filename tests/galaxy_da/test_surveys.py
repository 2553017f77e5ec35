import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from galaxy_da.cli import main
from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.images.calibration import calibrate
from galaxy_da.surveys import builtin_surveys, find_survey, get_survey, load_survey

TWO_BANDS = """
name = "mine"
title = "Mine"
pixel_scale_arcsec = 0.339
flux_unit = "count"
zeropoint_mag = 30
[[bands]]
name = "B"
wavelength_nm = 440
psf_fwhm_arcsec = 1.1
depth_mag = 24
[[bands]]
name = "I"
wavelength_nm = 800
psf_fwhm_arcsec = 0.9
depth_mag = 23
"""


def test_surveys_of_every_kind_are_built_in():
    of_the_space = {"decals", "bass-mzls", "sdss", "hsc", "kids", "euclid-vis"}
    to_start_from = {
        "cfhtls-wide", "decals-dr11", "decaps", "delve", "des", "hsc-deep", "hst-acs", "hst-wfc3",
        "jpas", "jwst-nircam", "ps1", "roman", "rubin", "rubin-dp1", "splus", "ukidss", "unions",
        "vhs", "viking",
    }  # fmt: skip
    assert set(builtin_surveys()) == of_the_space | to_start_from


@pytest.mark.parametrize("name", sorted(builtin_surveys()))
def test_a_definition_is_plausible_and_names_its_source(name):
    survey = get_survey(name)
    wavelengths = [band.wavelength_nm for band in survey.bands]
    assert wavelengths == sorted(wavelengths)
    assert survey.citation
    for band in survey.bands:
        assert 300 < band.wavelength_nm < 5000
        # a telescope of 6.5 m or less resolves no finer than 0.85 of its diffraction limit
        assert band.psf_fwhm_arcsec > 0.85 * 206265 * band.wavelength_nm * 1e-9 / 6.5
        assert 19 < band.depth_mag < 30


@pytest.mark.parametrize("name", sorted(builtin_surveys()))
def test_flux_unit_agrees_with_astropy(name):
    survey = get_survey(name)
    one_unit = (survey.zeropoint_mag * u.ABmag).to(u.Jy)
    assert survey.nanomaggy_per_unit == pytest.approx((one_unit / (3631e-9 * u.Jy)).value, rel=1e-3)


def test_unknown_survey_lists_known_surveys():
    with pytest.raises(SurveyError, match=r"unknown survey 'sdds'.*decals.*sdss"):
        get_survey("sdds")


def test_unknown_band_lists_known_bands():
    with pytest.raises(SurveyError, match="hsc: band 'u' is not in this survey; it has g, r, i, z"):
        get_survey("hsc").band("u")


def test_survey_from_a_users_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TWO_BANDS)
    survey = find_survey(str(path))
    assert survey.band_names == ("B", "I")
    assert survey.nearest_band(642).name == "I"
    assert survey.nanomaggy_per_unit == pytest.approx(10**-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('flux_unit = "count"', 'flux_unit = "adu"', "flux_unit"),
        ("zeropoint_mag = 30", "", "needs zeropoint_mag"),
        ('flux_unit = "count"', 'flux_unit = "nJy"', "contradicts flux_unit 'nJy'"),
        ('name = "I"', 'name = "B"', "bands repeat"),
        ('title = "Mine"', 'title = "Mine"\ncolour = "red"', "colour"),
        ("wavelength_nm = 440", "wavelength_nm = -1", "wavelength_nm"),
        ("[[bands]]", "[[bands]", "is not TOML"),
    ],
)
def test_bad_definitions_name_the_problem(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(TWO_BANDS.replace(old, new, 1 if "I" not in old else -1))
    with pytest.raises(SurveyError, match=message):
        load_survey(path)


def test_surveys_whose_zeropoint_differs_refuse_images_that_do_not_state_it():
    header, pixels = fits.Header(), np.ones((1, 4, 4), np.float32)
    viking = get_survey("viking")
    with pytest.raises(CutoutError, match=r"neither a flux unit nor a zeropoint.*viking differ"):
        calibrate(pixels, header, viking, 0.339)
    header["MAGZERO"] = 27.5
    expected = 10 ** (0.4 * (viking.zeropoint_mag - 27.5))
    assert calibrate(pixels, header, viking, 0.339)[0, 0, 0] == pytest.approx(expected)


def test_a_field_that_is_not_used_leaves_the_stored_definition_as_it_was():
    assert "needs_zeropoint" not in get_survey("decals").model_dump(mode="json")
    assert get_survey("viking").model_dump(mode="json")["needs_zeropoint"] is True


def test_missing_definition_is_an_error(tmp_path):
    with pytest.raises(SurveyError, match="no such survey file"):
        find_survey(str(tmp_path / "none.toml"))


def test_a_name_never_opens_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TWO_BANDS)
    with pytest.raises(SurveyError, match="unknown survey"):
        get_survey(str(path))


def test_the_command_says_how_a_space_reads_a_survey(tmp_path, capsys, space):
    plain = space.encoder("sdss", ("g", "r", "i"))
    adapted = replace(plain, record={"pairs": {"train": 300}})
    space.with_survey(adapted).save(tmp_path / "space")
    words = ["surveys", "sdss", "--json", "--space"]
    for where, expected in (
        ("decals", "by definition: planes g<-g, r<-r, z<-z; missing: none"),
        (str(tmp_path / "space"), "adapted with 300 pairs: planes g<-g, r<-r, z<-i; missing: none"),
    ):
        assert main([*words, where]) == 0
        assert json.loads(capsys.readouterr().out)["read"] == expected
    (tmp_path / "two.toml").write_text(TWO_BANDS)
    assert main(["surveys", "--file", str(tmp_path / "two.toml"), "--json"]) == 0
    read = json.loads(capsys.readouterr().out)["read"]
    assert read == "by definition: planes g<-B, z<-I; missing: r"

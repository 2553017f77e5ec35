import json
from dataclasses import replace

import pytest
from astropy import units as u

from galaxy_da.cli import main
from galaxy_da.errors import SurveyError
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


def test_ten_surveys_are_built_in():
    assert set(builtin_surveys()) == {
        "decals", "bass-mzls", "sdss", "ps1", "des", "hsc", "kids", "euclid-vis", "rubin", "ukidss",
    }  # fmt: skip


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

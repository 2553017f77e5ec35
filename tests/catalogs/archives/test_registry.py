import inspect
import json

import numpy as np
import pytest
from archives_server import serving
from archives_sky import DEC, RA
from mocpy import MOC
from server import Reply

from catalogs.archives.footprints import download_footprint, read_footprint
from catalogs.archives.registry import open_source, services
from catalogs.archives.source import CutoutSource
from galaxy_da.errors import CatalogError, SurveyError
from galaxy_da.surveys import builtin_surveys, get_survey

ARCHIVES = [
    "decals", "decals-dr11", "bass-mzls", "sdss", "ps1", "des", "hsc", "euclid-vis", "rubin",
]  # fmt: skip
PATCH = "8/397312-397400 11/"


@pytest.mark.parametrize("survey", ARCHIVES)
def test_every_default_source_is_complete(survey):
    source = open_source(survey)
    assert isinstance(source, CutoutSource) and source.service
    assert source.survey == survey
    assert source.suffix in (".fits", ".jpg")
    assert source.limits.concurrency <= 8 and source.limits.requests_per_second <= 10
    identity = dict(source.identity())
    assert all(isinstance(value, str | int | float) for value in identity.values())
    assert json.loads(json.dumps(identity)) == identity
    assert source.covers(np.array([RA]), np.array([DEC])) is None
    assert list(inspect.signature(source.fetch).parameters) == ["ra", "dec", "http"]


def test_services_are_named_the_default_first():
    assert list(services("euclid-vis")) == ["esa", "irsa", "mosaic", "sia", "hips"]
    assert list(services("kids")) == ["mosaic", "sia", "hips"]
    assert open_source("euclid-vis", "irsa").service == "irsa.ipac.caltech.edu"
    assert open_source("kids", "hips").hips == "CDS/P/KiDS/DR5/{band}"
    assert open_source("decals", size_px=99).size_px == 99


@pytest.mark.parametrize(
    ("survey", "service", "bands", "expected"),
    [
        ("decals", None, ("g", "r"), "gr"),
        ("ps1", None, ("i", "z"), "iz"),
        ("hsc", None, "gi", "gi"),
        ("euclid-vis", "hips", "VIS", ("VIS",)),
        ("rubin", None, "r", ("r",)),
        ("des", "noirlab", ("g", "Y"), ("g", "Y")),
    ],
)
def test_bands_may_be_named_as_text_or_one_by_one(survey, service, bands, expected):
    options = {"hips": "CDS/{band}"} if service == "hips" else {}
    assert open_source(survey, service, bands=bands, **options).bands == expected


@pytest.mark.parametrize("survey", sorted(builtin_surveys()))
def test_every_survey_has_a_service_or_names_the_choices(survey):
    if survey in ARCHIVES:
        assert open_source(survey).survey == survey
    else:
        with pytest.raises(CatalogError, match="no archive cuts it; name a service: mosaic, sia"):
            open_source(survey)


def test_a_survey_file_needs_no_code(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\npixel_scale_arcsec = 0.3\nflux_unit = "nanomaggy"\n'
        '[[bands]]\nname = "r"\nwavelength_nm = 620\npsf_fwhm_arcsec = 1\ndepth_mag = 24\n'
    )
    source = open_source(str(path), "hips", hips="CDS/P/MINE/{band}")
    assert source.bands == ("r",)
    options = {"url": "http://mine", "cut": "soda"}
    services = {"sia": options, "hips": {"hips": "CDS/P/MINE/{band}"}}
    before = {name: open_source(str(path), name, **services[name]) for name in services}
    assert before["sia"].bands == ("r",)
    identities = {name: source.identity() for name, source in before.items()}
    path.write_text(path.read_text().replace("nanomaggy", "nJy"))
    for name, identity in identities.items():  # what was fetched has the old unit
        assert open_source(str(path), name, **services[name]).identity() != identity


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("decals", "esa"), {}, "decals: service 'esa' has no cutouts of it; legacy, mosaic"),
        (("sdss",), {"layer": "x"}, "sdss: imgcutout does not take these options .*'layer'"),
        (("kids", "mosaic"), {}, "mosaic does not take these options .*'files'"),
    ],
)
def test_a_source_that_cannot_be_opened_is_one_clear_line(arguments, options, message):
    with pytest.raises(CatalogError, match=message) as caught:
        open_source(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_survey_is_named():
    with pytest.raises(SurveyError, match="unknown survey 'nowhere'"):
        open_source("nowhere")


def test_a_footprint_is_downloaded_once(tmp_path):
    decals = get_survey("decals")
    with serving(lambda request: Reply(PATCH.encode(), content_type="text/plain")) as (
        server,
        http,
    ):
        moc = download_footprint(decals, http, tmp_path, url=server.url)
        again = download_footprint(decals, http, tmp_path, url=server.url)
        (entry,) = server.log
        ra, dec = np.random.default_rng(0).uniform([0, -90], [360, 90], (4000, 2)).T
        covered = open_source("decals", footprint=again).covers(ra, dec)
        assert len(server.log) == 1
    assert entry.request.params["expr"] == "ID=CDS/P/DESI-Legacy-Surveys/DR10/color"
    assert moc == again == read_footprint(tmp_path / "decals.moc.fits")
    import astropy.units as u
    from astropy_healpix import HEALPix

    cells = HEALPix(nside=2**8, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    np.testing.assert_array_equal(covered, (cells >= 397312) & (cells <= 397400))


@pytest.mark.parametrize(
    ("reply", "message"),
    [(b"<html>", "expected a MOC but got '<html>'"), (b"0/", "knows no coverage")],
)
def test_a_missing_footprint_is_an_error(reply, message, tmp_path):
    refused = pytest.raises(CatalogError, match=message)
    with serving(lambda request: Reply(reply)) as (server, http), refused:
        download_footprint(get_survey("des"), http, tmp_path, url=server.url)
    assert not list(tmp_path.iterdir())
    assert download_footprint(get_survey("rubin"), None, tmp_path) is None


def test_a_footprint_file_is_read_or_refused(tmp_path):
    MOC.from_string(PATCH, format="ascii").save(tmp_path / "a.fits", format="fits")
    (tmp_path / "a.txt").write_text(PATCH)
    assert read_footprint(tmp_path / "a.fits") == read_footprint(tmp_path / "a.txt")
    (tmp_path / "bad.fits").write_text("nothing")
    with pytest.raises(CatalogError, match="cannot be read as a MOC"):
        read_footprint(tmp_path / "bad.fits")

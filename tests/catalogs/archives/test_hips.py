import io

import pytest
from archives_server import WRONG, hips2fits, serving, status_only, wrong
from archives_sky import DEC, OUTSIDE, RA, assert_galaxy, fault_of, read_back
from astropy.io import fits

from catalogs.archives.hips import Hips
from galaxy_da.errors import CatalogError, SurveyError


def source(server, **options):
    options = {"survey": "des", "size_px": 64, **options}
    return Hips(url=f"{server.url}/hips-image-services/hips2fits", **options)


def test_bands_share_one_file_marked_as_not_photometric(tmp_path):
    with serving(hips2fits) as (server, http):
        data = source(server, survey="sdss").fetch(RA, DEC, http)
        requests = [entry.request for entry in server.log]
    cutout = read_back(data, "sdss", tmp_path)
    assert cutout.bands == tuple("ugriz") and not cutout.photometric
    assert cutout.pixel_scale_arcsec == pytest.approx(0.396, rel=1e-4)
    assert_galaxy(cutout, "sdss")
    assert fits.getheader(io.BytesIO(data))["PHOTOMET"] is False
    assert Hips(survey="sdss").identity()["photometric"] == 0
    assert [request.params["hips"] for request in requests] == [f"CDS/P/SDSS9/{b}" for b in "ugriz"]
    query = requests[0].params
    assert float(query["fov"]) == pytest.approx(64 * 0.396 / 3600)
    assert (query["projection"], query["format"], query["width"]) == ("TAN", "fits", "64")
    assert float(query["ra"]) == pytest.approx(RA) and float(query["dec"]) == pytest.approx(DEC)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_reply_has_its_status(kind):
    with serving(wrong(kind, hips2fits)) as (server, http):
        assert fault_of(source(server), http) == WRONG[kind]


def test_outside_the_hips_is_no_data():
    with serving(hips2fits) as (server, http):
        assert fault_of(source(server), http, *OUTSIDE) == "no_data"


def test_an_unknown_hips_stops_the_job():
    with serving(hips2fits) as (server, http), pytest.raises(CatalogError, match="400"):
        source(server, hips="nowhere/{band}").fetch(RA, DEC, http)


@pytest.mark.parametrize("code", [500, 503])
def test_a_broken_server_is_retried_then_a_failed_fetch(code):
    with serving(status_only(code, hips2fits)) as (server, http):
        assert fault_of(source(server), http) == "fetch_failed"
    assert len(server.log) == 2


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="name the HiPS of each band"):
        Hips(survey="rubin")
    with pytest.raises(ValueError, match="name the HiPS of each band"):
        Hips(survey="des", hips="CDS/P/DES-DR2/g")
    with pytest.raises(SurveyError, match="'u' is not in this survey"):
        Hips(survey="des", bands=("u",))

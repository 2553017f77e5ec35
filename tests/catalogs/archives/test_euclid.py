from functools import partial
from urllib.parse import parse_qs

import pytest
from archives_server import WRONG, euclid, serving, status_only, wrong
from archives_sky import DEC, OUTSIDE, RA, assert_galaxy, fault_of, read_back
from server import Reply

from catalogs.archives.euclid import Euclid
from galaxy_da.errors import CatalogError


def source(server, **options):
    return Euclid(url=f"{server.url}/", **{"side_arcsec": 16.0, **options})


@pytest.mark.parametrize("zeropoint", [23.9, 24.6])
def test_flux_is_in_nanomaggies_and_from_the_nearest_tile(zeropoint, tmp_path):
    with serving(partial(euclid, zeropoint=zeropoint)) as (server, http):
        data = source(server).fetch(RA, DEC, http)
        query, cut = (entry.request for entry in server.log)
    cutout = read_back(data, "euclid-vis", tmp_path)
    assert cutout.bands == ("VIS",)
    assert cutout.pixel_scale_arcsec == pytest.approx(0.1)
    assert_galaxy(cutout, "euclid-vis")
    adql = parse_qs(query.body.decode())["QUERY"][0]
    assert "sedm.mosaic_product" in adql and "filter_name = 'VIS'" in adql
    form = {name: values[0] for name, values in parse_qs(cut.body.decode()).items()}
    assert form["FILEPATH"].startswith("/euclid/repository/NMER/EUC_MER_BGSUB-MOSAIC-VIS")
    assert (form["COLLECTION"], form["OBSID"]) == ("VIS", "102019")
    shape, ra, dec, radius = form["POS"].split(",")
    assert (shape, float(ra), float(dec)) == ("CIRCLE", RA, DEC)
    assert float(radius) * 3600 == pytest.approx(8)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_reply_has_its_status(kind):
    with serving(wrong(kind, euclid)) as (server, http):
        assert fault_of(source(server), http) == WRONG[kind]


def test_a_position_on_no_tile_is_outside_the_footprint():
    with serving(euclid) as (server, http):
        assert fault_of(source(server), http, *OUTSIDE) == "outside_footprint"
    assert len(server.log) == 1


def test_a_missing_file_is_no_data():
    with serving(status_only(404, euclid)) as (server, http):
        assert fault_of(source(server), http) == "no_data"
    assert len(server.log) == 2


@pytest.mark.parametrize("code", [400, 401, 403])
@pytest.mark.parametrize("step", ["image/fits", "application/x-votable+xml"])
def test_a_refused_request_stops_the_job(code, step, capsys):
    with serving(status_only(code, euclid, step)) as (server, http), pytest.raises(CatalogError):
        source(server).fetch(RA, DEC, http)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("step", ["image/fits", "application/x-votable+xml"])
def test_a_busy_archive_is_retried_then_a_failed_fetch(step):
    with serving(status_only(503, euclid, step)) as (server, http):
        assert fault_of(source(server), http) == "fetch_failed"
        assert fault_of(source(server), http) == "fetch_failed"


def test_a_cut_connection_is_retried(tmp_path):
    with serving(euclid) as (server, http):
        server.faults = lambda request, tries: "truncated" if tries == 0 else None
        data = source(server).fetch(RA, DEC, http)
    assert_galaxy(read_back(data, "euclid-vis", tmp_path), "euclid-vis")


def test_a_page_in_place_of_records_is_unreadable():
    with serving(lambda request: Reply(b"<html>", 200, "text/html")) as (server, http):
        assert fault_of(source(server), http) == "unreadable"


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="VIS, NIR_Y, NIR_J, NIR_H, not"):
        Euclid(survey="des")
    with pytest.raises(ValueError, match="up to 3600 arcsec"):
        Euclid(side_arcsec=4000)

from functools import partial

import pytest
from archives_server import WRONG, image_access, noirlab, serving, status_only, wrong
from archives_sky import DEC, OUTSIDE, RA, assert_galaxy, fault_of, read_back
from server import Reply

from catalogs.archives.sia import SimpleImageAccess
from galaxy_da.errors import CatalogError

TOKEN = "TEST_ACCESS_TOKEN"


class Archive:
    """Reply function of one kind of service, which puts its address into its replies."""

    def __init__(self, kind):
        self.kind, self.url = kind, ""

    def __call__(self, request):
        if self.kind == "sia":
            return noirlab(request, lambda: self.url)
        soda = self.kind == "soda"
        survey, subtype = ("rubin", "lsst.deep_coadd") if soda else ("euclid-vis", "science")
        form = {} if soda else {"format_": "image/fits"}
        return image_access(request, survey, subtype, lambda: self.url, **form)


OPTIONS = {
    "soda": {"survey": "rubin", "select": {"dataproduct_subtype": "lsst.deep_coadd"}},
    "ibe": {
        "survey": "euclid-vis",
        "collection": "mosaics",
        "select": {"dataproduct_subtype": "science", "energy_bandpassname": "{band}"},
    },
    "sia": {"survey": "des", "select": {"obs_bandpass": "{band}", "proctype": "Stack"}},
}
PATH = {"soda": "/sia/query", "ibe": "/sia/query", "sia": "/sia/des_dr2"}


def source(server, archive, **options):
    archive.url = server.url
    options = {"side_arcsec": 20.0, **OPTIONS[archive.kind], **options}
    return SimpleImageAccess(url=server.url + PATH[archive.kind], cut=archive.kind, **options)


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_band_is_in_nanomaggies(kind, tmp_path):
    archive = Archive(kind)
    with serving(archive) as (server, http):
        client = source(server, archive)
        data = client.fetch(RA, DEC, http)
        paths = [entry.request.path for entry in server.log]
    survey = OPTIONS[kind]["survey"]
    cutout = read_back(data, survey, tmp_path)
    assert cutout.bands == client.bands
    assert_galaxy(cutout, survey)
    per_band = {"soda": ["/links", "/soda"], "ibe": ["/ibe/data/VIS.fits"], "sia": ["/svc/cutout"]}
    assert paths == [PATH[kind], *per_band[kind] * len(client.bands)]


def test_soda_gets_a_circle_around_the_square():
    archive = Archive("soda")
    with serving(archive) as (server, http):
        source(server, archive, bands=("r",)).fetch(RA, DEC, http)
        requested = server.log[-1].request.params
    ra, dec, radius = (float(word) for word in requested["CIRCLE"].split())
    assert (ra, dec) == (RA, DEC) and requested["ID"] == "r"
    assert radius * 3600 == pytest.approx(10 * 2**0.5)


def test_irsa_gets_the_collection_and_a_square():
    archive = Archive("ibe")
    with serving(archive) as (server, http):
        source(server, archive).fetch(RA, DEC, http)
        search, cut = (entry.request.params for entry in server.log)
    assert search["COLLECTION"] == "mosaics" and search["POS"].startswith("CIRCLE 150.1 2.2 ")
    assert cut == {"center": "150.1,2.2deg", "size": "20.0arcsec", "gzip": "false"}


@pytest.mark.parametrize("cut", OPTIONS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_image_has_its_status(kind, cut):
    archive = Archive(cut)
    expected = "no_data" if kind == "empty" else WRONG[kind]
    with serving(wrong(kind, archive)) as (server, http):
        assert fault_of(source(server, archive), http) == expected


@pytest.mark.parametrize("cut", OPTIONS)
def test_a_position_without_images_is_no_data(cut):
    archive = Archive(cut)
    with serving(archive) as (server, http):
        assert fault_of(source(server, archive), http, *OUTSIDE) == "no_data"
    assert len(server.log) == 1


def test_an_image_that_does_not_reach_the_position_is_no_data():
    archive = Archive("ibe")
    with serving(status_only(400, archive)) as (server, http):
        assert fault_of(source(server, archive), http) == "no_data"


def test_a_page_in_place_of_records_is_unreadable():
    archive = Archive("soda")
    with serving(lambda request: Reply(b"<html>", 200, "text/html")) as (server, http):
        assert fault_of(source(server, archive), http) == "unreadable"


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_service_that_refuses_the_search_stops_the_job(code):
    archive = Archive("soda")
    with serving(lambda request: Reply(b"no", code)) as (server, http), pytest.raises(CatalogError):
        source(server, archive).fetch(RA, DEC, http)


def test_a_busy_service_is_a_failed_fetch():
    archive = Archive("soda")
    with serving(lambda request: Reply(b"busy", 503)) as (server, http):
        assert fault_of(source(server, archive), http) == "fetch_failed"
    assert len(server.log) == 2


def test_an_image_is_never_downloaded_whole():
    archive = Archive("soda")
    plain = partial(image_access, survey="rubin", subtype="lsst.deep_coadd", format_="image/fits")
    serve = serving(lambda request: plain(request, base=lambda: archive.url))
    with serve as (server, http), pytest.raises(CatalogError, match="only be downloaded whole"):
        source(server, archive).fetch(RA, DEC, http)
    assert [entry.request.path for entry in server.log] == ["/sia/query"]


def test_the_token_goes_with_every_request_and_into_nothing_else(monkeypatch):
    monkeypatch.setenv(TOKEN, "gt-secret")
    archive = Archive("soda")
    with serving(archive) as (server, http):
        client = source(server, archive, token=TOKEN, bands=("g",))
        client.fetch(RA, DEC, http)
    assert {entry.request.account for entry in server.log} == {("gt-secret", "x-oauth-basic")}
    assert "gt-secret" not in f"{client!r}{dict(client.identity())}"


def test_without_the_token_nothing_is_requested(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    archive = Archive("soda")
    with serving(archive) as (server, http), pytest.raises(CatalogError, match=TOKEN):
        source(server, archive, token=TOKEN).fetch(RA, DEC, http)
    assert server.log == []


@pytest.mark.parametrize(
    ("options", "message"), [({"cut": "all"}, "soda"), ({"side_arcsec": 0}, "positive")]
)
def test_bad_options_are_named(options, message):
    options = {"survey": "rubin", "url": "", "cut": "soda", **options}
    with pytest.raises(ValueError, match=message):
        SimpleImageAccess(**options)

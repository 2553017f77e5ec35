import pytest
from archives_server import WRONG, das_cutout, serving, status_only, wrong
from archives_sky import DEC, OUTSIDE, RA, assert_galaxy, fault_of, read_back

from catalogs.archives.hsc import PASSWORD, USER, HyperSuprimeCam
from galaxy_da.errors import CatalogError


@pytest.fixture(autouse=True)
def _account(monkeypatch):
    monkeypatch.setenv(USER, "astronomer")
    monkeypatch.setenv(PASSWORD, "secret")


def source(server, **options):
    url = f"{server.url}/das_cutout/pdr3/cgi-bin/cutout"
    return HyperSuprimeCam(url=url, **{"side_arcsec": 20.0, **options})


def test_all_bands_are_in_nanomaggies_in_one_file(tmp_path):
    with serving(das_cutout) as (server, http):
        data = source(server).fetch(RA, DEC, http)
        requests = [entry.request for entry in server.log]
    cutout = read_back(data, "hsc", tmp_path)
    assert cutout.bands == tuple("grizy")
    assert cutout.pixel_scale_arcsec == pytest.approx(0.168)
    assert_galaxy(cutout, "hsc")
    assert [r.params.pop("filter") for r in requests] == [f"HSC-{b}" for b in "GRIZY"]
    requested = {"sw": "10arcsec", "sh": "10arcsec", "type": "coadd", "image": "on", "mask": "off"}
    requested |= {"ra": str(RA), "dec": str(DEC), "variance": "off", "rerun": "pdr3_wide"}
    assert all(request.params == requested for request in requests)


def test_flux_is_scaled_from_the_headers_zeropoint_to_the_surveys(tmp_path):
    def at_zeropoint_30(request):
        good = das_cutout(request)
        return good if good.status != 200 else _rescale(good, 10**1.2, 10 ** (0.4 * 30))

    with serving(at_zeropoint_30) as (server, http):
        data = source(server, bands="i").fetch(RA, DEC, http)
    assert_galaxy(read_back(data, "hsc", tmp_path), "hsc")


def _rescale(reply, factor, flux_at_zero):
    import io

    from astropy.io import fits
    from server import Reply

    with fits.open(io.BytesIO(reply.body)) as hdus:
        hdus[1].data *= factor
        hdus[0].header["FLUXMAG0"] = flux_at_zero
        buffer = io.BytesIO()
        hdus.writeto(buffer)
    return Reply(buffer.getvalue(), content_type=reply.content_type)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_reply_has_its_status(kind):
    with serving(wrong(kind, das_cutout)) as (server, http):
        assert fault_of(source(server), http) == WRONG[kind]


def test_outside_the_coadds_is_no_data():
    with serving(das_cutout) as (server, http):
        assert fault_of(source(server), http, *OUTSIDE) == "no_data"


def test_a_wrong_account_stops_the_job_at_once(monkeypatch):
    monkeypatch.setenv(PASSWORD, "guess")
    refused = pytest.raises(CatalogError, match=r"401.*check the account")
    with serving(das_cutout) as (server, http), refused as caught:
        source(server).fetch(RA, DEC, http)
    assert len(server.log) == 1
    assert "guess" not in str(caught.value)


@pytest.mark.parametrize("name", [USER, PASSWORD])
def test_without_an_account_nothing_is_requested(name, monkeypatch):
    monkeypatch.delenv(name)
    refused = pytest.raises(CatalogError, match=f"{name} is not set")
    with serving(das_cutout) as (server, http), refused:
        source(server).fetch(RA, DEC, http)
    assert server.log == []


def test_the_account_is_not_in_the_source():
    client = HyperSuprimeCam()
    assert "secret" not in f"{client!r}{dict(client.identity())}"


def test_a_request_the_service_cannot_take_stops_the_job():
    with serving(status_only(400, das_cutout)) as (server, http), pytest.raises(CatalogError):
        source(server).fetch(RA, DEC, http)


@pytest.mark.parametrize(
    ("options", "message"), [({"bands": "u"}, "grizy"), ({"side_arcsec": 9e3}, "2100")]
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HyperSuprimeCam(**options)

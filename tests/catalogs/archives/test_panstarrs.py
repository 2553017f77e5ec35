import io
from functools import partial

import numpy as np
import pytest
from archives_server import WRONG, panstarrs, serving, status_only, wrong
from archives_sky import DEC, OUTSIDE, RA, assert_galaxy, fault_of, read_back
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from server import Reply

from catalogs.archives.panstarrs import PanStarrs
from catalogs.archives.stamps import read_fits
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.images.calibration import linearise
from galaxy_da.surveys import get_survey


def source(server, **options):
    return PanStarrs(url=f"{server.url}/cgi-bin", **{"size_px": 64, **options})


@pytest.mark.parametrize("compressed", [True, False])
def test_bands_of_any_exposure_are_in_nanomaggies(compressed, tmp_path):
    with serving(partial(panstarrs, compressed=compressed)) as (server, http):
        data = source(server).fetch(RA, DEC, http)
        requests = [entry.request for entry in server.log]
    cutout = read_back(data, "ps1", tmp_path)
    assert cutout.bands == tuple("grizy")
    assert cutout.pixel_scale_arcsec == pytest.approx(0.25)
    assert_galaxy(cutout, "ps1")
    header = fits.getheader(io.BytesIO(data))
    assert header["EXPTIME"] == 1 and "BSOFTEN" not in header
    assert requests[0].path == "/cgi-bin/ps1filenames.py"
    assert requests[0].params["filters"] == "grizy"
    cut = [request.params for request in requests[1:]]
    assert [p["red"][-7:] for p in cut] == [".g.fits", ".r.fits", ".i.fits", ".z.fits", ".y.fits"]
    assert {(p["size"], p["format"]) for p in cut} == {("64", "fits")}


@given(
    linear=arrays(np.float64, 16, elements=st.floats(-1e3, 1e6)),
    soften=st.floats(1, 500),
    offset=st.floats(-50, 50),
)
def test_linearise_undoes_the_archives_compression(linear, soften, offset):
    stored = 1.0857362 * np.arcsinh((linear - offset) / (2 * soften))
    header = fits.Header({"BSOFTEN": soften, "BOFFSET": offset})
    out = linearise(stored.astype(np.float32)[None, None], header)
    np.testing.assert_allclose(out[0, 0], linear, rtol=2e-5, atol=2e-5 * soften)


def test_linearise_matches_the_exponential_form_of_the_ipp_documentation():
    stored = np.linspace(-8, 12, 50)
    alpha, soften, offset = 1.0857362, 95.41, 2.246
    expected = offset + soften * (np.exp(stored / alpha) - np.exp(-stored / alpha))
    header = fits.Header({"BSOFTEN": soften, "BOFFSET": offset})
    out = linearise(stored.astype(np.float32)[None, None], header)
    np.testing.assert_allclose(out[0, 0], expected, rtol=2e-5)


def test_a_real_cutout_of_the_archive_is_linear_already(data):
    path = data / "des_ps1_sdss_fits" / "PS1_g.fits"
    stamp = read_fits(path.read_bytes(), "PS1", get_survey("ps1"))
    assert linearise(stamp.pixels, stamp.header) is stamp.pixels
    assert stamp.header["EXPTIME"] == 860


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_reply_has_its_status(kind):
    with serving(wrong(kind, panstarrs)) as (server, http):
        assert fault_of(source(server, bands="r"), http) == WRONG[kind]


def test_a_position_without_stacks_is_no_data_without_further_requests():
    with serving(panstarrs) as (server, http):
        assert fault_of(source(server), http, *OUTSIDE) == "no_data"
    assert [entry.request.path for entry in server.log] == ["/cgi-bin/ps1filenames.py"]


def test_a_page_in_place_of_the_list_is_unreadable():
    with serving(lambda request: Reply(b"<html>down</html>")) as (server, http):
        assert fault_of(source(server), http) == "unreadable"


def test_bands_of_different_exposure_need_the_card():
    def bare(request):
        good = panstarrs(request)
        if good.content_type != "image/fits":
            return good
        body = good.body.replace(b"EXPTIME =", b"EXPTIM_ =")
        return Reply(body, content_type=good.content_type)

    with (
        serving(bare) as (server, http),
        pytest.raises(CutoutError, match="card EXPTIME") as caught,
    ):
        source(server).fetch(RA, DEC, http)
    assert caught.value.status == "failed_quality"


def test_bands_on_different_pixels_are_refused():
    def moved(request):
        if ".i." in request.params.get("red", ""):
            request.params["ra"] = str(RA + 0.4 / 3600)
        return panstarrs(request)

    with serving(moved) as (server, http), pytest.raises(CutoutError, match=r"g and i.*1\.6"):
        source(server).fetch(RA, DEC, http)


@pytest.mark.parametrize("code", [400, 403, 404])
def test_a_refused_request_stops_the_job(code):
    with serving(status_only(code, panstarrs)) as (server, http), pytest.raises(CatalogError):
        source(server).fetch(RA, DEC, http)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="filters grizy, not 'ugr'"):
        PanStarrs(bands="ugr")
    with pytest.raises(ValueError, match="size_px must be positive"):
        PanStarrs(size_px=0)

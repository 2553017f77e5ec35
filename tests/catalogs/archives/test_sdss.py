from functools import partial

import numpy as np
import pytest
import torch
from archives_server import serving, skyserver, status_only
from archives_sky import DEC, FLUX_NMGY, OUTSIDE, RA, fault_of, read_back
from server import Reply

from catalogs.archives.sdss import ImgCutout
from galaxy_da.errors import CatalogError
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.surveys import get_survey


def source(server, **options):
    return ImgCutout(url=f"{server.url}/dr19/SkyServerWS/ImgCutout/getjpeg", **options)


def test_colours_go_back_to_flux_through_the_surveys_stretch(tmp_path):
    with serving(skyserver) as (server, http):
        client = source(server, size_px=80)
        data = client.fetch(RA, DEC, http)
        (entry,) = server.log
    requested = {"ra": str(RA), "dec": str(DEC), "scale": "0.396", "width": "80", "height": "80"}
    assert entry.request.params == requested
    cutout = read_back(data, "sdss", tmp_path, ".jpg", client.identity()["pixel_scale_arcsec"])
    flux = invert_stretch(torch.from_numpy(cutout.pixels.copy()), get_survey("sdss").stretch)
    middle = flux[:, 20:60, 20:60].sum((1, 2)).numpy()
    np.testing.assert_allclose(middle, [FLUX_NMGY[b] for b in "irg"], rtol=0.1)


@pytest.mark.parametrize("release", [17, 19])
def test_a_404_or_a_black_tile_outside_the_footprint_is_no_data(release):
    with serving(partial(skyserver, release=release)) as (server, http):
        assert fault_of(source(server), http, *OUTSIDE) == "no_data"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>error</html>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(200), id="corrupt"),
    ],
)
def test_a_reply_that_is_not_a_picture_is_unreadable(body):
    with serving(lambda request: Reply(body)) as (server, http):
        assert fault_of(source(server), http) == "unreadable"


def test_a_cut_off_picture_is_unreadable():
    def half(request):
        good = skyserver(request)
        return Reply(good.body[: len(good.body) // 2], content_type=good.content_type)

    with serving(half) as (server, http):
        assert fault_of(source(server), http) == "unreadable"


def test_a_picture_of_another_size_failed_quality():
    def small(request):
        request.params.update(width="64", height="64")
        return skyserver(request)

    with serving(small) as (server, http):
        assert fault_of(source(server), http) == "failed_quality"


@pytest.mark.parametrize("code", [400, 403])
def test_a_refused_request_stops_the_job(code):
    refuse = status_only(code, skyserver, "image/jpeg")
    with serving(refuse) as (server, http), pytest.raises(CatalogError):
        source(server).fetch(RA, DEC, http)


@pytest.mark.parametrize("size", [63, 2049])
def test_sizes_the_service_would_change_are_refused(size):
    with pytest.raises(ValueError, match=f"64 to 2048 pixels a side, not {size}"):
        ImgCutout(size_px=size)

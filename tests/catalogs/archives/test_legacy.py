from functools import partial

import numpy as np
import pytest
import torch
from archives_server import LAYERS, WRONG, legacy, serving, status_only, wrong
from archives_sky import DEC, FLUX_NMGY, OUTSIDE, RA, assert_galaxy, fault_of, read_back

from catalogs.archives.legacy import LegacySurvey
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.surveys import get_survey


def source(server, **options):
    return LegacySurvey(url=f"{server.url}/viewer", **{"size_px": 64, **options})


@pytest.mark.parametrize(
    ("survey", "layer"), [("decals", "ls-dr11-south"), ("bass-mzls", "ls-dr11-north")]
)
def test_flux_is_in_nanomaggies_and_from_the_named_half(survey, layer, tmp_path):
    with serving(legacy) as (server, http):
        data = source(server, survey=survey).fetch(RA, DEC, http)
        (entry,) = server.log
    cutout = read_back(data, survey, tmp_path)
    assert cutout.bands == ("g", "r", "z")
    assert cutout.pixel_scale_arcsec == pytest.approx(0.262)
    assert_galaxy(cutout, survey)
    assert entry.request.path == "/viewer/cutout.fits"
    requested = {"layer": layer, "pixscale": "0.262", "size": "64", "bands": "grz"}
    assert entry.request.params == {"ra": str(RA), "dec": str(DEC), **requested}


def test_colours_go_back_to_flux_through_the_surveys_stretch(tmp_path):
    with serving(legacy) as (server, http):
        client = source(server, form="jpg", pixel_scale_arcsec=0.3)
        data = client.fetch(RA, DEC, http)
    assert client.suffix == ".jpg"
    cutout = read_back(data, "decals", tmp_path, ".jpg", client.identity()["pixel_scale_arcsec"])
    assert cutout.stretch and cutout.pixel_scale_arcsec == 0.3
    flux = invert_stretch(torch.from_numpy(cutout.pixels.copy()), get_survey("decals").stretch)
    total = flux.sum((1, 2)).numpy() * (0.3 / 0.262) ** 2
    np.testing.assert_allclose(total, [FLUX_NMGY[b] for b in "zrg"], rtol=0.05)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_reply_has_its_status(kind):
    with serving(wrong(kind, legacy)) as (server, http):
        assert fault_of(source(server), http) == WRONG[kind]


@pytest.mark.parametrize("form", ["fits", "jpg"])
def test_a_blank_stamp_is_no_data(form):
    with serving(legacy) as (server, http):
        assert fault_of(source(server, form=form), http, *OUTSIDE) == "no_data"


@pytest.mark.parametrize("form", ["fits", "jpg"])
def test_a_silently_clipped_size_is_noticed(form):
    with (
        serving(partial(legacy, cap=48)) as (server, http),
        pytest.raises(CutoutError, match=r"asked for 64 x 64 pixels but got 48 x 48") as caught,
    ):
        source(server, form=form).fetch(RA, DEC, http)
    assert caught.value.status == "failed_quality"


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refused_request_stops_the_job(code):
    with serving(status_only(code, legacy)) as (server, http), pytest.raises(CatalogError):
        source(server).fetch(RA, DEC, http)
    assert len(server.log) == 1


def test_a_broken_server_is_a_failed_fetch():
    with serving(status_only(500, legacy)) as (server, http):
        assert fault_of(source(server), http) == "fetch_failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "ls-dr9"}, "name the half explicitly, as ls-dr10-south"),
        ({"layer": "ls-dr9-north"}, "is not one of decals"),
        ({"survey": "sdss"}, "decals, decals-dr11, bass-mzls, not 'sdss'"),
        ({"size_px": 3001}, "at most 3000 pixels"),
        ({"form": "png"}, "fits or jpg"),
        ({"form": "jpg", "bands": "griz"}, "stretch of others is unknown"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LegacySurvey(**options)


@pytest.mark.parametrize(
    ("served", "survey", "expected"),
    [
        (LAYERS, "decals", "ls-dr11-south"),
        (LAYERS[2:], "decals", "ls-dr10-south"),
        (LAYERS[2:], "bass-mzls", "ls-dr9-north"),
    ],
)
def test_the_release_before_replaces_one_that_is_not_served(served, survey, expected):
    with serving(partial(legacy, layers=served)) as (server, http):
        settled = source(server, survey=survey).settled(http, RA, DEC, {})
        assert (settled.layer, settled.fallback) == (expected, "")
        settled.fetch(RA, DEC, http)
        assert server.log[-1].request.params["layer"] == expected


def test_a_fetch_goes_on_with_its_layer_and_a_named_layer_has_no_substitute():
    with serving(partial(legacy, layers=LAYERS[2:])) as (server, http):
        before = {"layer": "ls-dr11-south"}
        assert source(server).settled(http, RA, DEC, before).layer == "ls-dr11-south"
        assert source(server).settled(http, RA, DEC, {"layer": LAYERS[2]}).layer == LAYERS[2]
        named = source(server, layer="ls-dr11-south")
        assert named.settled(http, RA, DEC, {}) == named
        assert server.log == []
        with pytest.raises(CatalogError, match=r"ls-dr11-south.*does not take this request"):
            named.fetch(RA, DEC, http)


def test_a_silent_viewer_decides_nothing():
    with (
        serving(status_only(500, legacy)) as (server, http),
        pytest.raises(CutoutError) as caught,
    ):
        source(server).settled(http, RA, DEC, {})
    assert caught.value.status == "fetch_failed"


def test_identity_names_what_decides_the_bytes():
    first = LegacySurvey().identity()
    for options in (
        {"layer": "ls-dr9-south"},
        {"size_px": 65},
        {"pixel_scale_arcsec": 0.3},
        {"form": "jpg"},
    ):
        assert LegacySurvey(**options).identity() != first

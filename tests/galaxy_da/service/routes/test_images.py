"""Pictures of objects, and uploaded images."""

import base64
import io
import threading
import time

import httpx
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from service_helpers import SURVEYS

from galaxy_da.io.features import Features
from galaxy_da.queries.interpolation import draw_strip
from galaxy_da.service.executor import Batcher
from galaxy_da.service.lanes import Crew


def picture(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def as_fits(workspace, survey, number):
    """Encode the cutout of an object as a FITS file."""
    pixels = np.load(workspace.folder / survey / "cutouts.npy")[number]
    out = io.BytesIO()
    header = fits.Header({"BANDS": "g,r,z"})
    fits.HDUList([fits.PrimaryHDU(pixels, header)]).writeto(out)
    return out.getvalue()


def row_of(workspace, survey, number):
    table = Features.open(workspace.folder / "features" / survey).table
    return table.slice(number, 1).to_pylist()[0]


@pytest.mark.parametrize("survey", SURVEYS)
def test_pictures_of_an_object(http, workspace, survey):
    asked = {"id": f"{survey}:{survey}-0002"}
    own = picture(http.get("/api/images/cutout.png", params=asked))
    assert own.shape == (96, 96, 3)
    assert own[40:56, 40:56].mean() > own.mean() + 5
    small = picture(http.get("/api/images/cutout.png", params={**asked, "size": 48}))
    assert small.shape == (48, 48, 3)
    seen = picture(http.get("/api/images/prepared.png", params=asked))
    assert seen.shape == (64, 64, 3) and seen[28:36, 28:36].mean() > seen.mean() + 2
    latents = http.get("/api/latents", params=asked).json()["latents"]
    decoded = draw_strip(workspace.space, np.array([latents], np.float32))
    assert_array_equal(picture(http.get("/api/images/reconstruction.png", params=asked)), decoded)
    assert_array_equal(picture(http.post("/api/decode", json={"latents": [latents]})), decoded)


def test_north_is_up_and_east_is_left(http, workspace, tmp_path):
    pixels = np.full((3, 96, 96), 0.001, np.float32)
    pixels[:, 80:90, 5:15] = 3  # high declination, first columns: north-east
    stamps = np.load(workspace.folder / "decals" / "cutouts.npy", mmap_mode="r+")
    before = stamps[5].copy()
    stamps[5] = pixels
    stamps.flush()
    try:
        drawn = picture(http.get("/api/images/cutout.png", params={"id": "decals:decals-0005"}))
    finally:
        stamps[5] = before
        stamps.flush()
    assert drawn[6:16, 5:15].min() > 150 and drawn[80:90].max() < 100


def test_interpolations_equal_the_library_s(http, workspace):
    first, last = "decals:decals-0001", "sdss:sdss-0004"
    along = http.get("/api/interpolate/along.png", params={"id": first, "latent": 1, "steps": 4})
    assert_array_equal(
        picture(along), draw_strip(workspace.space, workspace.index.along(first, 1, 4, 3.0))
    )
    between = http.get(
        "/api/interpolate/between.png", params={"first": first, "last": last, "steps": 3}
    )
    assert_array_equal(
        picture(between), draw_strip(workspace.space, workspace.index.between(first, last, 3))
    )
    assert (
        http.get("/api/interpolate/along.png", params={"id": first, "latent": 4}).status_code == 422
    )


def test_a_missing_cutout_file_is_reported(http, workspace):
    missing = workspace.folder / "hsc" / "cutouts.npy"
    moved = missing.rename(missing.with_suffix(".away"))
    try:
        answer = http.get("/api/images/cutout.png", params={"id": "hsc:hsc-0001"})
    finally:
        moved.rename(missing)
    assert answer.status_code == 404 and "cutouts.npy" in answer.json()["error"]["message"]


@pytest.mark.parametrize("survey", SURVEYS)
def test_encoding_equals_extraction(http, workspace, survey):
    files = {"file": as_fits(workspace, survey, 7)}
    given = {"survey": survey}
    found = http.post("/api/encode", data=given, files=files).json()
    expected = row_of(workspace, survey, 7)
    assert (found["status"], found["flags"]) == ("ok", expected["flags"])
    latents = [*expected["embedding"], *expected["nuisance"]]
    assert_allclose(found["latents"], latents, atol=2e-3, rtol=1e-2)
    assert_allclose(found["reconstruction_error"], expected["reconstruction_error"], rtol=2e-2)
    nearest = http.post(
        "/api/similar/image", data={**given, "k": 1, "in_survey": survey}, files=files
    )
    assert nearest.json()["rows"][0]["object_id"] == f"{survey}-0007"
    assert_allclose(nearest.json()["meta"]["latents"], found["latents"], atol=1e-5)


def test_encoding_returns_the_pictures_of_the_same_cutout(http, workspace):
    files = {"file": as_fits(workspace, "sdss", 7)}
    found = http.post("/api/encode", data={"survey": "sdss", "draw": "true"}, files=files).json()
    for kind in ("cutout", "prepared"):
        shown = np.array(Image.open(io.BytesIO(base64.b64decode(found["pictures"][kind]))))
        asked = {"id": "sdss:sdss-0007"}
        expected = picture(http.get(f"/api/images/{kind}.png", params=asked))
        resized = Image.fromarray(expected.astype(np.uint8)).resize((320, 320), Image.BICUBIC)
        assert_array_equal(shown, np.array(resized))
    plain = http.post("/api/encode", data={"survey": "sdss"}, files=files).json()
    assert plain["pictures"] is None


def test_a_colour_image_needs_a_stretch_of_its_survey(http):
    pixels = np.random.default_rng(0).integers(20, 90, (96, 96, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    answer = http.post("/api/encode", data={"survey": "decals"}, files={"file": out.getvalue()})
    assert answer.json()["status"] == "ok"
    answer = http.post("/api/encode", data={"survey": "hsc"}, files={"file": out.getvalue()})
    assert answer.status_code == 422 and "stretch" in answer.json()["error"]["message"]


def test_an_unusable_image_has_a_status_and_message(http):
    out = io.BytesIO()
    fits.PrimaryHDU(np.full((3, 96, 96), np.nan, np.float32)).writeto(out)
    files = {"file": out.getvalue()}
    found = http.post("/api/encode", data={"survey": "decals"}, files=files).json()
    assert found["status"] != "ok" and found["message"] and found["latents"] == []
    answer = http.post("/api/similar/image", data={"survey": "decals"}, files=files)
    assert answer.status_code == 422 and found["message"] in answer.json()["error"]["message"]


def test_images_of_many_clients_are_encoded_in_batches(url, workspace, monkeypatch):
    sizes, answer, waiting = [], Crew.answer, []
    started, go_on, run = threading.Event(), threading.Event(), Batcher.run

    def counting(crew, question):
        if question.function == "encode_images":
            sizes.append(len(question.arguments["images"]))
            if len(sizes) == 1:
                started.set()
                assert go_on.wait(30)
        return answer(crew, question)

    def queued(batcher, item):
        waiting.append(item)
        return run(batcher, item)

    monkeypatch.setattr(Crew, "answer", counting)
    monkeypatch.setattr(Batcher, "run", queued)
    answers = {}

    def ask(number):
        files = {"file": as_fits(workspace, "decals", number)}
        answers[number] = httpx.post(
            f"{url}/api/encode", data={"survey": "decals"}, files=files, timeout=60
        ).json()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    threads[0].start()
    assert started.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(waiting) < 12:  # the files are checked and read by then
        assert any(thread.is_alive() for thread in threads)
        time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join()
    assert sizes == [1, 11]
    for number in range(12):
        expected = row_of(workspace, "decals", number)["embedding"]
        assert_allclose(answers[number]["latents"][:4], expected, atol=2e-3, rtol=1e-2)

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.images.cutouts import read_cutouts, read_image
from galaxy_da.io.samples import load_sample
from galaxy_da.service.batches import encode_images, prepare_upload
from galaxy_da.space import LatentSpace


@pytest.fixture(scope="module")
def picture():
    y, x = np.mgrid[-64:64, -64:64]
    light = 200 * np.exp(-(x**2 + y**2) / 300)
    colour = np.stack([light, 0.8 * light, 0.5 * light], -1) + 20
    buffer = io.BytesIO()
    Image.fromarray(colour.astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def test_a_picture_is_read_through_the_stretch_that_is_named(http, workspace, picture):
    encoder = workspace.space.encoder("decals")
    expected, got = {}, {}
    for stretch in (None, "galaxy-zoo"):
        data = {"survey": "decals", **({"stretch": stretch} if stretch else {})}
        answer = http.post("/api/encode", data=data, files={"file": picture})
        assert answer.status_code == 200, answer.text
        cutout = read_image(picture, workspace.space.survey("decals"), stretch)
        prepared = encoder.prepare([cutout], workspace.space.frame)
        expected[stretch] = workspace.space.encode(prepared.inputs, encoder).mean[0].numpy()
        got[stretch] = np.array(answer.json()["latents"])
    apart = np.abs(expected[None] - expected["galaxy-zoo"]).max()
    for stretch in expected:
        assert np.abs(got[stretch] - expected[stretch]).max() < 0.2 * apart


def test_a_picture_is_read_at_the_pixel_scale_given(http, workspace, picture):
    encoder = workspace.space.encoder("decals")
    cutout = read_image(picture, encoder.survey)
    expected, got = {}, {}
    for scale in (0.131, 0.524):
        data = {"survey": "decals", "pixel_scale_arcsec": scale}
        answer = http.post("/api/encode", data=data, files={"file": picture})
        assert answer.status_code == 200, answer.text
        scaled = replace(cutout, pixel_scale_arcsec=scale)
        prepared = encoder.prepare([scaled], workspace.space.frame)
        expected[scale] = workspace.space.encode(prepared.inputs, encoder).mean[0].numpy()
        got[scale] = np.array(answer.json()["latents"])
    apart = np.abs(expected[0.131] - expected[0.524]).max()
    for scale in expected:
        assert np.abs(got[scale] - expected[scale]).max() < 0.2 * apart
    data = {"survey": "decals", "pixel_scale_arcsec": -1}
    assert http.post("/api/encode", data=data, files={"file": picture}).status_code == 422


def test_an_unknown_stretch_is_named(http, picture):
    data = {"survey": "decals", "stretch": "sepia"}
    answer = http.post("/api/encode", data=data, files={"file": picture})
    assert answer.status_code == 422 and "no stretch named 'sepia'" in answer.text


def test_an_image_outside_the_domain_has_the_flag_and_reason_of_extraction():
    space, sample = LatentSpace.load("decals"), load_sample("sdss-stamps")
    survey = space.survey("sdss")
    (cutout,) = read_cutouts(next(sample.batches(1)), sample.folder, survey)
    noise = np.random.default_rng(0).integers(0, 255, cutout.pixels.shape, dtype=np.uint8)
    empty = replace(cutout, pixels=noise)
    rows = pa.table({"survey": ["sdss"] * 2})
    expected = SampleEncoder(space, ["sdss"], ExtractSettings()).encode(rows, [cutout, empty])
    service = SimpleNamespace(space=space)
    for image, row in zip((cutout, empty), expected.to_pylist(), strict=True):
        own = prepare_upload(image, survey, space)
        arrays = own.image[None], own.conditions[None]
        (encoded,) = encode_images(service, "sdss", own.bands, *arrays)
        assert encoded.outside == row["domain_reason"]
    assert encoded.outside is not None and expected["domain_reason"][0].as_py() is None

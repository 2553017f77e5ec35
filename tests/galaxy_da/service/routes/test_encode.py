import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from galaxy_da.images.cutouts import read_image


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

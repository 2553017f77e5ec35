import io

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


def test_an_unknown_stretch_is_named(http, picture):
    data = {"survey": "decals", "stretch": "sepia"}
    answer = http.post("/api/encode", data=data, files={"file": picture})
    assert answer.status_code == 422 and "no stretch named 'sepia'" in answer.text

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from conftest import blobs, make_space, write_sample
from numpy.testing import assert_allclose
from PIL import Image

from galaxy_da.errors import SpaceError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.io.features import vectors
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.interpolation import draw_strip, write_strip
from galaxy_da.space import LatentSpace, SpaceParts
from galaxy_da.surveys import get_survey


@pytest.fixture(scope="module")
def space():
    return make_space(nuisance_latents=2)


@pytest.fixture(scope="module")
def index(space, tmp_path_factory):
    images = blobs(12, 132, 0.262)
    sample = Sample(write_sample(tmp_path_factory.mktemp("sky"), images))
    return LatentIndex.build([extract(space, sample)])


def latents(index, row):
    nuisance = vectors(index.rows.slice(row, 1), "nuisance")[0]
    return np.concatenate([index.vectors[row], nuisance])


def test_between_is_linear_and_keeps_the_first_nuisance_latents(index):
    path = index.between("decals:decals-0001", "decals:decals-0007", 5)
    assert path.shape == (5, 6)
    assert_allclose(path[0], latents(index, 1), rtol=1e-6)
    assert_allclose(path[-1, :4], index.vectors[7], rtol=1e-6)
    assert_allclose(path[2, :4], (index.vectors[1] + index.vectors[7]) / 2, rtol=1e-5)
    assert_allclose(path[:, 4:], np.repeat(path[:1, 4:], 5, 0))


def test_along_changes_one_latent(index):
    path = index.along("decals:decals-0003", 2, 7, 2.0)
    assert_allclose(np.delete(path, 2, 1), np.delete([latents(index, 3)] * 7, 2, 1))
    spread = index.vectors[:][:, 2].std()
    assert_allclose(path[:, 2] - index.vectors[3][2], np.linspace(-2, 2, 7) * spread, atol=1e-5)


def test_combine_is_arithmetic(index):
    keys = [f"decals:decals-{i:04d}" for i in (2, 4, 6)]
    point = index.combine(keys[:2], keys[2:])
    expected = index.vectors[2] + index.vectors[4] - index.vectors[6]
    assert_allclose(point[0, :4], expected, rtol=1e-5, atol=1e-6)
    assert_allclose(point[0, 4:], latents(index, 2)[4:])
    assert_allclose(index.combine(keys[:1])[0], latents(index, 2))


def test_strip_shows_decoded_images(index, space, tmp_path):
    path = index.between("decals:decals-0001", "decals:decals-0007", 3)
    strip = draw_strip(space, path)
    assert strip.shape == (64, 192, 3)
    write_strip(strip, tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as image:
        assert np.array_equal(np.asarray(image), strip)
    stretch = get_survey("decals").stretch
    back = invert_stretch(pa_tensor(strip), stretch) / stretch.pixel_scale_arcsec**2
    decoded = np.sinh(space.decode(path).numpy()) * np.array(space.frame.softening)[:, None, None]
    order = [space.frame.bands.index(name) for name in stretch.planes]
    expected = np.concatenate(list(decoded[:, order][:, :, ::-1]), axis=-1)
    inside = ((strip > 3) & (strip < 250)).all(-1)
    assert inside.any()
    assert_allclose(back.numpy()[:, inside], expected[:, inside], rtol=0.2, atol=0.02)


def pa_tensor(strip):
    import torch

    return torch.from_numpy(np.moveaxis(strip, -1, 0).copy())


def test_interpolation_refuses(index, space):
    key = "decals:decals-0001"
    with pytest.raises(ValueError, match="steps must be at least 2 but is 1"):
        index.between(key, key, 1)
    with pytest.raises(ValueError, match="latent must be 0 to 3 but is 4"):
        index.along(key, 4)
    with pytest.raises(ValueError, match="plus must be at least one key"):
        index.combine([])
    with pytest.raises(ValueError, match=r"shape \(n, 6\)"):
        draw_strip(space, np.zeros((2, 4)))
    assert pa.types.is_fixed_size_list(index.rows.schema.field("nuisance").type)


def test_an_anchor_without_stretch_cannot_be_drawn(space):
    encoder = space.encoder("decals")
    plain = encoder.survey.model_copy(update={"stretch": None})
    bare = LatentSpace(
        SpaceParts(
            architecture=space.architecture,
            frame=space.frame,
            anchor="decals",
            encoders={"decals": replace(encoder, survey=plain)},
            decoder=space.decoder,
        )
    )
    with pytest.raises(SpaceError, match="decals: has no colour stretch for g, r, z"):
        draw_strip(bare, np.zeros((1, 6)))

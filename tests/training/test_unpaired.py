import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample

from galaxy_da.errors import CatalogError
from galaxy_da.surveys import get_survey
from galaxy_da.symmetry import turn
from galaxy_da.tables import Sample
from galaxy_da.turned import turned_means
from training.adapt import adapt


def samples(folder, n, factor):
    """Different galaxies in two surveys, the second too bright by a factor."""
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n), "bands": ["g,r,z"] * n}
    here = write_sample(folder / "a", blobs(n, 128, 0.262, seed=1), **place)
    there = write_sample(folder / "b", factor * blobs(n, 128, 0.262, seed=2), "sdss", **place)
    return Sample(here), Sample(there)


def test_without_pairs_a_miscalibrated_survey_is_brought_onto_the_anchor(tmp_path):
    anchor, target = samples(tmp_path, 500, 6.0)
    space = adapt(make_space(), anchor, target, None, survey=get_survey("sdss"))
    record = space.encoder("sdss").record
    apart = {item["name"]: item["mmd"] for item in record["candidates"]}
    assert record["chosen"] != "unadapted"
    assert apart[record["chosen"]] < 0.3 * apart["unadapted"]
    assert record["images"]["anchor"] < 500 * 0.75  # the test part of the sky is left alone


def test_too_few_images(tmp_path):
    with pytest.raises(CatalogError, match="at least 200 are needed to adapt without pairs"):
        adapt(make_space(), *samples(tmp_path, 60, 1.0), None, survey=get_survey("sdss"))


def test_turned_means_are_those_of_turned_images():
    images = torch.randn(5, 3, 64, 64)
    plain = make_space()
    means = turned_means(plain, plain.encoder("decals"), images)
    torch.testing.assert_close(means[3], plain.encode(turn(images, 3), "decals").mean)
    pooled = make_space(view_latents=2, symmetric=True)
    means = turned_means(pooled, pooled.encoder("decals"), images)
    for k in (0, 5):
        expected = pooled.encode(turn(images, k), "decals").mean
        torch.testing.assert_close(means[k], expected, rtol=1e-3, atol=1e-3)

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample

from galaxy_da.errors import CatalogError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.models.symmetries import apply_symmetry
from galaxy_da.surveys import get_survey
from training.adaptation import AdaptSettings, adapt
from training.adaptation.fine_tuning import means_by_symmetry
from training.adaptation.images import load_shared_images
from training.adaptation.unpaired import UnpairedImages, adapt_without_pairs

GAIN = 1.35  # a third of a magnitude


AGAIN = get_survey("decals").model_copy(update={"name": "again"})


def samples(folder, n, factor, survey="again"):
    """Different galaxies in two surveys, the second too bright by a factor."""
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n), "bands": ["g,r,z"] * n}
    here = write_sample(folder / "a", blobs(n, 128, 0.262, seed=1), **place)
    there = write_sample(folder / "b", factor * blobs(n, 128, 0.262, seed=2), survey, **place)
    return Sample(here), Sample(there)


def images_of(folder, factor):
    space = make_space()
    start = space.by_definition(AGAIN, ("g", "r", "z"))
    return UnpairedImages.load(space, samples(folder, 500, factor), start, seed=0)


def test_a_miscalibrated_survey_is_matched_to_the_anchors_distribution(tmp_path):
    space = adapt(make_space(), *samples(tmp_path, 500, GAIN), survey=AGAIN)
    record = space.encoder("again").record
    assert record["images"]["anchor"] < 500 * 0.75  # the test part of the sky is left alone
    discrepancy = {item["name"]: item["mmd"] for item in record["candidates"]}
    assert set(discrepancy) == {"by definition", "moments", "covariances"}
    assert record["chosen"] != "by definition"
    assert discrepancy[record["chosen"]] == min(discrepancy.values())
    assert record["gain"] > record["gain_error"]


def test_an_exact_definition_is_kept(tmp_path):
    """Two samples of one population differ by chance alone."""
    first, other = samples(tmp_path, 800, 1.0)
    record = adapt(make_space(), first, other, survey=AGAIN).encoder("again").record
    assert record["chosen"] == "by definition" or record["gain"] < 0.01


def test_distributions_are_matched_on_all_images_in_the_end(tmp_path):
    images = images_of(tmp_path, GAIN)
    network, record = adapt_without_pairs(images, AdaptSettings())
    assert record["chosen"] in ("moments", "covariances")
    found = images.encode(network)
    torch.testing.assert_close(found.mean(0), images.latents.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(found.std(0), images.latents.std(0), atol=0, rtol=0.02)


def test_latents_except_pairs_are_of_other_galaxies(tmp_path):
    images = images_of(tmp_path, 1.0)
    space, anchor = images.space, images.samples[0]
    paired, others = images.anchor_rows[:7], images.anchor_rows[7:]
    own = space.encoder(space.anchor)
    inputs, usable = load_shared_images(anchor, others, own, space.frame)
    assert usable.all()
    alone = space.encode(inputs, own).mean
    torch.testing.assert_close(images.latents_except(np.append(paired, 10**6)), alone)


def test_too_few_images(tmp_path):
    with pytest.raises(CatalogError, match="at least 200 are needed to adapt without pairs"):
        adapt(make_space(), *samples(tmp_path, 60, 1.0), None, survey=AGAIN)


def test_means_by_symmetry_are_those_of_rotated_images():
    inputs = Inputs.plain(torch.randn(5, 3, 64, 64))
    rotated = {k: inputs.with_images(apply_symmetry(inputs.images, k)) for k in (0, 3, 5)}
    plain = make_space()
    means = means_by_symmetry(plain.encoder("decals").network, inputs)
    torch.testing.assert_close(means[3], plain.encode(rotated[3], "decals").mean)
    pooled = make_space(nuisance_latents=2, symmetric=True)
    means = means_by_symmetry(pooled.encoder("decals").network, inputs)
    for k in (0, 5):
        expected = pooled.encode(rotated[k], "decals").mean
        torch.testing.assert_close(means[k], expected, rtol=1e-3, atol=1e-3)

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample

from galaxy_da.errors import CatalogError
from galaxy_da.io.samples import Sample
from galaxy_da.models.symmetric_outputs import means_by_symmetry
from galaxy_da.models.symmetries import apply_symmetry
from galaxy_da.surveys import get_survey
from training.adaptation import AdaptSettings, FineTuningSettings, adapt
from training.adaptation.closed_form import match_covariances, match_moments
from training.adaptation.image_matching import background_noise
from training.adaptation.images import load_shared_images
from training.adaptation.unpaired import UnpairedImages, adapt_without_pairs


def samples(folder, n, factor, survey="sdss"):
    """Different galaxies in two surveys, the second too bright by a factor."""
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n), "bands": ["g,r,z"] * n}
    here = write_sample(folder / "a", blobs(n, 128, 0.262, seed=1), **place)
    there = write_sample(folder / "b", factor * blobs(n, 128, 0.262, seed=2), survey, **place)
    return Sample(here), Sample(there)


QUICK = AdaptSettings(fine_tuning=FineTuningSettings(steps=10, check_every=5, batch=32))


def adapted_without_pairs(folder, factor):
    anchor, target = samples(folder, 500, factor)
    space = adapt(make_space(), anchor, target, None, survey=get_survey("sdss"), settings=QUICK)
    record = space.encoder("sdss").record
    assert record["images"]["anchor"] < 500 * 0.75  # the test part of the sky is left alone
    return record


def test_a_noisier_survey_is_adapted_from_degraded_images(tmp_path):
    record = adapted_without_pairs(tmp_path, 6.0)
    assert record["judged_by"] == "degraded anchor images, no pairs"
    scores = {item["name"]: item["mean_reciprocal_rank"] for item in record["candidates"]}
    assert set(scores) == {"unadapted", "moments", "covariances", "degraded"}
    assert scores[record["chosen"]] == max(scores.values())
    assert {"paired", "denoising", "held_out_mrr"} <= set(record["curves"][0])


def test_a_deeper_survey_is_matched_to_the_anchors_distribution(tmp_path):
    record = adapted_without_pairs(tmp_path, 0.2)
    assert record["judged_by"] == "maximum mean discrepancy, no pairs"
    discrepancy = {item["name"]: item["mmd"] for item in record["candidates"]}
    assert record["chosen"] != "unadapted"
    assert discrepancy[record["chosen"]] < 0.3 * discrepancy["unadapted"]


def test_distributions_are_matched_on_all_images_in_the_end(tmp_path):
    anchor, target = samples(tmp_path, 500, 0.2)
    space, survey = make_space(), get_survey("sdss")
    start = space.unadapted(survey, ("g", "r", "z"), every_band=True)
    images = UnpairedImages.load(space, anchor, target, start, seed=0)
    network, record = adapt_without_pairs(images, QUICK)
    match = {"moments": match_moments, "covariances": match_covariances}[record["chosen"]]
    whole = match(start.network, images.encode(start.network), images.latents)
    torch.testing.assert_close(network.mean.weight, whole.mean.weight)


def test_latents_except_pairs_are_of_other_galaxies(tmp_path):
    anchor, target = samples(tmp_path, 500, 6.0)
    space = make_space()
    start = space.unadapted(get_survey("sdss"), ("g", "r", "z"), every_band=True)
    images = UnpairedImages.load(space, anchor, target, start, seed=0)
    paired, others = images.anchor_rows[:7], images.anchor_rows[7:]
    own = space.encoder(space.anchor)
    images_of_others, usable = load_shared_images(anchor, others, own, space.frame)
    assert usable.all()
    alone = space.encode(images_of_others, own).mean
    torch.testing.assert_close(images.latents_except(np.append(paired, 10**6)), alone)


@pytest.mark.parametrize("factor", [0.2, 6.0], ids=["deeper", "noisier"])
def test_a_survey_sharper_in_every_band_is_smoothed_not_degraded_to(tmp_path, factor):
    """The anchor's images cannot be made sharper than the anchor's PSF, with any noise."""
    anchor, target = samples(tmp_path, 500, factor, "hsc")
    space = adapt(make_space(), anchor, target, None, survey=get_survey("hsc"), settings=QUICK)
    record = space.encoder("hsc").record
    discrepancy = {item["name"]: item["mmd"] for item in record["candidates"]}
    smoothed = {"smoothed", "smoothed + moments", "smoothed + covariances"}
    assert set(discrepancy) == {"unadapted", *smoothed}
    assert discrepancy[record["chosen"]] == min(discrepancy.values())
    layer = "smoothing.taps" in space.encoder("hsc").network.state_dict()
    assert layer == (record["chosen"] in smoothed)


def test_degraded_images_are_the_anchors_with_the_targets_noise(tmp_path):
    anchor, target = samples(tmp_path, 500, 6.0)
    space = make_space()
    start = space.unadapted(get_survey("sdss"), ("g", "r", "z"), every_band=True)
    images = UnpairedImages.load(space, anchor, target, start, seed=0)
    train, held = images.degraded_pairs
    assert len(train) + len(held) == len(images.anchor)
    assert len(held) == -(-len(images.anchor) // 8)
    softening = torch.tensor(space.frame.softening)[:, None, None]
    made = background_noise(torch.sinh(train.target) * softening)
    measured = background_noise(torch.sinh(images.target) * softening)
    np.testing.assert_allclose(made, measured, rtol=0.1)
    own = space.encode(train.anchor, space.encoder("decals")).mean
    torch.testing.assert_close(train.mean, own)


def test_a_network_trained_on_degraded_images_has_the_anchors_moments(tmp_path):
    anchor, target = samples(tmp_path, 500, 6.0)
    space = make_space()
    start = space.unadapted(get_survey("sdss"), ("g", "r", "z"), every_band=True)
    images = UnpairedImages.load(space, anchor, target, start, seed=0)
    network, _ = images.train_degraded(QUICK)
    found = images.encode(network)
    torch.testing.assert_close(found.mean(0), images.latents.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(found.std(0), images.latents.std(0), atol=0, rtol=0.02)


def test_too_few_images(tmp_path):
    with pytest.raises(CatalogError, match="at least 200 are needed to adapt without pairs"):
        adapt(make_space(), *samples(tmp_path, 60, 1.0), None, survey=get_survey("sdss"))


def test_means_by_symmetry_are_those_of_rotated_images():
    images = torch.randn(5, 3, 64, 64)
    plain = make_space()
    means = means_by_symmetry(plain.encoder("decals").network, images)
    torch.testing.assert_close(means[3], plain.encode(apply_symmetry(images, 3), "decals").mean)
    pooled = make_space(nuisance_latents=2, symmetric=True)
    means = means_by_symmetry(pooled.encoder("decals").network, images)
    for k in (0, 5):
        expected = pooled.encode(apply_symmetry(images, k), "decals").mean
        torch.testing.assert_close(means[k], expected, rtol=1e-3, atol=1e-3)

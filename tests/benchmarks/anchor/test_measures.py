"""Compare the measures of the report with closed forms, brute force and other libraries."""

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import blobs, make_space, write_sample
from PIL import Image
from torch.distributions import Normal, kl_divergence

from benchmarks.anchor.choosing import diverse
from benchmarks.anchor.forests import answer, sky_groups
from benchmarks.anchor.maps import _nearest_in_cell, density
from benchmarks.anchor.mosaics import mosaic, moving, residual_colours
from benchmarks.anchor.outliers import mahalanobis_distance, neighbour_distance
from benchmarks.anchor.paths import (
    closed_tour,
    exchange_nuisance,
    nuisance_sensitivity,
    straight_line,
)
from benchmarks.anchor.questions import Question, find_questions
from benchmarks.anchor.rates import pca_rates
from benchmarks.anchor.sampling import draw_latents, real_or_drawn_auc
from benchmarks.measures.image_quality import mse_and_psnr
from benchmarks.measures.reconstruction import EncodedSample, active_latents, kl_per_latent
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from training.pretraining.sky_residuals import sky_residuals

rng = np.random.default_rng(0)


def test_divergence_against_torch():
    mean, variance = rng.normal(size=(50, 4)), rng.uniform(0.1, 2, (50, 4))
    there = Normal(torch.from_numpy(mean), torch.from_numpy(variance).sqrt())
    expected = kl_divergence(there, Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose(kl_per_latent(mean, variance), expected, rtol=1e-6)


def test_latents_of_small_variance_are_not_in_use():
    mean = rng.normal(size=(500, 3)) * [1, 0.05, 0.2]
    assert active_latents(mean).tolist() == [True, False, True]


def test_a_known_sky_bias_is_found_and_no_bias_is_not():
    side = Frame().pixels
    images = torch.from_numpy(rng.normal(0, 0.3, (200, 3, side, side)).astype(np.float32))
    images[:, :, 5:9, 5:9] += 3.0  # a neighbour, not sky
    images[:, :, side // 2 - 4 : side // 2 + 4, side // 2 - 4 : side // 2 + 4] += 5.0
    for bias in (0.0, 0.03):
        for sky in sky_residuals(images, torch.full_like(images, bias), Frame()):
            assert sky.noise == pytest.approx(0.3, rel=0.01)
            assert sky.residual == pytest.approx(bias / 0.3, abs=5 * sky.error)
            assert sky.error < 0.005
            assert 0.4 < sky.share < 0.7


def test_trails_in_one_band_and_unobserved_pixels_are_no_sky():
    side = Frame().pixels
    images = torch.from_numpy(rng.normal(0, 0.3, (200, 3, side, side)).astype(np.float32))
    decoded = torch.zeros_like(images)
    before = sky_residuals(images, decoded, Frame())
    images[:, 1, :, 4:6] = 6.0
    images[..., :3, :], decoded[..., :3, :] = 0.0, 2.0
    for clean, sky in zip(before, sky_residuals(images, decoded, Frame()), strict=True):
        assert sky.residual == pytest.approx(clean.residual, abs=0.005)
        assert sky.noise == pytest.approx(0.3, rel=0.1)
        assert sky.share < clean.share


def test_psnr_of_known_noise():
    images = torch.zeros(2, 3, 8, 8)
    decoded = images + torch.tensor([0.1, 0.2])[:, None, None, None]
    mse, psnr = mse_and_psnr(images, decoded, 2.0)
    np.testing.assert_allclose(mse, [0.01, 0.04], rtol=1e-5)
    np.testing.assert_allclose(psnr, 10 * np.log10(4 / mse))


def test_paths_pass_through_their_points():
    point = rng.normal(size=5)
    line = straight_line(point, -point, 5)
    np.testing.assert_allclose(line[[0, 2, 4]], [point, np.zeros(5), -point], atol=1e-12)
    points = rng.normal(size=(4, 5))
    tour = closed_tour(points, 6)
    np.testing.assert_allclose(tour[::6], points)
    np.testing.assert_allclose(tour[3], (points[0] + points[1]) / 2)
    assert len(tour) == 24


def test_nuisance_latents_are_exchanged_whole():
    latents = rng.normal(size=(3, 5))
    every = exchange_nuisance(latents, 3)
    for i in range(3):
        for j in range(3):
            assert every[i, j].tolist() == [*latents[i, :3], *latents[j, 3:]]


def test_nuisance_latents_that_the_decoder_ignores_have_no_effect():
    space = make_space(nuisance_latents=2)
    with torch.no_grad():
        space.decoder.body[-1].weight.mul_(100)
    latents = rng.normal(size=(30, 6)).astype(np.float32)
    encoded = EncodedSample(
        space=space,
        rows=np.arange(30),
        ids=np.arange(30).astype(str),
        inputs=Inputs.plain(torch.zeros(30, 3, 64, 64)),
        decoded=torch.zeros(30, 3, 64, 64),
        mean=latents,
        variance=np.ones_like(latents),
    )
    assert nuisance_sensitivity(encoded) > 0.01
    with torch.no_grad():
        space.decoder.start[0].weight[:, 4:] = 0
    assert nuisance_sensitivity(encoded) == pytest.approx(0, abs=1e-6)


def test_draws_have_the_moments_of_the_latents():
    mixing = rng.normal(size=(3, 3))
    latents = rng.normal(size=(2000, 3)) @ mixing + [1, 2, 3]
    drawn = draw_latents(latents, 20_000, seed=1)
    np.testing.assert_allclose(np.cov(drawn["prior"].T), np.eye(3), atol=0.05)
    for name in ("gaussian", "kde"):
        scale = np.cov(latents.T).max()
        np.testing.assert_allclose(np.cov(drawn[name].T), np.cov(latents.T), atol=0.05 * scale)
        np.testing.assert_allclose(drawn[name].mean(0), latents.mean(0), atol=0.1)


def test_only_different_distributions_are_separated():
    same, far = rng.normal(size=(2, 300, 3)), rng.normal(3, 1, (300, 3))
    assert real_or_drawn_auc(same[0], same[1]) == pytest.approx(0.5, abs=0.08)
    assert real_or_drawn_auc(same[0], far) > 0.97


def test_neighbour_distance_by_brute_force():
    points = rng.normal(size=(40, 3))
    apart = np.sort(np.linalg.norm(points[:, None] - points, axis=-1), axis=1)
    np.testing.assert_allclose(neighbour_distance(points), apart[:, 1:11].mean(1))


def test_outliers_have_the_highest_scores():
    points = rng.normal(size=(200, 3))
    points[7] += 9
    assert mahalanobis_distance(points).argmax() == neighbour_distance(points).argmax() == 7


def test_chosen_galaxies_are_farthest_from_those_before():
    points = rng.normal(size=(30, 2))
    rows = np.arange(5, 25)
    chosen = diverse(points, rows, 6)
    assert len(set(chosen.tolist())) == 6
    assert set(chosen.tolist()) <= set(rows.tolist())
    for k in range(1, 6):
        apart = np.linalg.norm(points[rows][:, None] - points[chosen[:k]], axis=-1).min(1)
        assert rows[apart.argmax()] == chosen[k]


def test_grid_cells_hold_the_galaxy_nearest_to_their_centre():
    points = rng.uniform(-0.1, 1.1, (60, 2))
    grid = _nearest_in_cell(points, 5)
    for row in range(5):
        for column in range(5):
            middle = np.array([column + 0.5, 4.5 - row]) / 5
            off = np.abs(points - middle).max(1)
            expected = off.argmin() if off.min() <= 0.1 else -1
            assert grid[row, column] == expected


def test_density_counts_every_point_once():
    x, y = rng.normal(size=(2, 500))
    assert density(x, y, 8.0, 40).sum() == pytest.approx(500, rel=1e-6)
    top = density(np.zeros(5), np.full(5, 0.9), 1.0, 10)
    assert top.sum(1).argmax() <= 1


def test_mosaics_keep_positions_and_residuals_keep_signs():
    pictures = rng.integers(0, 255, (5, 4, 4, 3), dtype=np.uint8)
    whole = mosaic(pictures, 3, gap=1)
    assert whole.shape == (9, 14, 3)
    assert (whole[5:9, 5:9] == pictures[4]).all()
    residual = torch.zeros(1, 3, 2, 2)
    residual[0, :, 0, 0], residual[0, :, 1, 1] = 1.0, -1.0
    shown = residual_colours(residual, 1.0)[0].astype(int)
    assert shown[1, 0, 0] > shown[1, 0, 2]  # above zero: orange; the first row is drawn last
    assert shown[0, 1, 2] > shown[0, 1, 0]
    assert shown[0, 0].max() < 30


def test_moving_pictures_play_there_and_back():
    frames = rng.integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    for back, count in ((False, 5), (True, 8)):
        body = moving(frames, 50, there_and_back=back).partition(",")[2]
        assert Image.open(io.BytesIO(base64.b64decode(body))).n_frames == count


def test_forests_predict_only_labels_in_the_latents():
    latents = {"galaxy": rng.normal(size=(300, 4)), "nuisance": rng.normal(size=(300, 2))}
    sign = np.where(latents["galaxy"][:, 0] > 0, "up", "down").astype(object)
    sign[:20] = None
    found = answer(Question(name="sign", classes=sign), latents, np.arange(300))
    assert found.galaxies == 280
    assert sum(found.counts.values()) == 280
    assert found.base == max(found.counts.values()) / 280
    good, chance = found.scores["galaxy"], found.scores["nuisance"]
    assert good.low <= good.value <= good.high
    assert good.value > 0.9
    assert abs(chance.value - 0.5) < 0.12
    linear = Question(name="line", targets=latents["galaxy"][:, [1]])
    scores = answer(linear, latents, np.arange(300)).scores
    assert scores["galaxy"].value > 0.75
    assert scores["nuisance"].value < 0.1


def test_labels_with_too_few_values_are_not_predicted():
    latents = {"galaxy": rng.normal(size=(100, 4))}
    alike = Question(name="alike", classes=np.full(100, "x", dtype=object))
    assert answer(alike, latents, np.arange(100)) is None
    few = np.full((100, 1), np.nan)
    few[:30] = 1.0 * np.arange(30)[:, None]
    assert answer(Question(name="few", targets=few), latents, np.arange(100)) is None


def test_groups_are_sky_cells_if_there_are_enough():
    groups, by_sky = sky_groups(rng.uniform(0, 90, 200), rng.uniform(-30, 30, 200))
    assert by_sky
    assert len(np.unique(groups)) < 200 + 1
    groups, by_sky = sky_groups(np.full(30, 10.0), np.full(30, 5.0))
    assert not by_sky
    assert groups.tolist() == list(range(30))


@pytest.fixture
def sample(tmp_path):
    return Sample(write_sample(tmp_path / "sky", blobs(40, 20, 0.262)))


def test_questions_of_a_label_table(sample):
    ids = [f"decals-{i:04d}" for i in reversed(range(40))]
    votes = np.linspace(0, 1, 40)
    labels = pa.table(
        {
            "object_id": ids,
            "has-bar_yes_fraction": votes,
            "has-bar_no_fraction": 1 - votes,
            "bulge_fraction": votes,
            "kind": ["a"] * 25 + ["b"] * 12 + ["rare"] * 3,
            "depth": votes,
        }
    )
    found = {q.name: q for q in find_questions(labels, sample, np.arange(40))}
    assert set(found) == {"has-bar", "kind", "bulge_fraction"}
    assert found["has-bar"].classes.tolist() == ["yes"] * 20 + ["no"] * 20
    assert found["kind"].classes.tolist() == [None] * 3 + ["b"] * 12 + ["a"] * 25
    np.testing.assert_allclose(found["bulge_fraction"].targets[:, 0], votes[::-1])
    named = find_questions(labels, sample, np.arange(10), ["depth", "kind"])
    assert {q.name for q in named} == {"depth", "kind"}
    assert len(named[0].classes) == 10


def test_principal_components_of_flat_images_are_exact():
    basis = rng.normal(size=(2, 3 * 16 * 16))
    images = torch.from_numpy((rng.normal(size=(40, 2)) @ basis).reshape(-1, 3, 16, 16))
    one, two = pca_rates(images.float(), (1, 2, 30), 1.0)
    assert (one.latents, two.latents) == (1, 2)
    assert two.mse < 1e-8 < one.mse

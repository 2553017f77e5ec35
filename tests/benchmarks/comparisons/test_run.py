import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.decomposition import PCA

from benchmarks.comparisons import __main__ as command
from benchmarks.comparisons import sky as skies
from benchmarks.comparisons import train as module
from benchmarks.comparisons.measure import latent_scores
from benchmarks.comparisons.networks import NETWORKS
from benchmarks.comparisons.sky import comparison_sky
from benchmarks.comparisons.train import recipe_of, train
from benchmarks.measures.image_quality import compare_images, value_range
from catalogs.splits import sky_split
from galaxy_da.models.networks import Architecture

SECONDS = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def sky(folder):
    return comparison_sky(192, 1, folder)


@pytest.mark.slow
def test_observations_show_one_galaxy_and_sky_is_stored(sky, folder, monkeypatch):
    assert len(sky.train) + len(sky.first) == 192 and sky.train.shape[1] == 2
    ra, dec = (sky.truth[axis].to_numpy() for axis in ("ra", "dec"))
    assert set(sky_split(ra, dec)) == {"test"}
    middle = (..., slice(28, 36), slice(28, 36))
    light = [
        observation[middle].mean((1, 2, 3)) for observation in (sky.first, sky.rotated, sky.second)
    ]
    assert np.corrcoef(light).min() > 0.95
    monkeypatch.setattr(skies, "sky_chunks", None)  # the stored sky is not simulated again
    assert torch.equal(comparison_sky(192, 1, folder).rotated, sky.rotated)


def test_perfect_latents_score_high_and_noise_scores_low():
    rng = np.random.default_rng(0)
    names = ("r_mag", "half_light_arcsec", "g_minus_r", "bulge_fraction", "axis_ratio")
    known = rng.normal(size=(300, 5))
    truth = pa.table(dict(zip(names, known.T, strict=True)))
    good = latent_scores(known, rng.permutation(known), known + 1e-3, truth)
    assert good["probe_r2"] > 0.99 and good["neighbour_r2"] > 0.6
    assert good["recall"] == 1.0 and good["recall_rotated"] < 0.05
    bad = latent_scores(*rng.normal(size=(3, 300, 5)), truth)
    assert max(bad["probe_r2"], bad["neighbour_r2"]) < 0.05 and bad["recall"] < 0.05


@pytest.mark.slow
def test_trained_network_is_stored_and_read_again(sky, tmp_path, monkeypatch):
    recipe = recipe_of(Architecture(), 1)
    keep = tmp_path / "ours.safetensors"
    first = train(recipe, NETWORKS["ours"], sky.train, SECONDS, keep)
    assert first.images > 0
    assert first.images / first.images_per_s >= SECONDS
    monkeypatch.setattr(module, "_run", None)
    again = train(recipe, NETWORKS["ours"], sky.train, SECONDS, keep)
    assert again.images == first.images
    assert torch.equal(again.learner.encoder(sky.first).mean, first.learner.encoder(sky.first).mean)


@pytest.mark.slow
def test_the_command_prints_both_tables_with_a_true_pca(sky, folder, monkeypatch, capsys):
    (folder / "192-galaxies-0.005-minutes-seed-1").mkdir()
    for name in ("sky.safetensors", "truth.parquet"):
        (folder / "192-galaxies-0.005-minutes-seed-1" / name).symlink_to(folder / name)
    monkeypatch.setattr(command.torch, "set_num_threads", lambda n: None)
    given = ["--minutes", "0.005", "--galaxies", "192", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["comparisons", "networks", "poses", *given])
    command.main()
    out = capsys.readouterr().out
    for name in (
        *NETWORKS,
        "PCA-40",
        "ours-mmd",
        "canonical orientation",
        "two observations, pooled",
    ):
        assert name in out
    pca = PCA(40, svd_solver="full").fit(sky.train.flatten(0, 1).flatten(1).float().numpy())
    flat = sky.first.flatten(1).numpy()
    rebuilt = torch.from_numpy(pca.inverse_transform(pca.transform(flat))).float()
    expected = compare_images(rebuilt.view_as(sky.first), sky.first, value_range(sky.first))
    table = next(line.split() for line in out.splitlines() if line.split()[:1] == ["PCA-40"])
    assert float(table[1]) == pytest.approx(expected["psnr"], abs=0.1)

import json

import numpy as np
import pytest
import torch
from conftest import make_space
from sklearn.metrics import f1_score, roc_auc_score

from benchmarks.real import transfer as real_transfer
from benchmarks.real.ranks import _cut_sample, restricted
from benchmarks.real.surveys import measure_real_surveys
from benchmarks.real.transfer import LabelledSurvey, transfer_rows
from catalogs.simulation.writing import simulate
from galaxy_da.images.cutouts import read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder
from galaxy_da.surveys import get_survey


def labelled(name, network, seed, shift=0.0, n=80):
    """Features, the first of which separates the classes, shifted by a constant."""
    rng = np.random.default_rng(seed)
    featured = rng.random(n) < 0.7
    features = rng.normal(size=(n, 32))
    features[:, 0] += 3 * featured
    rotated = np.repeat((features + shift)[None], 8, axis=0)
    return LabelledSurvey(
        name=name,
        network=network,
        features=torch.tensor(rotated, dtype=torch.float32),
        featured=featured,
        galaxy_latents=6,
    )


@pytest.fixture(scope="module")
def network():
    network: Encoder = make_space().encoder("decals").network
    with torch.no_grad():
        network.mean.weight.copy_(torch.eye(6, 32))
        network.mean.bias.zero_()
    return network


def test_scores_of_draws_are_those_of_resampled_rows():
    rng = np.random.default_rng(0)
    featured, predicted = rng.random(40) < 0.6, rng.random(40).round(1)
    counts = real_transfer._draws(featured, 0)[:4].astype(int)
    found = real_transfer._scores(featured, predicted, counts)
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(40), count)
        truth, score = featured[rows], predicted[rows]
        assert found["auc"][i] == pytest.approx(roc_auc_score(truth, score))
        assert found["macro_f1"][i] == pytest.approx(f1_score(truth, score >= 0.5, average="macro"))


def test_a_shift_is_undone_by_moments(network):
    surveys = [
        labelled("decals", network, 1),
        labelled("kids", network, 2, shift=4.0),
        labelled("few", network, 3, n=12),
    ]
    found = transfer_rows(surveys, "decals")
    assert [row["enough"] for row in found["surveys"]] == [True, True, False]
    rows = {(r["trained"], r["map"]): r for r in found["transfer"]}
    assert {trained for trained, _ in rows} == {"decals", "kids"}
    before, after = rows["decals", "unadapted"], rows["decals", "moments"]
    assert before["macro_f1"] < 0.5 < 0.8 < after["macro_f1"]
    assert after["macro_f1_gain_low"] > 0
    assert before["macro_f1_gain"] == 0
    assert after["macro_f1_gap_closed"] > 0.8


def test_a_survey_restricted_to_some_bands():
    kids = restricted(get_survey("kids"), ("r",))
    assert (kids.name, kids.band_names, kids.stretch) == ("kids-r", ("r",), None)


def test_the_simulated_sky_is_cut_to_the_field_of_the_real_images(tmp_path):
    sdss = restricted(get_survey("sdss"), ("r",))
    simulate([get_survey("decals"), sdss], 6, tmp_path, progress=False)
    whole = Sample(tmp_path / "sdss-r" / "sample.parquet")
    sample = _cut_sample(tmp_path, sdss)
    assert sample.catalog.equals(_cut_sample(tmp_path, sdss).catalog)
    cutouts = (read_cutouts(item.catalog, item.folder, sdss) for item in (whole, sample))
    for one, other in zip(*cutouts, strict=True):
        y, x = np.indices(one.pixels.shape[1:]) - (one.pixels.shape[-1] - 1) / 2
        outside = np.hypot(y, x) * 0.396 > 10
        assert outside.any() and not other.pixels[:, outside].any()
        assert np.array_equal(other.pixels[:, ~outside], one.pixels[:, ~outside])


def test_absent_data_is_skipped_with_a_reason(tmp_path):
    found = measure_real_surveys(make_space(), tmp_path / "nowhere", tmp_path / "out")
    assert set(found["skipped"]) == {"transfer", "ranks"}
    assert "lacks galaxy_zoo_guide.parquet, sdss_galaxy_zoo1.parquet" in found["skipped"]["ranks"]
    assert json.loads((tmp_path / "out/real_surveys.json").read_text()) == found
    assert "Skipped, ranks" in (tmp_path / "out/real_surveys.md").read_text()

import json

import numpy as np
import pytest
import torch
from conftest import make_space

from benchmarks.adaptation import run
from benchmarks.adaptation.methods import METHODS, fit_method
from benchmarks.adaptation.run import run_benchmark
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.tables import figures_of, write_tables
from benchmarks.adaptation.target_data import load_target_data
from evaluation.retrieval import retrieve
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table

pytestmark = pytest.mark.slow

SETTINGS = BenchmarkSettings(
    seeds=(1,),
    targets=("sdss",),
    galaxies=160,
    pool=150,
    small_pool=40,
    methods=("by definition", "pca-pixels"),
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return out, run_benchmark(make_space(), SETTINGS, out)


@pytest.fixture(scope="module")
def target_data(done):
    return load_target_data(make_space(), SETTINGS, done[0], 1, "sdss", None)


def result(results, method):
    return next(c for c in results if c["method"] == method)


def test_a_result_equals_retrieval_alone(done, target_data):
    space, found = make_space(), result(done[1], "by definition")
    queries = space.encode(
        target_data.sky.inputs("sdss", target_data.test_galaxies), target_data.encoder
    ).mean
    pool = space.encode(target_data.pool_inputs, "decals").mean
    expected = retrieve(queries.numpy(), pool.numpy(), seed=1).as_dict()
    row = next(
        row for row in found["retrieval"]
        if (row["observation"], row["latents"], row["direction"], row["stratum"], row["pool"])
        == ("aligned", "all", "forward", "all", 150)
    )  # fmt: skip
    for name in ("queries", "recall_at_1", "recall_at_10", "median_rank", "recall_at_1_low"):
        assert row[name] == pytest.approx(expected[name])


def test_every_method_has_every_measure(done):
    for method in ("ceiling", *SETTINGS.methods):
        found = result(done[1], method)
        assert {row["observation"] for row in found["retrieval"]} == {"aligned", "rotated"}
        kinds = {(row["direction"], row["distractors"]) for row in found["retrieval"]}
        assert kinds == {("forward", "random"), ("forward", "hard"), ("reverse", "random")}
        assert set(found["domains"]) == {"logistic", "boosting"}
        assert set(found["transfer"]) == {"in_domain", "aligned", "rotated"}


def positions(observed):
    return set(zip(*(observed.sample[name].to_pylist() for name in ("ra", "dec")), strict=True))


def test_training_set_holds_no_test_galaxy(target_data):
    training_set = target_data.training_set(Variant())
    training = positions(training_set.anchor) | positions(training_set.target)
    test = set(zip(target_data.held_out.ra, target_data.held_out.dec, strict=True))
    assert test and not training & test


def test_variants_have_their_number_of_pairs(target_data):
    whole = target_data.training_set(Variant())
    n = len(whole.pairs)
    assert (whole.pairs[:, 0] == whole.pairs[:, 1]).all()
    assert len(target_data.training_set(Variant(pairs=30)).pairs) == 30
    unpaired = target_data.training_set(Variant(pairs=0))
    assert len(unpaired.pairs) == 0
    here, there = positions(unpaired.anchor), positions(unpaired.target)
    assert not here & there and len(here) + len(there) == n


def test_cutouts_for_adapt_give_the_prepared_images(target_data, tmp_path):
    observed = target_data.training_set(Variant(pairs=30)).target
    write_table(observed.sample, tmp_path / "sample.parquet")
    sample = Sample(tmp_path / "sample.parquet")
    inputs, usable = load_images(
        sample, np.arange(len(sample)), target_data.encoder, target_data.space.frame
    )
    assert usable.all()
    assert torch.allclose(inputs.images, observed.inputs.images, atol=2e-3, rtol=1e-3)
    assert torch.equal(inputs.conditions, observed.inputs.conditions)


def test_stopped_run_resumes(done, monkeypatch):
    out, results = done
    monkeypatch.setattr(run, "_result", lambda *_: pytest.fail("measured again"))
    assert run_benchmark(make_space(), SETTINGS, out) == results
    lost = next((out / "results").glob("*all-by_definition.json"))
    content = json.loads(lost.read_text())
    lost.unlink()
    monkeypatch.setattr(run, "_result", lambda *_: content)
    assert run_benchmark(make_space(), SETTINGS, out) == results


def test_folder_of_other_settings_is_refused(done):
    other = SETTINGS.model_copy(update={"galaxies": 99})
    with pytest.raises(TableError, match="another galaxies"):
        run_benchmark(make_space(), other, done[0])
    with pytest.raises(TableError, match="another space"):
        run_benchmark(make_space(3), SETTINGS, done[0])


def test_unknown_methods_are_refused(tmp_path, target_data):
    with pytest.raises(ValueError, match=f"unknown methods magic; there are {METHODS[0]}"):
        settings = SETTINGS.model_copy(update={"methods": ("magic",)})
        run_benchmark(make_space(), settings, tmp_path)
    with pytest.raises(ValueError, match="'magic' is not one of"):
        fit_method("magic", target_data.training_set(Variant()))


def test_tables_hold_every_figure(done):
    out, results = done
    paths = write_tables(out, results)
    figures = figures_of(results)
    recalls = sum(len(c.get("retrieval", ())) for c in results)
    assert (figures["measure"] == "recall_at_1").sum() == recalls
    page = paths["summary"].read_text()
    assert "Recall@1, north up, galaxy latents" in page and "DECaLS again" in page
    assert "## sdss" in page
    assert len(json.loads(paths["means"].read_text())["means"]) > 100


def test_a_wrong_definition_is_measured_beside_the_right_one(tmp_path):
    settings = BenchmarkSettings(
        seeds=(1,), targets=("sdss",), wrong=("zeropoint+0.3",), galaxies=120, pool=60,
        small_pool=20, methods=("by definition",),
    )  # fmt: skip
    results = run_benchmark(make_space(), settings, tmp_path)
    assert [c["method"] for c in results] == ["ceiling", "right definition", "by definition"]
    assert {c["target"] for c in results} == {"sdss-zeropoint+0.3"}
    page = write_tables(tmp_path, results)["summary"].read_text()
    assert "| survey | right definition | by definition | DECaLS again |" in page

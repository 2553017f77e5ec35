import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import safetensors
import torch

from catalogs.splits import SkySplit, recorded_split
from galaxy_da.cli import main
from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace
from training.pretraining import loop
from training.pretraining import run as module
from training.pretraining.recipe import Recipe, load_recipe
from training.pretraining.run import RunOptions, pretrain

TINY = Recipe.model_validate(
    {
        "name": "tiny",
        "seed": 3,
        "sky": {"galaxies": 192},
        "architecture": {"widths": (8, 16, 16), "features": 32, "latents": 4},
        "objective": {"noise": 0.33},
        "optimiser": {"epochs": 3, "batch": 16, "learning_rate": 3e-3, "warmup_steps": 5},
    }
)


def stopped_and_resumed(recipe, folder, monkeypatch, **options):
    """Stop a run after its second epoch, and start it again."""
    real, calls = loop.save_checkpoint, []

    def stop_after_second(*arguments):
        real(*arguments)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", stop_after_second)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe, folder, **options)
    return pretrain(recipe, folder, **options)


def assert_same_weights(ours, theirs):
    expected = theirs.encoder("decals").network.state_dict()
    for name, value in ours.encoder("decals").network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)
    expected = theirs.decoder.state_dict()
    for name, value in ours.decoder.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)


def changed(recipe, **parts):
    record = recipe.model_dump(mode="json")
    for name, part in parts.items():
        record[name] = {**record[name], **part} if isinstance(part, dict) else part
    return Recipe.model_validate(record)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """200 Gaussian galaxies in noise as DECaLS cutouts, the larger the redder in redshift."""
    folder, n = tmp_path_factory.mktemp("sample"), 200
    rng = np.random.default_rng(0)
    grid = (np.arange(80) - 39.5) * 0.262
    sigma = rng.uniform(1, 3, n)
    shape = np.exp(
        -0.5 * (grid[None, None] ** 2 + grid[None, :, None] ** 2) / sigma[:, None, None] ** 2
    )
    cutouts = rng.normal(0, 0.004, (n, 3, 80, 80)) + 0.1 * shape[:, None]
    cutouts[7] = np.nan
    np.save(folder / "cutouts.npy", cutouts.astype(np.float32))
    table = {
        "object_id": [str(i) for i in range(n)],
        "survey": ["decals"] * n,
        "ra": rng.uniform(100, 250, n),
        "dec": rng.uniform(-10, 30, n),
        "cutout": [f"cutouts.npy#{i}" for i in range(n)],
        "redshift": pa.array([None, *(0.1 * sigma[1:])]),
        "kind": np.where(sigma > 2, "large", "small"),
    }
    write_table(pa.table(table), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder of prepared images of the tiny recipe, so that the sky is drawn once."""
    return RunOptions(images=tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def straight(prepared, tmp_path_factory):
    """Train without interruption."""
    folder = tmp_path_factory.mktemp("straight")
    return pretrain(TINY, folder, options=prepared), folder


def test_training_lowers_the_error_and_is_recorded(straight):
    space, folder = straight
    curves = space.training["curves"]
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    assert curves[-1]["reconstruction"] < curves[0]["reconstruction"]
    assert space.metrics["reconstruction"] == pytest.approx(curves[-1]["held_out"], rel=0.05)
    assert not (folder / "work").exists()
    assert LatentSpace.load(folder).training["recipe"]["seed"] == 3


def test_a_stopped_run_ends_with_the_same_weights(straight, prepared, tmp_path, monkeypatch):
    space, _ = straight
    resumed = stopped_and_resumed(TINY, tmp_path / "s", monkeypatch, options=prepared)
    assert len(resumed.training["curves"]) == 3
    assert_same_weights(resumed, space)


def test_a_killed_process_started_again_ends_with_the_same_weights(tmp_path, capsys):
    recipe = changed(TINY, optimiser={"epochs": 12})
    path, out = tmp_path / "tiny.toml", tmp_path / "killed"
    path.write_text(
        'name = "tiny"\nseed = 3\n[sky]\ngalaxies = 192\n[architecture]\nwidths = [8, 16, 16]\n'
        "features = 32\nlatents = 4\n[objective]\nnoise = 0.33\n[optimiser]\nepochs = 12\n"
        "batch = 16\nlearning_rate = 3e-3\nwarmup_steps = 5\n"
    )
    assert load_recipe(path) == recipe
    words = ["pretrain", str(path), "--out", str(out)]
    command = [sys.executable, "-m", "galaxy_da", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        while not (out / "work" / "checkpoint.safetensors").is_file():
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        first.kill()
    assert first.returncode == -signal.SIGKILL
    with safetensors.safe_open(out / "work" / "checkpoint.safetensors", "pt") as file:
        done = len(json.loads(file.metadata()["record"])["curves"])
    assert 0 < done < 12 and not (out / "space.json").exists()
    assert main(words) == 0
    bars = capsys.readouterr().err
    assert f"epoch {done + 1}:" in bars and "epoch 1:" not in bars
    resumed = LatentSpace.load(out)
    assert [row["epoch"] for row in resumed.training["curves"]] == [*range(1, 13)]
    assert_same_weights(resumed, pretrain(recipe, tmp_path / "straight"))


def test_training_and_held_out_rows_are_parts_of_the_sky(straight, prepared, tmp_path, monkeypatch):
    parts = {}

    def watch(recipe, data, rows, *others):
        parts.update(trained=set(data.part[rows.training]), watched=set(data.part[rows.held_out]))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_HELD_OUT", 5)
    monkeypatch.setattr(module, "train", watch)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path, options=prepared)
    assert parts == {"trained": {"train"}, "watched": {"validation"}}


def test_prepared_images_are_used_again_and_others_refused(
    straight, prepared, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "draw_sky", None)
    smaller = changed(TINY, architecture={"latents": 2})
    assert pretrain(smaller, tmp_path / "b", options=prepared).architecture.latents == 2
    again = pretrain(TINY, tmp_path / "c", options=prepared)
    assert_same_weights(again, straight[0])
    with pytest.raises(TableError, match=r"images\d+: holds the run of another recipe"):
        pretrain(changed(TINY, sky={"galaxies": 100}), tmp_path / "d", options=prepared)


def test_another_recipes_unfinished_run_is_refused(straight, prepared, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "s", options=prepared)
    with pytest.raises(TableError, match="run of another recipe"):
        pretrain(TINY.model_copy(update={"seed": 4}), tmp_path / "s")


def test_too_few_galaxies_for_a_batch(straight, prepared, tmp_path):
    few = TINY.model_copy(update={"optimiser": TINY.optimiser.model_copy(update={"batch": 512})})
    with pytest.raises(TableError, match="too few for batches of 512"):
        pretrain(few, tmp_path / "s", options=prepared)


@pytest.mark.parametrize(("warmup_steps", "last_of_it"), [(5, 4), (300, 24)])
def test_the_rate_warms_up_over_at_most_a_quarter_of_all_steps_and_decays(warmup_steps, last_of_it):
    settings = TINY.optimiser.model_copy(update={"warmup_steps": warmup_steps})
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    rates = []
    for step in range(100):
        loop._set_rate(optimiser, step, 100, settings)
        rates.append(optimiser.param_groups[0]["lr"])
    assert np.argmax(rates) == last_of_it
    assert rates[0] == pytest.approx(3e-3 / (last_of_it + 1)) and rates[-1] < 1e-5


def test_a_stopped_run_continues_the_warm_up(straight, prepared, tmp_path, monkeypatch):
    recipe, rates = changed(TINY, optimiser={"warmup_steps": 300}), []
    set_rate = loop._set_rate

    def watch(optimiser, *others):
        set_rate(optimiser, *others)
        rates.append(optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(loop, "_set_rate", watch)
    pretrain(recipe, tmp_path / "a", options=prepared)
    expected, rates[:] = rates.copy(), []
    stopped_and_resumed(recipe, tmp_path / "b", monkeypatch, options=prepared)
    assert rates == expected and 0 < np.argmax(rates) < len(rates) / 4


def test_a_stopped_run_on_a_sample_ends_with_the_same_weights(sample, tmp_path, monkeypatch):
    recipe = changed(TINY, optimiser={"patience": 2}, objective={"mmd": 10.0})
    straight = pretrain(recipe, tmp_path / "a", sample=sample)
    resumed = stopped_and_resumed(recipe, tmp_path / "b", monkeypatch, sample=sample)
    assert_same_weights(resumed, straight)
    assert {"kl", "mmd", "held_out"} < straight.training["curves"][0].keys()
    used = straight.training["images"] + straight.metrics["validation_images"]
    assert straight.training["sample"] == "sample.parquet" and 100 < used < 199


def test_a_field_is_split_by_finer_cells_and_its_split_recorded(sample, tmp_path):
    rng, n = np.random.default_rng(1), len(sample)
    table = sample.catalog
    for name, middle in (("ra", 150.0), ("dec", 2.2)):
        values = pa.array(middle + rng.uniform(-0.1, 0.1, n))
        table = table.set_column(table.column_names.index(name), name, values)
    write_table(table, sample.folder / "field.parquet")
    field = Sample(sample.folder / "field.parquet")
    training = pretrain(TINY, tmp_path, sample=field).training
    split = recorded_split(LatentSpace.load(tmp_path).training)
    assert split.order > SkySplit().order
    ra, dec = (field.catalog[axis].to_numpy() for axis in ("ra", "dec"))
    usable = np.arange(n) != 7
    assert training["images"] == np.sum(usable & (split.part(ra, dec) == "train"))


def test_classes_and_redshift_are_learned(sample, tmp_path):
    recipe = changed(
        TINY,
        condition="cvae-predict",
        objective={"classes": 500.0, "class_column": "kind", "redshift": 500.0},
        optimiser={"epochs": 8, "warmup_steps": 0},
    )
    space = pretrain(recipe, tmp_path, sample=sample)
    first, last = space.training["curves"][0], space.training["curves"][-1]
    assert last["classes"] < 0.7 * first["classes"] and last["redshift"] < 0.7 * first["redshift"]
    assert (tmp_path / "conditional.safetensors").is_file()
    assert LatentSpace.load(tmp_path).training["redshift"] == pytest.approx(0.2, abs=0.03)


def test_training_stops_without_improvement_and_keeps_the_best(straight, prepared, tmp_path):
    recipe = changed(TINY, optimiser={"epochs": 12, "patience": 1, "learning_rate": 0.05})
    space = pretrain(recipe, tmp_path, options=prepared)
    errors = [row["held_out"] for row in space.training["curves"]]
    assert np.argmin(errors) == len(errors) - 2 and len(errors) < 12
    assert space.metrics["reconstruction"] == pytest.approx(min(errors), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"survey": "sdss"}, "holds images of decals but recipe 'tiny' is for sdss"),
        ({"objective": {"classes": 1.0, "class_column": "type"}}, "needs column type; it has"),
    ],
)
def test_a_sample_that_does_not_suit_is_refused(sample, tmp_path, changes, message):
    with pytest.raises(TableError, match=message):
        pretrain(changed(TINY, **changes), tmp_path / "s", sample=sample)

"""Training of an anchor: from a recipe to a space, and its continuation after a stop."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from galaxy_da.errors import TableError
from galaxy_da.images.instrument import image_noise
from galaxy_da.models.networks import Architecture
from galaxy_da.space import LatentSpace
from training.anchor import AnchorRecipe, images, run, train_anchor
from training.anchor import sky as sky_module
from training.anchor.images import TrainingSky
from training.anchor.recipe import Layer, Schedule

SMALL = Architecture(
    grids=2, conditioned=True, latents=6, nuisance_latents=2, widths=(8, 8, 8), features=16
)
RECIPE = AnchorRecipe(
    name="tiny",
    galaxies=128,
    layers=(Layer(share=1.0, magnitudes=(17, 22)),),
    architecture=SMALL,
    schedule=Schedule(steps=6, batch=16, warmup_steps=2, decoded=4),
)


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "BLOCK", 64)
        patch.setattr(sky_module, "BLOCK", 64)
        patch.setattr(sky_module, "ProcessPoolExecutor", _InThisProcess)
        yield


class _InThisProcess(ThreadPoolExecutor):
    """Draw in this process, where the blocks are small."""

    def __init__(self, processes, context):
        super().__init__(processes)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return tmp_path_factory.mktemp("sky")


@pytest.fixture(scope="module")
def straight(sky, tmp_path_factory):
    return train_anchor(RECIPE, tmp_path_factory.mktemp("straight"), sky=sky)


def state(space):
    return space.encoder("decals").network.state_dict()


def test_it_makes_a_space_that_reads_every_survey(straight, tmp_path):
    straight.save(tmp_path / "space")
    space = LatentSpace.load(tmp_path / "space")
    assert space.encoder("sdss").bands == ("g", "r", "z") and space.encoder("sdss").by_definition
    assert space.training["images"] == 128


def test_a_stopped_run_continues_to_the_same_weights(straight, sky, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_SAVE_SECONDS", 0)
    monkeypatch.setattr(run, "_CURVE_STEPS", 1)
    stop = run._set_rate

    def stops(optimiser, step, recipe):
        if step == 4:
            raise KeyboardInterrupt
        stop(optimiser, step, recipe)

    monkeypatch.setattr(run, "_set_rate", stops)
    with pytest.raises(KeyboardInterrupt):
        train_anchor(RECIPE, tmp_path, sky=sky)
    monkeypatch.setattr(run, "_set_rate", stop)
    space = train_anchor(RECIPE, tmp_path, sky=sky)
    for name, value in state(space).items():
        torch.testing.assert_close(value, state(straight)[name], atol=1e-6, rtol=1e-5)


def test_a_run_starts_from_the_networks_of_a_space(straight, sky, tmp_path):
    still = RECIPE.schedule.model_copy(update={"steps": 1, "learning_rate": 1e-12})
    recipe = RECIPE.model_copy(update={"schedule": still})
    space = train_anchor(recipe, tmp_path, sky=sky, start=straight)
    assert space.training["start"] == straight.id
    for name, value in state(space).items():
        torch.testing.assert_close(value, state(straight)[name], atol=1e-6, rtol=1e-5)


def test_networks_of_another_size_are_refused_as_a_start(straight, sky, tmp_path):
    larger = RECIPE.model_copy(update={"architecture": SMALL.model_copy(update={"latents": 8})})
    with pytest.raises(TableError, match="are not those of the recipe"):
        train_anchor(larger, tmp_path, sky=sky, start=straight)


def test_targets_are_scaled_and_unknown_where_the_truth_is(straight, sky):
    data = TrainingSky.open(sky, 128)
    shapes, classes = data.targets[:, : len(images.TARGETS)], data.targets[:, -4:]
    assert torch.isnan(classes).all()  # the sky is drawn
    magnitude = data.truth["r_mag"].to_numpy()
    np.testing.assert_allclose(
        shapes[:, 0], (magnitude - magnitude.mean()) / magnitude.std(), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(shapes.mean(0), 0, atol=1e-4)


def test_a_sky_of_other_settings_is_refused(straight, sky, tmp_path):
    with pytest.raises(TableError, match="holds the work of other settings"):
        train_anchor(RECIPE.model_copy(update={"seed": 2}), tmp_path, sky=sky)


def test_observations_of_a_galaxy_are_alike_and_the_clean_one_has_no_noise(straight, sky):
    data = TrainingSky.open(sky, 128)
    bright = np.argsort(data.truth["r_mag"].to_numpy())[:8]
    aligned, rotated, clean = (part.float() for part in data.read(bright, 8))
    assert aligned.shape == (8, 2, 6, 64, 64) and rotated.shape == clean.shape == (8, 6, 64, 64)
    covered = torch.ones(8, 64, 64)
    quiet, noisy = (image_noise(part[:, :3], covered) for part in (clean, aligned[:, 0]))
    assert (quiet < 0.1 * noisy).all()
    for one, other in zip(aligned[:, 0], clean, strict=True):
        assert np.corrcoef(one[:3].flatten(), other[:3].flatten())[0, 1] > 0.5

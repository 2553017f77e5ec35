import numpy as np
import pytest
import torch

from galaxy_da.errors import TableError
from galaxy_da.space import LatentSpace
from training import pretrain as module
from training.pretrain import pretrain
from training.recipes import Recipe

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


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("straight")
    return pretrain(TINY, folder), folder


def test_it_learns_and_says_how(straight):
    space, folder = straight
    curves = space.training["curves"]
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    assert curves[-1]["reconstruction"] < curves[0]["reconstruction"]
    assert space.metrics["reconstruction"] == pytest.approx(curves[-1]["held_out"], rel=0.05)
    assert not (folder / "work").exists()
    assert LatentSpace.load(folder).training["recipe"]["seed"] == 3


def test_a_stopped_run_ends_with_the_same_weights(straight, tmp_path, monkeypatch):
    space, _ = straight
    real, calls = module.save_checkpoint, []

    def stop_after_second(*arguments):
        real(*arguments)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_checkpoint", stop_after_second)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "s")
    monkeypatch.setattr(module, "save_checkpoint", real)
    resumed = pretrain(TINY, tmp_path / "s")
    assert len(resumed.training["curves"]) == 3
    ours = resumed.encoder("decals").network.state_dict()
    for name, value in space.encoder("decals").network.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-5)


def test_another_recipes_unfinished_run_is_refused(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "s")
    with pytest.raises(TableError, match="unfinished run of another recipe"):
        pretrain(TINY.model_copy(update={"seed": 4}), tmp_path / "s")


def test_too_few_galaxies_for_a_batch(tmp_path):
    few = TINY.model_copy(update={"optimiser": TINY.optimiser.model_copy(update={"batch": 512})})
    with pytest.raises(TableError, match="too few for batches of 512"):
        pretrain(few, tmp_path / "s")


def test_the_rate_warms_up_and_decays():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=0.0)
    rates = []
    for step in range(100):
        module._set_rate(optimiser, step, 100, TINY.optimiser)
        rates.append(optimiser.param_groups[0]["lr"])
    assert np.argmax(rates) == 4
    assert rates[0] == pytest.approx(3e-3 / 5) and rates[-1] < 1e-5

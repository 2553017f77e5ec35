import numpy as np

from benchmarks.comparisons.processes import (
    command,
    compare_with_one_process,
    recipe_toml,
    small_recipe,
)
from training.pretraining.recipe import load_recipe


def test_processes_are_compared_with_one_of_the_same_seed():
    runs = {
        (1, 1): {"error": 1.0},
        (2, 1): {"error": 1.5},
        (1, 2): {"error": 3.0},
        (2, 2): {"error": 2.9},
    }
    one, two = compare_with_one_process(runs)
    assert one == {
        "figure": "error", "processes": 1, "mean": 2.0, "spread": np.sqrt(2),
        "largest_difference": 0.0,
    }  # fmt: skip
    assert two["processes"] == 2
    assert np.isclose(two["mean"], 2.2) and np.isclose(two["largest_difference"], 0.5)


def test_small_recipe_differs_from_the_shipped_one_in_size_only(tmp_path):
    small = small_recipe(600, 8, seed=5)
    path = tmp_path / "small.toml"
    path.write_text(recipe_toml(small))
    assert load_recipe(path) == small
    shipped = load_recipe("decals-legacy")
    assert (small.architecture, small.objective) == (shipped.architecture, shipped.objective)
    assert (small.sky.galaxies, small.optimiser.epochs, small.seed) == (600, 8, 5)


def test_several_processes_run_the_verb_under_torchrun():
    one, two = (command(processes, ["adapt"]) for processes in (1, 2))
    assert one[-4:] == two[-4:] == ["-m", "galaxy_da", "adapt", "--json"]
    assert "torch.distributed.run" in two and "--nproc-per-node=2" in two

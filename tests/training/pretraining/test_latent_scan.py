import json

import pytest

from training.pretraining import run as module
from training.pretraining.latent_scan import scan_latents
from training.pretraining.recipe import Recipe

TINY = {
    "name": "tiny",
    "scan": [2, 3],
    "sky": {"galaxies": 96},
    "architecture": {"widths": (8, 16, 16), "features": 32},
    "objective": {"noise": 0.33},
    "optimiser": {"epochs": 1, "batch": 16},
}


def test_sizes_share_images_and_a_stopped_scan_goes_on(tmp_path, monkeypatch):
    recipe = Recipe.model_validate(TINY)
    real_draw, real_train, drawn, trained = module.draw_sky, module.train, [], []

    def draw(*arguments):
        drawn.append(1)
        real_draw(*arguments)

    def train(one, *arguments):
        trained.append(one.architecture.latents)
        if trained == [2, 3]:
            raise KeyboardInterrupt
        return real_train(one, *arguments)

    monkeypatch.setattr(module, "draw_sky", draw)
    monkeypatch.setattr(module, "train", train)
    with pytest.raises(KeyboardInterrupt):
        scan_latents(recipe, tmp_path)
    table = scan_latents(recipe, tmp_path)
    assert drawn == [1] and trained == [2, 3, 3]
    assert table["latents"].to_pylist() == [2, 3]
    assert json.loads((tmp_path / "scan.json").read_text())["rows"] == table.to_pylist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latents-2", "latents-3", "scan.json"]


def test_a_recipe_without_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'tiny' has no scan"):
        scan_latents(Recipe.model_validate({**TINY, "scan": []}), tmp_path)

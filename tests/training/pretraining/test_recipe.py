import pytest

from training.pretraining.recipe import load_recipe
from training.recipe_files import RecipeError

GOOD = """
name = "tiny"
[sky]
galaxies = 100
[objective]
noise = 0.3
[optimiser]
epochs = 1
"""


def test_the_shipped_recipe_loads_by_name():
    recipe = load_recipe("decals-legacy")
    assert recipe.architecture.latents == 40 and recipe.frame.pixels == 64


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 1", "epochs = 0", "optimiser.epochs"),
        ("noise = 0.3", "nose = 0.3", "objective.noise.*objective.nose"),
        ("galaxies = 100", "galaxies = many", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, old, new, message):
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    assert load_recipe(path).seed == 1
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_a_missing_recipe_names_the_shipped():
    with pytest.raises(RecipeError, match=r"no such recipe; shipped are anchor, decals-galaxy10"):
        load_recipe("nothing")

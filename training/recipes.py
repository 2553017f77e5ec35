"""Recipes: everything that decides a pretraining, read from TOML and saved beside its result."""

from __future__ import annotations

import os
import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.errors import GalaxyDAError
from galaxy_da.images import Frame
from galaxy_da.models import Architecture

__all__ = ["Objective", "Optimiser", "Recipe", "RecipeError", "Sky", "load_recipe"]


class RecipeError(GalaxyDAError):
    """A recipe that is missing or says something it should not."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sky(_Frozen):
    """The simulated sky to train on.

    Attributes
    ----------
    galaxies : int
        How many to draw.
    scene_share : float
        Share of them made from real scenes, where a scene table is given.
    """

    galaxies: int = Field(gt=0)
    scene_share: float = Field(default=0.5, ge=0, le=1)


class Objective(_Frozen):
    """The evidence lower bound.

    Attributes
    ----------
    noise : float
        Standard deviation of a pixel about the decoded image [asinh units].
    beta : float
        Weight of the Kullback-Leibler term.
    """

    noise: float = Field(gt=0)
    beta: float = Field(default=1.0, ge=0)


class Optimiser(_Frozen):
    """AdamW with linear warm-up and cosine decay.

    Attributes
    ----------
    epochs, batch, warmup_steps : int
        Passes over the data, images per step, steps to reach the full rate.
    learning_rate, weight_decay : float
        Of AdamW.
    """

    epochs: int = Field(gt=0)
    batch: int = Field(default=128, gt=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=300, ge=0)


class Recipe(_Frozen):
    """How to make an anchor.

    Attributes
    ----------
    name : str
        For the record.
    survey : str
        The anchor survey: built-in name or TOML file.
    seed : int
        Of the sky, the initial weights, the order and the noise.
    sky, architecture, frame, objective, optimiser
        See their classes.
    """

    name: str
    survey: str = "decals"
    seed: int = 1
    sky: Sky
    architecture: Architecture = Architecture()
    frame: Frame = Frame()
    objective: Objective
    optimiser: Optimiser


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file, or a shipped one by name.

    Raises
    ------
    RecipeError
        If it is missing, not TOML, or has an unknown or wrong setting.
    """
    file = Path(path)
    shipped = Path(str(files("training") / "recipes"))
    if not file.is_file() and (shipped / f"{path}.toml").is_file():
        file = shipped / f"{path}.toml"
    try:
        return Recipe.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in shipped.glob("*.toml")))
        raise RecipeError(f"{path}: no such recipe; shipped are {names}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is not TOML ({error})") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        )
        raise RecipeError(f"{path}: {problems}") from error

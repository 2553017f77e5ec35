"""Read recipes from TOML files, or by the names of those that are shipped."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, read_text

_Model = TypeVar("_Model", bound=BaseModel)


class RecipeError(GalaxyDAError):
    """A recipe is missing or has a wrong setting."""


def recipe_file(path: PathOrUrl) -> Location:
    """Return the file of a recipe, by its path or its shipped name."""
    file = location(path)
    shipped = Path(str(files("training") / "recipes")) / f"{path}.toml"
    return shipped if shipped.is_file() and not exists(file) else file


def recipe_settings(path: PathOrUrl) -> dict[str, Any]:
    """Read the settings of a recipe, or raise RecipeError."""
    try:
        return tomllib.loads(read_text(recipe_file(path)))
    except OSError as error:
        shipped = Path(str(files("training") / "recipes"))
        names = ", ".join(sorted(p.stem for p in shipped.glob("*.toml")))
        raise RecipeError(f"{path}: no such recipe; shipped are {names}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is not TOML ({error})") from error


def validated(path: PathOrUrl, model: type[_Model]) -> _Model:
    """Read a recipe of one kind, or raise RecipeError with every wrong setting."""
    try:
        return model.model_validate(recipe_settings(path))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'recipe'}: {item['msg']}"
            for item in error.errors()
        )
        raise RecipeError(f"{path}: {problems}") from error

"""Recipes: all settings of a pretraining, read from TOML and saved beside its result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from galaxy_da.images.preparation import Frame
from galaxy_da.io.storage import PathOrUrl, exists
from galaxy_da.models.networks import Architecture
from training.losses import Beta
from training.recipe_files import recipe_file, validated


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sky(_Frozen):
    """Simulated sky to train on."""

    galaxies: int = Field(gt=0)  # to draw


class Objective(_Frozen):
    """Evidence lower bound and the weights of further losses; see `training.losses`.

    A weight of 1 counts a loss in nats as the bound does; 0 leaves it out.
    """

    noise: float = Field(gt=0)  # of a pixel about the decoded image [asinh units]
    beta: Beta = 1.0  # weight of the divergence, or (epoch, weight) points, linear between them
    mmd: float = Field(default=0.0, ge=0)  # between all latents and the prior (InfoVAE)
    classes: float = Field(default=0.0, ge=0)  # of morphology
    class_column: str = "label"  # in a sample table, as on the simulated sky
    redshift: float = Field(default=0.0, ge=0)  # squared error of ``cvae-predict`` [sample's std]

    @field_validator("beta")
    @classmethod
    def _beta_is_a_schedule(cls, beta: Beta) -> Beta:
        points = beta if isinstance(beta, tuple) else ((0.0, beta),)
        epochs = [epoch for epoch, _ in points]
        if not points or epochs != sorted(set(epochs)) or min(value for _, value in points) < 0:
            raise ValueError(
                "expected weights of 0 or more at rising epochs, as [[0, 0.0], [5, 1]]"
            )
        return beta


class Optimiser(_Frozen):
    """AdamW with linear warm-up and cosine decay."""

    epochs: int = Field(gt=0)
    batch: int = Field(default=128, gt=1)  # images per step
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=300, ge=0)  # at most a quarter of all steps
    patience: int = Field(default=0, ge=0)
    """Epochs without a better validation reconstruction before training stops and keeps the best
    weights. With 0, all epochs run and the last weights are kept."""


Condition = Literal["cvae", "cvae2", "cvae-predict"]
"""Use of the redshift; see `training.pretraining.conditional`."""


class Recipe(_Frozen):
    """Settings of one anchor."""

    name: str  # for the record
    survey: str = "decals"  # built-in name, or a TOML file beside the recipe
    seed: int = 1  # of the sky, the initial weights, the order and the noise
    condition: Condition | None = None
    scan: tuple[int, ...] = ()  # latent sizes to train in turn, in place of the architecture's
    sky: Sky
    architecture: Architecture = Architecture()
    frame: Frame = Frame()
    objective: Objective
    optimiser: Optimiser

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        a, side, planes = self.architecture, self.frame.pixels, len(self.frame.bands)
        if a.nuisance_latents or a.conditioned or len(self.frame.scales_arcsec) > 1:
            raise ValueError(
                "nuisance latents, conditions and a wide grid need several observations of each "
                "galaxy; see the recipe `anchor`"
            )
        if (self.architecture.pixels, self.architecture.bands) != (side, planes):
            raise ValueError(
                f"architecture is for {self.architecture.bands} bands of "
                f"{self.architecture.pixels} pixels but the frame has {planes} of {side}"
            )
        if self.objective.redshift and self.condition != "cvae-predict":
            raise ValueError('objective.redshift needs condition = "cvae-predict"')
        return self


def load_recipe(path: PathOrUrl) -> Recipe:
    """Read a recipe from a TOML file or by its shipped name, or raise RecipeError."""
    recipe = validated(path, Recipe)
    beside = recipe_file(path).parent / recipe.survey
    return recipe.model_copy(update={"survey": str(beside)}) if exists(beside) else recipe

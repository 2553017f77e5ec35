"""Settings of an adaptation."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FineTuningSettings(BaseModel):
    """Settings of the candidate that is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=200, ge=0)  # at most; with 0 nothing is trained
    batch: int = Field(default=128, gt=1)  # pairs per step
    learning_rate: float = Field(default=3e-4, gt=0)  # of AdamW, with cosine decay
    weight_decay: float = Field(default=1e-3, ge=0)
    check_every: int = Field(default=40, gt=0)  # steps between checks on held-out pairs
    patience: int = Field(default=2, gt=0)  # checks without gain before training stops
    paired: float = Field(default=1.0, ge=0)  # weights of the losses
    contrastive: float = Field(default=1.0, ge=0)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 1."""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / self.steps))


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """Settings of `training.adaptation.adapt`.

    Attributes
    ----------
    fine_tuning : FineTuningSettings
        Settings of the candidate that is trained.
    seed : int
        Seed of the order, of the draws and of the choice of pairs.
    checkpoint : path, optional
        Folder of checkpoints, from which an interrupted adaptation continues. All processes must
        see it.
    progress : bool
        Show a progress bar on stderr.
    """

    fine_tuning: FineTuningSettings = field(default_factory=FineTuningSettings)
    seed: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    progress: bool = False

    def checkpoint_file(self, name: str) -> Path | None:
        """Return a file in the checkpoint folder, or None without one."""
        return None if self.checkpoint is None else Path(self.checkpoint) / name

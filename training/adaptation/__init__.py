"""Adaptation of a latent space to a new survey, with pairs or without.

`adapt` fits the candidates of `training.adaptation.candidates` and keeps the best one.
"""

from training.adaptation.run import adapt
from training.adaptation.settings import AdaptSettings, FineTuningSettings

__all__ = ["AdaptSettings", "FineTuningSettings", "adapt"]

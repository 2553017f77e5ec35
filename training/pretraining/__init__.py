"""Pretraining of an anchor space: recipes, images, the network in training and its loop."""

from training.pretraining.recipe import Recipe, load_recipe
from training.pretraining.run import RunOptions, pretrain

__all__ = ["Recipe", "RunOptions", "load_recipe", "pretrain"]

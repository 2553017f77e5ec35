"""Training of the anchor: one encoder for every instrument, and the decoder of the anchor."""

from training.anchor.recipe import AnchorRecipe
from training.anchor.run import train_anchor

__all__ = ["AnchorRecipe", "train_anchor"]

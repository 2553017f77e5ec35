"""Other ways to bring a survey into a space, behind one interface.

`every_baseline` lists them with their published settings.
"""

from training.baselines.coral_map import CoralMap
from training.baselines.every import every_baseline
from training.baselines.interface import AdaptationData, Baseline, Fitted
from training.baselines.pixel_pca import PixelPCA
from training.baselines.procrustes import Procrustes
from training.baselines.psf_matching import PsfMatching
from training.baselines.ridge import RidgeFromFeatures, RidgeFromLatents
from training.baselines.seed_recipe import SeedRecipe
from training.baselines.sidda import Sidda
from training.baselines.standardisation import Standardisation
from training.baselines.unadapted import Unadapted

__all__ = [
    "AdaptationData",
    "Baseline",
    "CoralMap",
    "Fitted",
    "PixelPCA",
    "Procrustes",
    "PsfMatching",
    "RidgeFromFeatures",
    "RidgeFromLatents",
    "SeedRecipe",
    "Sidda",
    "Standardisation",
    "Unadapted",
    "every_baseline",
]

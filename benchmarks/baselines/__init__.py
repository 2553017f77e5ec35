"""Other ways to bring a survey into a space, behind one interface.

`every_baseline` lists them with their published settings.
"""

from benchmarks.baselines.coral_map import CoralMap
from benchmarks.baselines.every import every_baseline
from benchmarks.baselines.interface import AdaptationData, Baseline, Fitted
from benchmarks.baselines.pixel_pca import PixelPCA
from benchmarks.baselines.procrustes import Procrustes
from benchmarks.baselines.psf_matching import PsfMatching
from benchmarks.baselines.ridge import RidgeFromFeatures, RidgeFromLatents
from benchmarks.baselines.xu2023 import SeedRecipe
from benchmarks.baselines.sidda import Sidda
from benchmarks.baselines.standardisation import Standardisation
from benchmarks.baselines.unadapted import Unadapted

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

"""Other ways to bring a survey into a space, behind one interface.

`all_baselines` lists them with their published settings.
"""

from benchmarks.baselines.by_definition import ByDefinition
from benchmarks.baselines.coral_map import CoralMap
from benchmarks.baselines.interface import AdaptationData, Baseline, Fitted
from benchmarks.baselines.pixel_pca import PixelPCA
from benchmarks.baselines.procrustes import Procrustes
from benchmarks.baselines.ridge import RidgeFromFeatures, RidgeFromLatents
from benchmarks.baselines.sidda import Sidda
from benchmarks.baselines.standardisation import Standardisation
from benchmarks.baselines.xu2023 import Xu2023

__all__ = [
    "AdaptationData",
    "Baseline",
    "ByDefinition",
    "CoralMap",
    "Fitted",
    "PixelPCA",
    "Procrustes",
    "RidgeFromFeatures",
    "RidgeFromLatents",
    "Sidda",
    "Standardisation",
    "Xu2023",
    "all_baselines",
]


def all_baselines() -> tuple[Baseline, ...]:
    """Return every baseline with its published settings, the quick ones first."""
    return (
        ByDefinition(),
        Standardisation(),
        CoralMap(),
        Procrustes(),
        RidgeFromLatents(),
        RidgeFromFeatures(),
        PixelPCA(),
        Xu2023(),
        Sidda(),
    )

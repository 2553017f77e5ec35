"""The list that a report runs through."""

from __future__ import annotations

from benchmarks.baselines.coral_map import CoralMap
from benchmarks.baselines.interface import Baseline
from benchmarks.baselines.pixel_pca import PixelPCA
from benchmarks.baselines.procrustes import Procrustes
from benchmarks.baselines.psf_matching import PsfMatching
from benchmarks.baselines.ridge import RidgeFromFeatures, RidgeFromLatents
from benchmarks.baselines.xu2023 import SeedRecipe
from benchmarks.baselines.sidda import Sidda
from benchmarks.baselines.standardisation import Standardisation
from benchmarks.baselines.unadapted import Unadapted

__all__ = ["every_baseline"]


def every_baseline() -> tuple[Baseline, ...]:
    """Return every baseline with its published settings, the quick ones first."""
    return (
        Unadapted(),
        Standardisation(),
        CoralMap(),
        Procrustes(),
        RidgeFromLatents(),
        RidgeFromFeatures(),
        PixelPCA(),
        PsfMatching(),
        SeedRecipe(),
        Sidda(),
    )

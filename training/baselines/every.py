"""The list that a report runs through."""

from __future__ import annotations

from training.baselines.coral_map import CoralMap
from training.baselines.interface import Baseline
from training.baselines.pixel_pca import PixelPCA
from training.baselines.procrustes import Procrustes
from training.baselines.psf_matching import PsfMatching
from training.baselines.ridge import RidgeFromFeatures, RidgeFromLatents
from training.baselines.seed_recipe import SeedRecipe
from training.baselines.sidda import Sidda
from training.baselines.standardisation import Standardisation
from training.baselines.unadapted import Unadapted

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

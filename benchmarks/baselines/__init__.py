"""Other ways to bring a survey into a space, behind one interface.

`all_baselines` lists them with their published settings. Closed forms are candidates of
`training.adaptation` itself.
"""

from benchmarks.baselines.interface import AdaptationData, Baseline, Fitted
from benchmarks.baselines.pixel_pca import PixelPCA
from benchmarks.baselines.sidda import Sidda
from benchmarks.baselines.xu2023 import Xu2023

__all__ = ["AdaptationData", "Baseline", "Fitted", "PixelPCA", "Sidda", "Xu2023", "all_baselines"]


def all_baselines() -> tuple[Baseline, ...]:
    """Return every baseline with its published settings, the quick one first."""
    return PixelPCA(), Xu2023(), Sidda()

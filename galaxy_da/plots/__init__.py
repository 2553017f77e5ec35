"""Drawings of galaxies and measurements on matplotlib; they need the extra ``plots``.

Each function returns a `Plot`: a figure that shows itself in a notebook and has ``savefig``.
"""

from galaxy_da.plots.charts import (
    distance_against_magnitude,
    distance_histogram,
    learning_curve,
    recall,
    reliability,
)
from galaxy_da.plots.figure import Plot, to_svg
from galaxy_da.plots.galleries import across_surveys, gallery, outlier_sheet
from galaxy_da.plots.maps import latent_map

__all__ = [
    "Plot",
    "across_surveys",
    "distance_against_magnitude",
    "distance_histogram",
    "gallery",
    "latent_map",
    "learning_curve",
    "outlier_sheet",
    "recall",
    "reliability",
    "to_svg",
]

"""Write the report on the anchor of a space as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.anchor.context import PageContext
from benchmarks.anchor.decoder_sections import (
    REACH_SIGMA,
    exchanged_nuisance,
    interpolations,
    new_galaxies,
    opening,
    reconstructions,
    traversals,
)
from benchmarks.anchor.forests import sky_groups
from benchmarks.anchor.questions import find_questions
from benchmarks.anchor.sample_sections import (
    PLOT,
    densities,
    galaxy_map,
    outliers,
    pair_plot,
    predictions,
    rate_curve,
)
from benchmarks.measures.reconstruction import ACTIVE_VARIANCE, encode_sample
from evaluation.reports.page_file import write_page
from galaxy_da.errors import SpaceError
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.space import LatentSpace

__all__ = ["AnchorReportSettings", "write_anchor_report"]

_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class AnchorReportSettings:
    """Settings of `write_anchor_report`.

    Attributes
    ----------
    title : str
        Heading of the page.
    labels : pa.Table, optional
        Labels of the galaxies, for `benchmarks.anchor.questions.find_questions`.
    columns : tuple of str
        Columns of the labels; by default all that are recognised.
    others : dict of str to LatentSpace
        Spaces with the same frame and anchor by name, to compare rate and distortion.
    drawn : (n, latents) float array, optional
        Latents drawn by another model, such as a flow, to compare with our draws.
    limit : int
        Largest number of galaxies; of a larger sample, a random part is used.
    seed : int
        Seed of every random choice.
    """

    title: str = "Latent space"
    labels: pa.Table | None = None
    columns: tuple[str, ...] = ()
    others: Mapping[str, LatentSpace] = field(default_factory=dict)
    drawn: np.ndarray | None = None
    limit: int = 2000
    seed: int = 0

    def check(self, space: LatentSpace) -> None:
        """Raise ValueError or SpaceError for settings that do not fit a space."""
        if self.limit < _FEWEST:
            raise ValueError(f"limit must be at least {_FEWEST} galaxies but is {self.limit}")
        if self.columns and self.labels is None:
            raise ValueError(f"columns {', '.join(self.columns)} are of labels but there are none")
        size, drawn = space.architecture.latents, self.drawn
        if drawn is not None and (
            drawn.ndim != 2 or drawn.shape[1] != size or len(drawn) < _FEWEST
        ):
            raise ValueError(
                f"drawn latents must have shape (n, {size}), n at least {_FEWEST}, but have "
                f"{drawn.shape}"
            )
        for name, other in self.others.items():
            if (other.frame, other.anchor) != (space.frame, space.anchor):
                raise SpaceError(
                    f"{name}: has another frame or anchor than the space of the report, so their "
                    "distortions cannot be compared; give spaces trained on the same frame"
                )


def write_anchor_report(
    path: PathOrUrl,
    space: LatentSpace,
    sample: Sample,
    settings: AnchorReportSettings | None = None,
) -> dict[str, Any]:
    """Write one self-contained page on a space's anchor, and return its figures.

    Parameters
    ----------
    path : path
        HTML file to write.
    space : LatentSpace
        Space whose anchor is shown.
    sample : Sample
        Cutouts of the anchor survey, preferably none that the space was trained on.
    settings : AnchorReportSettings, optional
        Labels, spaces to compare with, limit and seed.

    Returns
    -------
    dict
        Figures on the page, as plain values.

    Raises
    ------
    ValueError
        If the limit is below 20, or the drawn latents have another shape than the space's.
    TableError
        If the sample is not of the anchor survey, fewer than 20 of its cutouts are usable, or the
        labels do not join.
    SpaceError
        If another space has another frame or anchor.
    StorageError
        If the page cannot be written.
    """
    settings = settings or AnchorReportSettings()
    settings.check(space)
    labels, seed = settings.labels, settings.seed
    encoded = encode_sample(space, sample, settings.limit, seed)
    context = PageContext(encoded=encoded, seed=seed)
    questions = (
        () if labels is None else find_questions(labels, sample, encoded.rows, settings.columns)
    )
    sky = (sample.catalog[axis].to_numpy()[encoded.rows] for axis in ("ra", "dec"))
    groups, by_sky = sky_groups(*sky)
    compared = {
        name: encode_sample(other, sample, settings.limit, seed)
        for name, other in settings.others.items()
    }
    rebuilt, fidelity = reconstructions(context)
    page = {
        "title": settings.title,
        "space": space,
        "sample": sample,
        "context": context,
        "galaxies": len(encoded),
        "opening": opening(context),
        "rebuilt": rebuilt,
        "fidelity": fidelity,
        "threshold": ACTIVE_VARIANCE,
        "ranked": _ranked(context),
        "traversals": traversals(context),
        "reach": REACH_SIGMA,
        "interpolations": interpolations(context),
        "exchange": exchanged_nuisance(context),
        "samples": new_galaxies(context, settings.drawn),
        "densities": densities(context),
        "map": galaxy_map(context, questions),
        "pairs": pair_plot(context),
        "answers": predictions(context, questions, groups),
        "by_sky": by_sky,
        "outliers": outliers(context),
        "rates": rate_curve(context, "this space", compared) if compared else None,
        "plot": PLOT,
    }
    write_page(path, "benchmarks.anchor", "anchor.html.j2", page)
    return _figures(page)


def _ranked(context: PageContext) -> list[list[int]]:
    """Return galaxy latents, then nuisance latents if any, those most used first."""
    order, cut = np.argsort(-context.kl, kind="stable"), context.encoded.space.galaxy_latents
    groups = (order[order < cut].tolist(), order[order >= cut].tolist())
    return [group for group in groups if group]


def _figures(page: Mapping[str, Any]) -> dict[str, Any]:
    context: PageContext = page["context"]
    rates = page["rates"]
    return {
        "space": page["space"].id,
        "galaxies": page["galaxies"],
        "reconstruction": page["fidelity"],
        "latents": {
            "count": len(context.kl),
            "galaxy": page["space"].galaxy_latents,
            "active": int(context.active.sum()),
            "kl_nat": context.kl.tolist(),
            "kl_total_nat": float(context.kl.sum()),
        },
        "nuisance_sensitivity": page["exchange"] and page["exchange"]["sensitivity"],
        "samples_auc": {sample["name"]: sample["auc"] for sample in page["samples"]},
        "pca_share": page["pairs"]["share"],
        "folds_by_sky": page["by_sky"],
        "answers": [answer.as_dict() for answer in page["answers"]],
        "rates": [dict(r.as_dict()) for r in (*rates["rates"], *rates["pca"])] if rates else [],
    }

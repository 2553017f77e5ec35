"""Write what the anchor of a space holds as one HTML page, its pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.anchor.forests import sky_groups
from benchmarks.anchor.layouts import (
    PLOT,
    asked,
    densities,
    galaxy_map,
    outliers,
    pair_plot,
    rate_curve,
)
from benchmarks.anchor.questions import find_questions
from benchmarks.anchor.stage import Stage
from benchmarks.anchor.walks import (
    REACH_SIGMA,
    interpolations,
    opening,
    reconstructions,
    samples,
    traversals,
    views,
)
from benchmarks.measures.reconstruction import ACTIVE_VARIANCE, EncodedSample, encode_sample
from evaluation.reports.page_file import write_page
from galaxy_da.errors import SpaceError
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.space import LatentSpace

__all__ = ["write_anchor_report"]

LIMIT = 2000
"""Galaxies shown and measured by default; of a larger sample, a random part."""


def write_anchor_report(
    path: PathOrUrl,
    *,
    title: str,
    space: LatentSpace,
    sample: Sample,
    labels: pa.Table | None = None,
    columns: Sequence[str] = (),
    others: Mapping[str, LatentSpace] | None = None,
    drawn: np.ndarray | None = None,
    limit: int = LIMIT,
    seed: int = 0,
) -> dict[str, Any]:
    """Write one self-contained page on a space's anchor, and return its figures.

    Parameters
    ----------
    path : path
        The HTML file.
    title : str
        Its heading.
    space : LatentSpace
        Whose anchor.
    sample : Sample
        Cutouts of the anchor survey, best ones that training has not seen.
    labels : pa.Table, optional
        What is known of the galaxies, as `benchmarks.anchor.questions.find_questions` takes it.
    columns : sequence of str
        Of the labels; by default every one that is known.
    others : dict of str to LatentSpace, optional
        Spaces with the same frame and anchor, to compare rate and distortion with, by name.
    drawn : (n, latents) float array, optional
        Latents drawn from another model of them, such as a flow, to be judged beside ours.
    limit : int
        Most galaxies.
    seed : int
        Of every random choice.

    Returns
    -------
    dict
        The figures on the page, as plain values.

    Raises
    ------
    ValueError
        If the limit is below 20, or `drawn` has another shape than the space's latents.
    TableError
        If the sample is not of the anchor survey, fewer than 20 of its cutouts are usable, or the
        labels do not join.
    SpaceError
        If another space has another frame or anchor.
    StorageError
        If the page cannot be written.
    """
    _check(space, columns, labels, others or {}, drawn, limit)
    stage = Stage(encoded=encode_sample(space, sample, limit, seed), seed=seed)
    encoded = stage.encoded
    questions = find_questions(labels, sample, encoded.rows, columns) if labels is not None else ()
    sky = (sample.catalog[axis].to_numpy()[encoded.rows] for axis in ("ra", "dec"))
    groups, by_sky = sky_groups(*sky)
    compared = {
        name: _same_galaxies(o, sample, limit, seed, encoded) for name, o in (others or {}).items()
    }
    rebuilt, fidelity = reconstructions(stage)
    page = {
        "title": title,
        "space": space,
        "sample": sample,
        "stage": stage,
        "galaxies": len(encoded),
        "opening": opening(stage),
        "rebuilt": rebuilt,
        "fidelity": fidelity,
        "threshold": ACTIVE_VARIANCE,
        "ranked": _ranked(stage),
        "traversals": traversals(stage),
        "reach": REACH_SIGMA,
        "interpolations": interpolations(stage),
        "views": views(stage),
        "samples": samples(stage, drawn),
        "densities": densities(stage),
        "map": galaxy_map(stage, questions),
        "pairs": pair_plot(stage),
        "answers": asked(stage, questions, groups),
        "by_sky": by_sky,
        "outliers": outliers(stage),
        "rates": rate_curve(stage, "this space", compared) if compared else None,
        "plot": PLOT,
    }
    write_page(path, "benchmarks.anchor", "anchor.html.j2", page)
    return _figures(page)


def _check(
    space: LatentSpace,
    columns: Sequence[str],
    labels: pa.Table | None,
    others: Mapping[str, LatentSpace],
    drawn: np.ndarray | None,
    limit: int,
) -> None:
    if limit < 20:
        raise ValueError(f"limit must be at least 20 galaxies but is {limit}")
    if columns and labels is None:
        raise ValueError(f"columns {', '.join(columns)} are of labels but there are none")
    size = space.architecture.latents
    if drawn is not None and (drawn.ndim != 2 or drawn.shape[1] != size or len(drawn) < 20):
        raise ValueError(
            f"drawn latents must have shape (n, {size}), n at least 20, but have {drawn.shape}"
        )
    for name, other in others.items():
        if (other.frame, other.anchor) != (space.frame, space.anchor):
            raise SpaceError(
                f"{name}: has another frame or anchor than the space of the report, so their "
                "distortions cannot be compared; give spaces trained on the same frame"
            )


def _ranked(stage: Stage) -> list[list[int]]:
    """Galaxy latents, then view latents where there are any, each most used first."""
    order, cut = np.argsort(-stage.kl, kind="stable"), stage.encoded.space.galaxy_latents
    groups = (order[order < cut].tolist(), order[order >= cut].tolist())
    return [group for group in groups if group]


def _same_galaxies(
    other: LatentSpace, sample: Sample, limit: int, seed: int, first: EncodedSample
) -> EncodedSample:
    encoded = encode_sample(other, sample, limit, seed)
    assert np.array_equal(encoded.rows, first.rows)
    return encoded


def _figures(page: Mapping[str, Any]) -> dict[str, Any]:
    stage: Stage = page["stage"]
    rates = page["rates"]
    return {
        "space": page["space"].id,
        "galaxies": page["galaxies"],
        "reconstruction": page["fidelity"],
        "latents": {
            "count": len(stage.kl),
            "galaxy": page["space"].galaxy_latents,
            "active": int(stage.active.sum()),
            "kl_nat": stage.kl.tolist(),
            "kl_total_nat": float(stage.kl.sum()),
        },
        "view_exchange": page["views"] and page["views"]["moved"],
        "samples_auc": {found["name"]: found["auc"] for found in page["samples"]},
        "pca_share": page["pairs"]["share"],
        "folds_by_sky": page["by_sky"],
        "answers": [found.as_dict() for found in page["answers"]],
        "rates": [dict(r.as_dict()) for r in (*rates["rates"], *rates["pca"])] if rates else [],
    }

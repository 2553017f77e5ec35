"""Sections in which the decoder draws: reconstructions, walks, exchanged views, samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from benchmarks.anchor.choosing import evenly, typical
from benchmarks.anchor.draws import draw, told_apart
from benchmarks.anchor.mosaics import colours, mosaic, moving, residual_colours, still
from benchmarks.anchor.paths import (
    closed_tour,
    exchanged_views,
    slide,
    view_constancy,
)
from benchmarks.anchor.stage import Picture, Stage
from benchmarks.measures.image_quality import compare_images, mse_and_psnr, value_range
from training.pretraining.sky_residuals import sky_residuals

__all__ = ["interpolations", "opening", "reconstructions", "samples", "traversals", "views"]

STEPS, REACH_SIGMA = 9, 3.0
"""Pictures along a traversal, and how far to either side it goes."""

_RECONSTRUCTED, _TOUR, _TILES, _EXCHANGED = 8, 6, 8, 6
_PRINCIPAL_ROWS, _GALAXY_ROWS, _VIEW_ROWS, _INTERPOLATED = 6, 8, 6, 5
_ENDS = 4
_TOUR_FRAMES = 10
_DRAWN, _COLUMNS = 20, 5
_FULL_SCALE_SIGMA = 4.0

_WAYS = {
    "prior": "from the prior, N(0, I)",
    "gaussian": "from a Gaussian with the latents' mean and covariance",
    "kde": "from a kernel density estimate of the latents",
    "given": "as given (--drawn)",
}


def opening(stage: Stage) -> Picture:
    """Show a band of galaxies that turn into each other."""
    some = stage.unlike(_TILES)
    frames = []
    for start in range(len(some)):
        tour = np.roll(some, -start)[:_TOUR]
        frames.append(stage.redraw(closed_tour(stage.encoded.mean[tour], _TOUR_FRAMES)))
    bands = np.stack([mosaic(np.stack(at), len(some), gap=0) for at in zip(*frames, strict=True)])
    return Picture(
        uri=moving(bands, 90),
        rest=still(bands[0]),
        alt="Decoded galaxies turning into one another",
        size=(bands.shape[2], bands.shape[1]),
    )


def reconstructions(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """Show galaxies, what the decoder makes of them, and what is left; measure all."""
    e = stage.encoded
    span = value_range(e.images)
    mse, psnr = mse_and_psnr(e.images, e.decoded, span)
    sky = sky_residuals(e.images, e.decoded, e.space.frame)
    scale = _FULL_SCALE_SIGMA * (np.mean([s.noise for s in sky]) if sky else np.sqrt(mse.mean()))
    scale /= np.sqrt(len(e.space.frame.bands))  # of a mean over bands
    rows = evenly(stage.bright, _RECONSTRUCTED)
    made = colours(e.space, e.decoded[rows])
    left = residual_colours(e.images[rows] - e.decoded[rows], float(scale))
    shown = [
        (
            stage.observed(row, str(e.ids[row])),
            stage.single(made[i], f"{e.ids[row]}, decoded"),
            stage.single(
                left[i],
                f"{e.ids[row]}, residual",
                f"MSE {mse[row]:.3f} · {psnr[row]:.1f} dB",
            ),
        )
        for i, row in enumerate(rows)
    ]
    figures = {
        **compare_images(e.decoded, e.images, span),
        "value_range": span,
        "sky": [
            {
                "band": s.band,
                "residual_over_noise": s.residual,
                "error": s.error if s.error == s.error else None,
                "noise": s.noise,
                "share": s.share,
            }
            for s in sky
        ],
    }
    return {"shown": shown, "full_scale": scale, "sky": sky}, figures


def traversals(stage: Stage) -> dict[str, Any]:
    """Move along directions of the latent space, each alone.

    Returns
    -------
    dict
        ``principal``, the first principal components of the galaxy latents; ``galaxy`` and
        ``view``, single latents of each kind, most used first.
    """
    e, cut = stage.encoded, stage.encoded.space.galaxy_latents
    base = e.mean[typical(e.mean, stage.bright)]
    pca = PCA(min(_PRINCIPAL_ROWS, *e.galaxy.shape)).fit(e.galaxy)
    steps = np.zeros((pca.n_components_, e.mean.shape[1]))
    steps[:, :cut] = np.sqrt(pca.explained_variance_)[:, None] * pca.components_
    shares = pca.explained_variance_ratio_
    order = np.argsort(-stage.kl, kind="stable")
    single = np.diag(e.mean.std(0))

    def alone(latents: np.ndarray) -> list[dict[str, Any]]:
        return [_walked(stage, base, single[k], str(k), f"{stage.kl[k]:.2f} nat") for k in latents]

    return {
        "principal": [
            _walked(stage, base, step, f"PC {k + 1}", f"{share:.0%}")
            for k, (step, share) in enumerate(zip(steps, shares, strict=True))
        ],
        "galaxy": alone(order[order < cut][:_GALAXY_ROWS]),
        "view": alone(order[order >= cut][:_VIEW_ROWS]),
    }


def interpolations(stage: Stage) -> list[tuple[Picture, Picture, Picture]]:
    """Go from one galaxy to another: the two as observed, and the way between."""
    e, some = stage.encoded, stage.unlike(2 * _INTERPOLATED)
    shown = []
    for a, b in zip(some[0::2], some[1::2], strict=False):
        way = stage.redraw(slide(e.mean[a], e.mean[b], STEPS))
        shown.append(
            (
                stage.observed(a),
                stage.sheet(way, STEPS, f"decoded, from {e.ids[a]} to {e.ids[b]}"),
                stage.observed(b),
            )
        )
    return shown


def views(stage: Stage) -> dict[str, Any] | None:
    """Draw each of some galaxies in the view of each other; None where there are no views."""
    e, cut = stage.encoded, stage.encoded.space.galaxy_latents
    if not e.view.shape[1]:
        return None
    some = stage.unlike(_EXCHANGED)
    n = len(some)
    points = exchanged_views(e.mean[some], cut)
    made = stage.redraw(points.reshape(n * n, -1)).reshape(n, n, *stage.seen.shape[1:])
    return {
        "observed": [stage.observed(row) for row in some],
        "made": [
            [
                stage.single(made[i, j], f"{e.ids[some[i]]} in the view of {e.ids[some[j]]}")
                for j in range(n)
            ]
            for i in range(n)
        ],
        "moved": view_constancy(e.space, e.mean, stage.seed),
    }


def samples(stage: Stage, given: np.ndarray | None) -> list[dict[str, Any]]:
    """Decode drawn points, and let a forest tell them from galaxies they were not fitted to."""
    e = stage.encoded
    mixed = np.random.default_rng(stage.seed).permutation(len(e))
    fitted, held = np.array_split(e.mean[mixed], 2)
    drawn: Mapping[str, np.ndarray] = draw(fitted, max(len(held), _DRAWN), stage.seed)
    if given is not None:
        drawn = {**drawn, "given": given}
    return [
        {
            "name": name,
            "auc": told_apart(points, held, stage.seed),
            "picture": stage.sheet(
                stage.redraw(points[:_DRAWN]), _COLUMNS, f"Galaxies drawn {_WAYS[name]}"
            ),
            "title": f"Drawn {_WAYS[name]}",
        }
        for name, points in drawn.items()
    ]


def _walked(
    stage: Stage, base: np.ndarray, step: np.ndarray, name: str, note: str
) -> dict[str, Any]:
    """Take a point along a direction, `step` being one standard deviation of all galaxies."""
    e = stage.encoded
    place = (e.mean - e.mean.mean(0)) @ step / max(step @ step, 1e-12)
    start = base - ((base - e.mean.mean(0)) @ step / max(step @ step, 1e-12)) * step
    ends = REACH_SIGMA * step
    frames = stage.zoomed(stage.redraw(slide(start - ends, start + ends, 2 * (STEPS - 1) + 1)))
    seen = stage.bright[np.argsort(place[stage.bright], kind="stable")]
    lowest, highest = (stage.zoomed(stage.seen[rows]) for rows in (seen[:_ENDS], seen[-_ENDS:]))
    return {
        "name": name,
        "note": note,
        "moving": Picture(
            uri=moving(frames, 80, there_and_back=True),
            rest=still(frames[len(frames) // 2]),
            alt=f"{name} moving to and fro",
            size=frames.shape[2:0:-1],
        ),
        "steps": stage.sheet(
            frames[::2], STEPS, f"{name} from {REACH_SIGMA:g} sigma below to above its mean"
        ),
        "lowest": stage.sheet(lowest, _ENDS, f"Galaxies lowest in {name}"),
        "highest": stage.sheet(highest, _ENDS, f"Galaxies highest in {name}"),
    }

"""Sections of decoded images: reconstructions, traversals, exchanged latents, new galaxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from benchmarks.anchor.choosing import typical
from benchmarks.anchor.context import PageContext, Picture
from benchmarks.anchor.mosaics import colours, mosaic, moving, residual_colours, still
from benchmarks.anchor.paths import (
    closed_tour,
    exchange_nuisance,
    nuisance_sensitivity,
    straight_line,
)
from benchmarks.anchor.sampling import draw_latents, real_or_drawn_auc
from benchmarks.measures.image_quality import compare_images, mse_and_psnr, value_range
from evaluation.reports.picture_sections import evenly
from training.pretraining.sky_residuals import sky_residuals

__all__ = [
    "exchanged_nuisance",
    "interpolations",
    "new_galaxies",
    "opening",
    "reconstructions",
    "traversals",
]

STEPS, REACH_SIGMA = 9, 3.0
"""Pictures along a traversal, and its reach to either side [standard deviations]."""

_RECONSTRUCTED, _TOUR, _TILES, _EXCHANGED = 8, 6, 8, 6
_PRINCIPAL_ROWS, _GALAXY_ROWS, _NUISANCE_ROWS, _INTERPOLATED = 6, 8, 6, 5
_ENDS = 4
_TOUR_FRAMES = 10
_DRAWN, _COLUMNS = 20, 5
_FULL_SCALE_SIGMA = 4.0

_DISTRIBUTIONS = {
    "prior": "from the prior, N(0, I)",
    "gaussian": "from a Gaussian with the latents' mean and covariance",
    "kde": "from a kernel density estimate of the latents",
    "external": "by another model (--drawn)",
}


def opening(context: PageContext) -> Picture:
    """Animate a band of galaxies that are interpolated into each other."""
    galaxies = context.diverse_rows(_TILES)
    frames = []
    for start in range(len(galaxies)):
        tour = np.roll(galaxies, -start)[:_TOUR]
        frames.append(context.decoded(closed_tour(context.encoded.mean[tour], _TOUR_FRAMES)))
    bands = np.stack(
        [mosaic(np.stack(tiles), len(galaxies), gap=0) for tiles in zip(*frames, strict=True)]
    )
    return Picture(
        uri=moving(bands, 90),
        rest=still(bands[0]),
        alt="Decoded galaxies, interpolated into each other",
        size=(bands.shape[2], bands.shape[1]),
    )


def reconstructions(context: PageContext) -> tuple[dict[str, Any], dict[str, Any]]:
    """Show observed and decoded images with their residuals; measure all galaxies."""
    e = context.encoded
    span = value_range(e.images)
    mse, psnr = mse_and_psnr(e.images, e.decoded, span)
    sky = sky_residuals(e.images, e.decoded, e.space.frame)
    scale = _FULL_SCALE_SIGMA * (np.mean([s.noise for s in sky]) if sky else np.sqrt(mse.mean()))
    scale /= np.sqrt(len(e.space.frame.bands))  # of a mean over bands
    rows = evenly(context.bright, _RECONSTRUCTED)
    decoded = colours(e.space, e.decoded[rows])
    residuals = residual_colours(e.images[rows] - e.decoded[rows], float(scale))
    triples = [
        (
            context.observed(row, str(e.ids[row])),
            context.single(decoded[i], f"{e.ids[row]}, decoded"),
            context.single(
                residuals[i],
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
    return {"triples": triples, "full_scale": scale, "sky": sky}, figures


def traversals(context: PageContext) -> dict[str, Any]:
    """Decode points along single directions of the latent space.

    Returns
    -------
    dict
        ``principal``, the first principal components of the galaxy latents; ``galaxy`` and
        ``nuisance``, single latents of each kind, those with the largest divergence first.
    """
    e, cut = context.encoded, context.encoded.space.galaxy_latents
    base = e.mean[typical(e.mean, context.bright)]
    pca = PCA(min(_PRINCIPAL_ROWS, *e.galaxy.shape)).fit(e.galaxy)
    steps = np.zeros((pca.n_components_, e.mean.shape[1]))
    steps[:, :cut] = np.sqrt(pca.explained_variance_)[:, None] * pca.components_
    shares = pca.explained_variance_ratio_
    order = np.argsort(-context.kl, kind="stable")
    single = np.diag(e.mean.std(0))

    def each(latents: np.ndarray) -> list[dict[str, Any]]:
        return [
            _traversal(context, base, single[k], str(k), f"{context.kl[k]:.2f} nat")
            for k in latents
        ]

    return {
        "principal": [
            _traversal(context, base, step, f"PC {k + 1}", f"{share:.0%}")
            for k, (step, share) in enumerate(zip(steps, shares, strict=True))
        ],
        "galaxy": each(order[order < cut][:_GALAXY_ROWS]),
        "nuisance": each(order[order >= cut][:_NUISANCE_ROWS]),
    }


def interpolations(context: PageContext) -> list[tuple[Picture, Picture, Picture]]:
    """Show pairs of observed galaxies, and the decoded line between their latents."""
    e, galaxies = context.encoded, context.diverse_rows(2 * _INTERPOLATED)
    triples = []
    for a, b in zip(galaxies[0::2], galaxies[1::2], strict=False):
        line = context.decoded(straight_line(e.mean[a], e.mean[b], STEPS))
        between = context.sheet(line, STEPS, f"decoded, from {e.ids[a]} to {e.ids[b]}")
        triples.append((context.observed(a), between, context.observed(b)))
    return triples


def exchanged_nuisance(context: PageContext) -> dict[str, Any] | None:
    """Decode galaxies with each other's nuisance latents; None for a space without any."""
    e, cut = context.encoded, context.encoded.space.galaxy_latents
    if not e.nuisance.shape[1]:
        return None
    galaxies = context.diverse_rows(_EXCHANGED)
    n = len(galaxies)
    points = exchange_nuisance(e.mean[galaxies], cut)
    decoded = context.decoded(points.reshape(n * n, -1))
    decoded = decoded.reshape(n, n, *decoded.shape[1:])
    ids = e.ids[galaxies]
    return {
        "observed": [context.observed(row) for row in galaxies],
        "decoded": [
            [
                context.single(decoded[i, j], f"{ids[i]} with the nuisance latents of {ids[j]}")
                for j in range(n)
            ]
            for i in range(n)
        ],
        "sensitivity": nuisance_sensitivity(e, context.seed),
    }


def new_galaxies(context: PageContext, external: np.ndarray | None) -> list[dict[str, Any]]:
    """Decode drawn latents, and classify them against galaxies that were not fitted."""
    e = context.encoded
    shuffled = np.random.default_rng(context.seed).permutation(len(e))
    fitted, held_out = np.array_split(e.mean[shuffled], 2)
    drawn: Mapping[str, np.ndarray] = draw_latents(fitted, max(len(held_out), _DRAWN), context.seed)
    if external is not None:
        drawn = {**drawn, "external": external}
    return [
        {
            "name": name,
            "auc": real_or_drawn_auc(points, held_out, context.seed),
            "picture": context.sheet(
                context.decoded(points[:_DRAWN]),
                _COLUMNS,
                f"Galaxies drawn {_DISTRIBUTIONS[name]}",
            ),
            "title": f"Drawn {_DISTRIBUTIONS[name]}",
        }
        for name, points in drawn.items()
    ]


def _traversal(
    context: PageContext, base: np.ndarray, step: np.ndarray, name: str, note: str
) -> dict[str, Any]:
    """Move a point along a direction; `step` is one standard deviation of all galaxies."""
    e = context.encoded
    length = max(step @ step, 1e-12)
    place = (e.mean - e.mean.mean(0)) @ step / length
    start = base - ((base - e.mean.mean(0)) @ step / length) * step
    ends = REACH_SIGMA * step
    line = straight_line(start - ends, start + ends, 2 * (STEPS - 1) + 1)
    frames = context.zoomed(context.decoded(line))
    ordered = context.bright[np.argsort(place[context.bright], kind="stable")]
    lowest, highest = (
        context.zoomed(context.observed_pictures[rows])
        for rows in (ordered[:_ENDS], ordered[-_ENDS:])
    )
    return {
        "name": name,
        "note": note,
        "moving": Picture(
            uri=moving(frames, 80, there_and_back=True),
            rest=still(frames[len(frames) // 2]),
            alt=f"{name}, animated",
            size=frames.shape[2:0:-1],
        ),
        "steps": context.sheet(
            frames[::2], STEPS, f"{name} from {REACH_SIGMA:g} sigma below to above its mean"
        ),
        "lowest": context.sheet(lowest, _ENDS, f"Galaxies lowest in {name}"),
        "highest": context.sheet(highest, _ENDS, f"Galaxies highest in {name}"),
    }

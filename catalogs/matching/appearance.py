"""Resolve ambiguous crossmatches by position and appearance.

The odds that a candidate pair is one galaxy are the density of true separations over the density of
chance ones (Budavári & Szalay 2008, ApJ 679, 301), times the likelihood ratio of the two posteriors
in a latent space (`galaxy_da.models.match_probability`). Competing candidates are then weighed so
that each source has at most one counterpart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from catalogs.matching.one_to_one import assign, match_probabilities
from catalogs.reading.columns import POSITION_ERROR
from galaxy_da.errors import CatalogError, SpaceError
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.sphere import chord_to_arcsec, unit_vectors
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.space import LatentSpace

_NEIGHBOURS = 30  # number of anchors that measures the local density
_ROUNDS = 300
_TOLERANCE = 1e-7


def resolve(
    candidates: pa.Table,
    anchor: pa.Table,
    target: pa.Table,
    appearance: np.ndarray | None = None,
) -> pa.Table:
    """Choose among candidate pairs, one to one, by position and appearance.

    Parameters
    ----------
    candidates : pa.Table
        All pairs within the radius: `crossmatch` with ``mode="all"``.
    anchor, target : pa.Table
        The matched catalogues, with ``position_error_arcsec`` if it is known.
    appearance : (n,) float array, optional
        Log likelihood ratio of each candidate's images (`appearance_ratios`); zero if unknown.

    Returns
    -------
    pa.Table
        The most probable one-to-one pairs, in the candidates' order, with the probability that the
        pair is one galaxy: ``p_position`` by position alone, ``match_probability`` with appearance.
        A source without a pair is more probably alone. The metadata hold ``expected_false_pairs``
        and ``expected_false_share`` by ``match_probability``, and the numbers of `position_ratios`.
    """
    metadata = read_metadata(candidates.schema)
    if metadata.get("mode") != "all":
        raise ValueError(
            f"candidates must be all pairs (mode 'all') but are {metadata.get('mode')!r}"
        )
    appearance = np.zeros(len(candidates)) if appearance is None else np.asarray(appearance)
    if appearance.shape != (len(candidates),):
        raise ValueError(
            f"appearance must have one ratio for each of the {len(candidates)} candidates but has "
            f"shape {appearance.shape}"
        )
    i, j = (_rows(candidates, table, side) for side, table in _sides(anchor, target))
    by_position, measured = position_ratios(candidates, anchor, target)
    log_odds = by_position + appearance
    match_probability = match_probabilities(i, j, log_odds)
    chosen = assign(i, j, log_odds)
    p_position = pa.array(match_probabilities(i, j, by_position))
    pairs = candidates.append_column("p_position", p_position)
    pairs = pairs.append_column("match_probability", pa.array(match_probability))
    pairs = pairs.take(pa.array(chosen))
    false = float((1 - match_probability[chosen]).sum())
    kept = {key: value for key, value in metadata.items() if not key.startswith("expected_false")}
    summary = {"mode": "resolved", "n_candidates": len(candidates), "n_pairs": len(chosen)}
    summary |= {f"n_{side}_unmatched": len(t) - len(chosen) for side, t in _sides(anchor, target)}
    summary |= {**measured, "expected_false_pairs": false}
    if len(chosen):
        summary["expected_false_share"] = false / len(chosen)
    return with_metadata(pairs, {**kept, **summary})


def appearance_ratios(
    candidates: pa.Table, space: LatentSpace, anchor: Features, target: Features
) -> np.ndarray:
    """Return the log likelihood ratio of each candidate pair's images, one galaxy over two.

    The features are of one survey each, by encoders of `space`; the ratio is zero for images
    without features. SpaceError is raised if they are of other encoders, or the space has no model
    of both.
    """
    model = space.match_probability(
        *(_survey(f, space, side) for side, f in _sides(anchor, target))
    )
    places, sides = [], []
    for side, features in _sides(anchor, target):
        table = features.ok()
        places.append(_rows(candidates, table, side))
        sides.append((vectors(table), vectors(table, "variance")))
    known = (places[0] >= 0) & (places[1] >= 0)
    if not known.any():
        raise CatalogError(
            f"none of the {len(candidates)} candidates has features on both sides: "
            f"{(places[0] >= 0).sum()} anchor_id and {(places[1] >= 0).sum()} target_id are among "
            "them; are they of these catalogues, in this order?"
        )
    ratios = np.zeros(len(candidates))
    (mean1, variance1), (mean2, variance2) = (
        (mean[rows[known]], variance[rows[known]])
        for (mean, variance), rows in zip(sides, places, strict=True)
    )
    ratios[known] = model.log_ratio(mean1, variance1, mean2, variance2)
    return ratios


def position_ratios(
    candidates: pa.Table, anchor: pa.Table, target: pa.Table
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the log odds, by separation, of each candidate against its target being alone.

    The odds are c / (1 - c) f / ρ, with f the density of true offsets, Gaussian of standard error σ
    along each axis; ρ the density of anchors about the anchor; and c the share of targets that have
    a counterpart (Sutherland & Saunders 1992, MNRAS 259, 413, without magnitudes; f / ρ is the
    Bayes factor of Budavári & Szalay 2008 times their prior). c is fitted to all separations by
    maximum likelihood, and so is σ unless both catalogues state errors. The model is Rayleigh for
    counterparts and uniform over the area for chance pairs. Also returns the median σ,
    ``position_sigma_arcsec``, and c, ``share_with_counterpart``.
    """
    separation = candidates["separation_arcsec"].to_numpy()
    i, j = (_rows(candidates, table, side) for side, table in _sides(anchor, target))
    radius = float(read_metadata(candidates.schema)["radius_arcsec"])
    known = None
    if all(POSITION_ERROR in table.column_names for table in (anchor, target)):
        known = np.hypot(*(t[POSITION_ERROR].to_numpy()[k] for t, k in ((anchor, i), (target, j))))
    sigma, share = _fit_separations(separation, radius, known)
    n_targets = len(target)
    counterparts = np.clip(share * len(separation) / n_targets, 1e-3, 1 - 1 / (n_targets + 1))
    density = _density(anchor, radius)[i]  # [1 / arcsec2]
    log_odds = (
        np.log(counterparts / (1 - counterparts))
        - np.log(2 * np.pi * sigma**2 * density)
        - separation**2 / (2 * sigma**2)
    )
    return log_odds, {
        "position_sigma_arcsec": float(np.median(sigma)),
        "share_with_counterpart": float(counterparts),
    }


def _sides(first: Any, second: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("anchor", first), ("target", second)


def _rows(candidates: pa.Table, table: pa.Table, side: str) -> np.ndarray:
    """Return each candidate's row in a table, -1 if it has none."""
    table_ids = table["object_id"].cast(pa.string()).combine_chunks()
    ids = candidates[f"{side}_id"].combine_chunks()
    return np.asarray(pc.fill_null(pc.index_in(ids, value_set=table_ids), -1).to_numpy())


def _survey(features: Features, space: LatentSpace, side: str) -> str:
    """Return the only survey of features, which must be of this space's encoder for it."""
    surveys = list(features.encoders)
    if len(surveys) != 1:
        raise SpaceError(f"{side}: features must be of one survey but are of {', '.join(surveys)}")
    own = space.encoder(surveys[0])
    if features.space_id != space.id or features.encoders[surveys[0]] != own.hash:
        raise SpaceError(
            f"{side}: features of {surveys[0]} were not extracted with this space's encoder; run "
            "`galaxy-da extract` with this space"
        )
    return surveys[0]


def _fit_separations(
    separation: np.ndarray, radius: float, known: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Fit the standard error along one axis [arcsec] and the share of true pairs, by EM."""
    squared = separation**2
    sigma = np.full(len(squared), radius / 4) if known is None else np.maximum(known, 1e-6)
    share = 0.5
    for _ in range(_ROUNDS):
        true = share * np.exp(-squared / (2 * sigma**2)) / sigma**2
        true /= true + (1 - share) * 2 / radius**2
        before, share = share, float(true.mean())
        if known is None:
            variance = float((true * squared).sum() / (2 * max(true.sum(), 1e-12)))
            sigma = np.full(len(squared), max(np.sqrt(variance), 1e-6))
        if abs(share - before) < _TOLERANCE:
            break
    return sigma, share


def _density(anchor: pa.Table, radius: float) -> np.ndarray:
    """Return the anchors per square arcsec about each, from the distance of a neighbour."""
    ra, dec = (anchor[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    points = unit_vectors(ra, dec)
    k = min(_NEIGHBOURS, len(points))
    chord = np.asarray(cKDTree(points).query(points, [k])[0])[:, 0]
    reach = np.maximum(chord_to_arcsec(chord), radius)
    return np.asarray(k / (np.pi * reach**2))

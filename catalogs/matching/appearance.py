"""Ambiguous crossmatches, resolved by position and appearance together.

Every candidate pair gets the odds that it is one galaxy: the density of true separations over the
density of chance ones (Budavári & Szalay 2008, ApJ 679, 301), times the likelihood ratio of the two
posteriors in a latent space (`galaxy_da.models.match_probability`). Odds of rivals are then
weighed against each
other, one counterpart at most to a source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from catalogs.reading.columns import POSITION_ERROR
from galaxy_da.errors import CatalogError, SpaceError
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.sphere import chord_to_arcsec, unit_vectors
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.space import LatentSpace

__all__ = ["appearance_ratios", "assign", "match_probabilities", "position_ratios", "resolve"]

_NEIGHBOURS = 30  # anchors the local density is measured on
_ROUNDS = 300
_TOLERANCE = 1e-7
_EDGES_AT_ONCE = 1000
_MOST_LOG_ODDS = 60.0


def resolve(
    candidates: pa.Table,
    anchor: pa.Table,
    target: pa.Table,
    appearance: np.ndarray | None = None,
) -> pa.Table:
    """Choose among candidate pairs by position and appearance, one to one.

    Parameters
    ----------
    candidates : pa.Table
        Every pair within the radius: `crossmatch` with ``mode="all"``.
    anchor, target : pa.Table
        The catalogues that were matched, with ``position_error_arcsec`` where it is known.
    appearance : (n,) float array, optional
        Log likelihood ratio of each candidate's images (`appearance_ratios`); zero says nothing.

    Returns
    -------
    pa.Table
        The most probable one-to-one pairs, in the candidates' order, with ``p_position`` and
        ``match_probability``: the probability that the pair is one galaxy, by position alone
        and with
        appearance. A source without a pair is more probably alone. ``expected_false_pairs`` and
        ``expected_false_share`` in the metadata are read off ``match_probability``;
        ``position_sigma_arcsec``
        is the median standard error of a separation along one axis, ``share_with_counterpart`` that
        of the targets.

    Raises
    ------
    ValueError
        If the candidates are not of mode "all", or ratios and candidates differ in number.
    """
    noted = read_metadata(candidates.schema)
    if noted.get("mode") != "all":
        raise ValueError(f"candidates must be all pairs (mode 'all') but are {noted.get('mode')!r}")
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
    pairs = candidates
    for name, values in (
        ("p_position", match_probabilities(i, j, by_position)),
        ("match_probability", match_probability),
    ):
        pairs = pairs.append_column(name, pa.array(values))
    pairs = pairs.take(pa.array(chosen))
    false = float((1 - match_probability[chosen]).sum())
    kept = {name: value for name, value in noted.items() if not name.startswith("expected_false")}
    summary = {"mode": "resolved", "n_candidates": len(candidates), "n_pairs": len(chosen)}
    summary |= {**measured, "expected_false_pairs": false}
    if len(chosen):
        summary["expected_false_share"] = false / len(chosen)
    return with_metadata(pairs, {**kept, **summary})


def appearance_ratios(
    candidates: pa.Table, space: LatentSpace, anchor: Features, target: Features
) -> np.ndarray:
    """Log likelihood ratio, same galaxy over two, of each candidate pair's images.

    Parameters
    ----------
    candidates : pa.Table
        With ``anchor_id`` and ``target_id``.
    space : LatentSpace
        With the target survey's model (`LatentSpace.sameness`).
    anchor, target : Features
        Extracted with this space's encoders, each of one survey.

    Returns
    -------
    (n,) float array
        Zero where either image has no features.

    Raises
    ------
    SpaceError
        If features are of other encoders or of several surveys, or the space has no model of the
        two.
    CatalogError
        If no candidate has features on both sides.
    """
    model = space.match_probability(
        *(_survey(f, space, side) for side, f in _sides(anchor, target))
    )
    places, sides = [], []
    for side, features in _sides(anchor, target):
        table = features.ok()
        known = table["object_id"].cast(pa.string()).combine_chunks()
        ids = candidates[f"{side}_id"].combine_chunks()
        places.append(pc.fill_null(pc.index_in(ids, value_set=known), -1).to_numpy())
        sides.append((vectors(table), vectors(table, "variance")))
    seen = (places[0] >= 0) & (places[1] >= 0)
    if not seen.any():
        raise CatalogError(
            f"none of the {len(candidates)} candidates has features on both sides: "
            f"{(places[0] >= 0).sum()} anchor_id and {(places[1] >= 0).sum()} target_id are among "
            "them; are they of these catalogues, in this order?"
        )
    ratios = np.zeros(len(candidates))
    (mean1, variance1), (mean2, variance2) = (
        (mean[rows[seen]], variance[rows[seen]])
        for (mean, variance), rows in zip(sides, places, strict=True)
    )
    ratios[seen] = model.log_ratio(mean1, variance1, mean2, variance2)
    return ratios


def position_ratios(
    candidates: pa.Table, anchor: pa.Table, target: pa.Table
) -> tuple[np.ndarray, dict[str, float]]:
    """Log odds of each candidate against its target being alone, by separation.

    The odds are c / (1 - c) f / ρ, with f the density of true offsets, Gaussian of standard error σ
    along each axis; ρ the density of anchors about the anchor; and c the share of targets that have
    a counterpart (Sutherland & Saunders 1992, MNRAS 259, 413, without magnitudes; f / ρ is the
    Bayes factor of Budavári & Szalay 2008 times their prior). c, and σ unless both catalogues tell
    their errors, are those under which all separations are most likely: Rayleigh for counterparts,
    uniform over the area for chance pairs.

    Parameters
    ----------
    candidates, anchor, target
        As for `resolve`.

    Returns
    -------
    log_odds : (n,) float array
    measured : dict
        ``position_sigma_arcsec`` and ``share_with_counterpart``.
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


def match_probabilities(i: np.ndarray, j: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Probability of each candidate pair when every source has one counterpart at most.

    The weight of a set of pairs that share no source is the product of their odds; a pair's
    probability is the share of the sets that hold it. Summed by belief propagation: exact where
    candidates form no loops, and close where they do.

    Parameters
    ----------
    i, j : (n,) int array
        Anchor and target of each candidate.
    log_odds : (n,) float array
        That they are one, against their being alone.

    Returns
    -------
    (n,) float array

    References
    ----------
    Williams & Lau 2014, IEEE Trans. Aerosp. Electron. Syst. 50, 2942.
    """
    odds = np.exp(np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))
    message = np.ones(len(odds))  # from anchors to targets: how free the anchor is of others
    for _ in range(_ROUNDS):
        wanted = odds / (1 + _others(j, odds * message))
        new = 1 / (1 + _others(i, wanted))
        change = np.abs(new - message).max(initial=0.0)
        message = new
        if change < _TOLERANCE:
            break
    weight = odds * message
    return np.asarray(weight / (1 + _others(j, weight) + weight))


def assign(i: np.ndarray, j: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Choose the most probable set of pairs that share no source.

    Parameters
    ----------
    i, j, log_odds
        As for `match_probabilities`.

    Returns
    -------
    (k,) int array
        Places of the chosen candidates, ascending.
    """
    use = np.flatnonzero(log_odds > 0)
    n_anchors = i.max(initial=-1) + 1
    sources = n_anchors + j.max(initial=-1) + 1
    links = coo_array((np.ones(len(use)), (i[use], n_anchors + j[use])), shape=(sources, sources))
    group = connected_components(links, directed=False)[1][i[use]]
    order = np.argsort(group, kind="stable")
    # solving takes time as the square, so a few whole groups at a time
    ends = np.searchsorted(group[order], group[order][::_EDGES_AT_ONCE])
    parts = np.split(use[order], np.unique(ends)[1:]) if len(use) else []
    chosen = [part[_best_pairs(i[part], j[part], log_odds[part])] for part in parts]
    return np.sort(np.concatenate([np.zeros(0, int), *chosen]))


def _best_pairs(i: np.ndarray, j: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Mark the pairs of the most probable one-to-one match of candidates with positive log odds."""
    targets, row = np.unique(j, return_inverse=True)
    anchors, column = np.unique(i, return_inverse=True)
    alone = np.arange(len(targets))  # a target may also stay alone, at odds of one
    most = float(log_odds.max()) + 1
    cost = np.concatenate([most - log_odds, np.full(len(targets), most)])
    rows, columns = np.concatenate([row, alone]), np.concatenate([column, len(anchors) + alone])
    graph = coo_array((cost, (rows, columns)), shape=(len(targets), len(anchors) + len(targets)))
    matched_row, matched_column = min_weight_full_bipartite_matching(graph.tocsr())
    partner = np.empty(len(targets), int)
    partner[matched_row] = matched_column
    return np.asarray(partner[row] == column)


def _sides(first: Any, second: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("anchor", first), ("target", second)


def _rows(candidates: pa.Table, table: pa.Table, side: str) -> np.ndarray:
    """Row in the catalogue of each candidate."""
    known = table["object_id"].cast(pa.string()).combine_chunks()
    ids = candidates[f"{side}_id"].combine_chunks()
    return np.asarray(pc.index_in(ids, value_set=known).to_numpy())


def _others(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum over the other members of each one's group."""
    return np.asarray(np.maximum(np.bincount(group, weights=values)[group] - values, 0))


def _survey(features: Features, space: LatentSpace, side: str) -> str:
    """Name the one survey of features, which must be of this space's encoder for it."""
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
    """Anchors per square arcsec about each, from the distance of its k-th neighbour."""
    ra, dec = (anchor[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    points = unit_vectors(ra, dec)
    k = min(_NEIGHBOURS, len(points))
    chord = np.asarray(cKDTree(points).query(points, [k])[0])[:, 0]
    reach = np.maximum(chord_to_arcsec(chord), radius)
    return np.asarray(k / (np.pi * reach**2))

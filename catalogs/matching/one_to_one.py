"""One-to-one matches of candidate pairs with given odds."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

_ROUNDS = 300
_TOLERANCE = 1e-7
_EDGES_AT_ONCE = 1000
_MOST_LOG_ODDS = 60.0


def match_probabilities(i: np.ndarray, j: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return the probability of each candidate pair if a source has at most one counterpart.

    `i` and `j` are anchor and target of each candidate, `log_odds` those of being one galaxy
    against both being alone. The weight of a set of pairs that share no source is the product of
    their odds. A pair's probability is the weighted share of the sets that hold it, by belief
    propagation: exact if candidates form no loops, else approximate (Williams & Lau 2014, IEEE
    Trans. Aerosp. Electron. Syst. 50, 2942).
    """
    odds = np.exp(np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))
    message = np.ones(len(odds))  # to targets: probability that the anchor has no other
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
    """Return the places of the most probable set of candidates that share no source, ascending."""
    use = np.flatnonzero(log_odds > 0)
    n_anchors = i.max(initial=-1) + 1
    sources = n_anchors + j.max(initial=-1) + 1
    links = coo_array((np.ones(len(use)), (i[use], n_anchors + j[use])), shape=(sources, sources))
    group = connected_components(links, directed=False)[1][i[use]]
    order = np.argsort(group, kind="stable")
    # the time to solve grows as the square, so a few whole groups at a time
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


def _others(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.bincount(group, weights=values)[group] - values, 0))

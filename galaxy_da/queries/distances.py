"""How far apart the two images of one galaxy lie, beside those of two galaxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.io.tables import read_metadata, validate_pairs, with_metadata
from galaxy_da.models.match_probability import posterior_distance, probability
from galaxy_da.queries.rows import match_model, posteriors, rows_of, separations

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

__all__ = ["RANDOM_PAIRS", "distances", "random_pairs"]

RANDOM_PAIRS = 20_000
"""Random anchor-target pairs that a pair's distance is compared with."""

_SEED = 0


def distances(
    index: StoredIndex,
    pairs: pa.Table,
    *,
    anchor: str,
    target: str,
    space: LatentSpace | None = None,
    prior: float | None = None,
) -> pa.Table:
    """Measure how far apart the two images of each paired galaxy lie.

    Parameters
    ----------
    index : StoredIndex
        Holding both surveys.
    pairs : pa.Table
        Pair table (`galaxy_da.io.tables.validate_pairs`).
    anchor, target : str
        Surveys that ``anchor_id`` and ``target_id`` belong to.
    space : LatentSpace, optional
        Gives the probability that both show the same galaxy (`LatentSpace.sameness`).
    prior : float, optional
        Probability before the images are seen; by default one minus the ``expected_false_share``
        of the pairs, or 1/2 where that is not known.

    Returns
    -------
    pa.Table
        The pairs with ``distance`` (float32), ``percentile`` (share, 0 to 1, of `RANDOM_PAIRS`
        random anchor-target pairs that are closer than this one), ``posterior_distance``
        (`galaxy_da.models.match_probability.posterior_distance`) where the features have
        variances, and, with a
        space, ``match_probability``; all null where either object is not in the index. Metadata
        gains
        ``median_same``, ``median_random``, their ``ratio`` (None if the latter is 0), ``auc``
        (probability that a pair is closer than a random one), ``n_pairs``, ``n_missing`` and, with
        a space, ``prior``.

    Raises
    ------
    LatentIndexError
        If a survey is not in the index, no pair is, no unpaired combination is left to draw from,
        or the index is of other encoders than the space.
    SpaceError
        If the space has no such probability for these surveys.
    TableError
        If the pair table lacks a column.
    ValueError
        If anchor and target are one survey, or the prior is not between 0 and 1.
    """
    validate_pairs(pairs, "pairs")
    if anchor == target:
        raise ValueError(f"anchor and target must be two surveys but both are {anchor!r}")
    first = rows_of(index, anchor, pairs["anchor_id"])
    second = rows_of(index, target, pairs["target_id"])
    found = (first >= 0) & (second >= 0)
    if not found.any():
        raise LatentIndexError(
            f"none of the {pairs.num_rows} pairs is in this index: {(first >= 0).sum()} anchor_id "
            f"are of {anchor}, {(second >= 0).sum()} target_id of {target}; are the surveys in the "
            "right order?"
        )
    same = separations(index.vectors, first[found], second[found])
    drawn = random_pairs(index.span(anchor), index.span(target), first[found], second[found])
    random = np.sort(separations(index.vectors, *drawn))
    closer = np.searchsorted(random, same, side="left")
    not_farther = np.searchsorted(random, same, side="right")
    median_same, median_random = float(np.median(same)), float(np.median(random))
    summary: dict[str, float | None] = {
        "median_same": median_same,
        "median_random": median_random,
        "ratio": median_same / median_random if median_random else None,
        "auc": 1 - float(np.mean(closer + not_farther)) / (2 * len(random)),
        "n_pairs": pairs.num_rows,
        "n_missing": int((~found).sum()),
    }
    table = _with_column(pairs, "distance", same, found)
    table = _with_column(table, "percentile", closer / len(random), found)
    if "variance" in index.rows.column_names:
        observations = [
            observation
            for rows in (first, second)
            for observation in posteriors(index, rows[found])
        ]
        table = _with_column(table, "posterior_distance", posterior_distance(*observations), found)
    if space is not None:
        model = match_model(index, space, anchor, target)
        if prior is None:
            prior = _prior(pairs)
        match_probability = probability(model.log_ratio(*observations), prior)
        table, summary["prior"] = (
            _with_column(table, "match_probability", match_probability, found),
            prior,
        )
    return with_metadata(table, {**read_metadata(pairs.schema), **summary})


def _prior(pairs: pa.Table) -> float:
    """Probability that a pair is one galaxy, as its crossmatch measured it."""
    share = read_metadata(pairs.schema).get("expected_false_share")
    return 0.5 if share is None else min(max(1 - share, 1e-3), 1 - 1e-3)


def random_pairs(
    anchors: tuple[int, int], targets: tuple[int, int], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw row numbers of anchors and targets, uniform over the combinations that are no pair."""
    n_anchors, n_targets = anchors[1] - anchors[0], targets[1] - targets[0]
    paired = np.unique((first - anchors[0]) * n_targets + second - targets[0])
    unpaired = n_anchors * n_targets - len(paired)
    if not unpaired:
        raise LatentIndexError(
            f"all {len(paired)} combinations of anchor and target are pairs, so there are no "
            "random ones to compare with; index more objects"
        )
    drawn = np.random.default_rng(_SEED).integers(unpaired, size=RANDOM_PAIRS)
    # the r-th unpaired combination comes after as many paired ones as precede it
    combination = drawn + np.searchsorted(paired - np.arange(len(paired)), drawn, side="right")
    return anchors[0] + combination // n_targets, targets[0] + combination % n_targets


def _with_column(table: pa.Table, name: str, values: np.ndarray, found: np.ndarray) -> pa.Table:
    """Add or replace a column that has a value only where found."""
    full = np.zeros(len(found), values.dtype)
    full[found] = values
    column = pa.array(full, mask=~found)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)

"""Latent distances between the two images of a galaxy, compared with random pairs."""

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

RANDOM_PAIRS = 20_000
"""Number of random anchor-target pairs that distances are compared with."""

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
    """Measure the latent distance between the two images of each paired galaxy.

    Parameters
    ----------
    index : StoredIndex
        Index of both surveys.
    pairs : pa.Table
        Pair table (`galaxy_da.io.tables.validate_pairs`).
    anchor, target : str
        Surveys of ``anchor_id`` and ``target_id``.
    space : LatentSpace, optional
        Space that gives the match probability (`LatentSpace.match_probability`).
    prior : float, optional
        Prior match probability, before the images are compared; by default one minus the
        ``expected_false_share`` of the pairs, or 1/2 if that is unknown.

    Returns
    -------
    pa.Table
        The pairs with ``distance`` (float32), ``percentile`` (share, 0 to 1, of `RANDOM_PAIRS`
        random anchor-target pairs that are closer), ``posterior_distance``
        (`galaxy_da.models.match_probability.posterior_distance`) if the features have variances,
        and, with a space, ``match_probability``. They are null if either object is not in the
        index. Metadata gains ``median_pair_distance``, ``median_random_distance``, their ``ratio``
        (None if the latter is 0), ``auc`` (probability that a pair is closer than a random pair),
        ``n_pairs``, ``n_missing`` and, with a space, ``prior``.

    Raises
    ------
    LatentIndexError
        If a survey or every pair is missing from the index, every combination is a pair, or the
        index has other encoders than the space.
    SpaceError
        If the space has no match-probability model of these surveys.
    """
    validate_pairs(pairs, "pairs")
    if anchor == target:
        raise ValueError(f"anchor and target must be two surveys but both are {anchor!r}")
    first = rows_of(index, anchor, pairs["anchor_id"])
    second = rows_of(index, target, pairs["target_id"])
    present = (first >= 0) & (second >= 0)
    if not present.any():
        raise LatentIndexError(
            f"none of the {pairs.num_rows} pairs is in this index: {(first >= 0).sum()} anchor_id "
            f"are of {anchor}, {(second >= 0).sum()} target_id of {target}; are the surveys in the "
            "right order?"
        )
    first, second = first[present], second[present]
    distance = separations(index.vectors, first, second)
    drawn = random_pairs(index.span(anchor), index.span(target), first, second)
    random = np.sort(separations(index.vectors, *drawn))
    closer = np.searchsorted(random, distance, side="left")
    not_farther = np.searchsorted(random, distance, side="right")
    median, median_random = float(np.median(distance)), float(np.median(random))
    summary: dict[str, float | None] = {
        "median_pair_distance": median,
        "median_random_distance": median_random,
        "ratio": median / median_random if median_random else None,
        "auc": 1 - float(np.mean(closer + not_farther)) / (2 * len(random)),
        "n_pairs": pairs.num_rows,
        "n_missing": int((~present).sum()),
    }
    table = _with_column(pairs, "distance", distance, present)
    table = _with_column(table, "percentile", closer / len(random), present)
    if "variance" in index.rows.column_names:
        both = (*posteriors(index, first), *posteriors(index, second))
        table = _with_column(table, "posterior_distance", posterior_distance(*both), present)
    if space is not None:
        model = match_model(index, space, anchor, target)
        if prior is None:
            prior = _prior(pairs)
        match_probability = probability(model.log_ratio(*both), prior)
        table = _with_column(table, "match_probability", match_probability, present)
        summary["prior"] = prior
    return with_metadata(table, {**read_metadata(pairs.schema), **summary})


def random_pairs(
    anchors: tuple[int, int], targets: tuple[int, int], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `RANDOM_PAIRS` anchors and targets that are not paired, two int arrays of rows.

    `anchors` and `targets` are the row spans of two surveys; `first` and `second`, (n,) rows of the
    pairs to leave out.
    """
    n_anchors, n_targets = anchors[1] - anchors[0], targets[1] - targets[0]
    paired = np.sort((first - anchors[0]) * n_targets + second - targets[0])
    paired = paired[np.diff(paired, prepend=-1) > 0]  # np.unique hashes, which is slow
    unpaired = n_anchors * n_targets - len(paired)
    if not unpaired:
        raise LatentIndexError(
            f"all {len(paired)} combinations of anchor and target are pairs, so no random pairs "
            "are left to compare with; index more objects"
        )
    drawn = np.random.default_rng(_SEED).integers(unpaired, size=RANDOM_PAIRS)
    # skip the paired combinations that precede the r-th unpaired one
    combination = drawn + np.searchsorted(paired - np.arange(len(paired)), drawn, side="right")
    return anchors[0] + combination // n_targets, targets[0] + combination % n_targets


def _prior(pairs: pa.Table) -> float:
    """Return the share of true pairs that their crossmatch measured, 1/2 if unknown."""
    share = read_metadata(pairs.schema).get("expected_false_share")
    return 0.5 if share is None else min(max(1 - share, 1e-3), 1 - 1e-3)


def _with_column(table: pa.Table, name: str, values: np.ndarray, present: np.ndarray) -> pa.Table:
    """Add or replace a column that is null in rows that are not present."""
    full = np.zeros(len(present), values.dtype)
    full[present] = values
    column = pa.array(full, mask=~present)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)

"""Outliers in two rankings: bad data, and strange galaxies.

``python -m benchmarks.outliers`` measures both on simulated skies and on real images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Subset
from galaxy_da.queries.bad_data import find_bad_data
from galaxy_da.queries.neighbours import nearest_others, whitened
from galaxy_da.queries.rows import places_of_survey, result_table, select

BAD_DATA, STRANGE = "bad data", "strange galaxy"
"""Names of the two rankings."""

_NEIGHBOURS = 10
_SHOWN = 3  # neighbours to compare with
_TINY = 1e-12


def outliers(
    index: StoredIndex, survey: str | None = None, k: int = 50, *, within: Subset | None = None
) -> pa.Table:
    """Rank the strangest galaxies, and apart from them the worst images, with the reasons.

    Parameters
    ----------
    index, within
        As for `galaxy_da.queries.similar.similar`.
    survey : str, optional
        Survey whose objects are ranked; by default the whole index.
    k : int
        Largest number of rows of each ranking.

    Returns
    -------
    pa.Table
        ``ranking`` (`BAD_DATA` or `STRANGE`), ``rank`` (from 1 in each), ``survey``, ``object_id``,
        ``ra``, ``dec`` [deg], ``outlier_score``, ``reason``, ``compare_with`` (keys of the galaxies
        most similar to a strange one, or of the image that bad data differ from), ``flags``.
        Strange galaxies come first, ranked without the bad data that
        `galaxy_da.queries.bad_data.find_bad_data` finds.

    Raises
    ------
    LatentIndexError
        If fewer than two galaxies are left.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    rows = select(index, None, within).rows
    bad = find_bad_data(index, rows)
    own = places_of_survey(index, rows, survey)
    worst = own[bad.found[own]]
    worst = worst[np.argsort(-bad.score[worst], kind="stable")][:k]
    others = [[row] if row >= 0 else [] for row in bad.others[worst].tolist()]
    worst_images = _ranking(
        index, BAD_DATA, rows[worst], bad.score[worst], bad.reasons[worst], others
    )
    found = strangeness(index, rows[own[~bad.found[own]]])
    top = np.argsort(-found.score, kind="stable")[:k]
    similar = found.neighbours[top, :_SHOWN].tolist()
    reasons = _strange_reasons(index, found, top)
    strange = _ranking(index, STRANGE, found.rows[top], found.score[top], reasons, similar)
    return pa.concat_tables([strange, worst_images])


def strange_galaxies(index: StoredIndex, survey: str | None, within: Subset | None) -> Strangeness:
    """Return how strange the galaxies of a survey are, without those whose data are bad."""
    rows = select(index, None, within).rows
    own = places_of_survey(index, rows, survey)
    return strangeness(index, rows[own[~find_bad_data(index, rows).found[own]]])


@dataclass(frozen=True, eq=False)
class Strangeness:
    """Strangeness of n galaxies of an index.

    Attributes
    ----------
    rows : (n,) int array
        Their rows, ascending.
    score : (n,) float64 array
        Mean distance to the most similar galaxies over the median of all such distances.
    neighbours : (n, k) int array
        Rows of the most similar galaxies, the nearest first.
    """

    rows: np.ndarray
    score: np.ndarray
    neighbours: np.ndarray


def strangeness(index: StoredIndex, rows: np.ndarray) -> Strangeness:
    """Measure how far some galaxies are from the most similar ones, in whitened latents.

    The score is that of Angiulli & Pizzuti 2002 (PKDD, LNCS 2431, 15).
    """
    if len(rows) < 2:
        raise LatentIndexError(
            f"galaxies left without bad data: {len(rows)}; ranking strange ones takes at least two"
        )
    distances, places = nearest_others(whitened(index.vectors[rows]), _NEIGHBOURS)
    mean = distances.mean(axis=1, dtype=np.float64)
    return Strangeness(rows, mean / max(float(np.median(mean)), _TINY), rows[places])


def _strange_reasons(index: StoredIndex, found: Strangeness, top: np.ndarray) -> list[str]:
    """Say in words why galaxies are strange."""
    words = [f"{s:.1f} times as far from similar galaxies as usual" for s in found.score[top]]
    if "domain_reason" in index.rows.column_names:
        domain = index.take(found.rows[top], ["domain_reason"])["domain_reason"].to_pylist()
        words = [f"{w}; {d}" if d else w for w, d in zip(words, domain, strict=True)]
    return words


def _ranking(
    index: StoredIndex,
    name: str,
    rows: np.ndarray,
    score: np.ndarray,
    reasons: Sequence[str] | np.ndarray,
    others: Sequence[Sequence[int]],
) -> pa.Table:
    keys = [", ".join(index.key(row) for row in some) or None for some in others]
    table = result_table(
        index,
        rows,
        outlier_score=score,
        reason=pa.array(list(reasons), pa.string()),
        compare_with=pa.array(keys, pa.string()),
    )
    return table.add_column(0, "ranking", pa.array([name] * len(rows), pa.string()))

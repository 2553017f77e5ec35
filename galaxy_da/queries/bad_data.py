"""Bad data: images whose latents describe no galaxy, or not the galaxy of their row.

Three things tell: a quality flag; the domain score, with its reason; and the image of the same
galaxy by another survey, if the two differ more than such images do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxy_da.index.reading import StoredIndex
from galaxy_da.io.samples import Flag
from galaxy_da.models.domain import OUTSIDE, UNLIKE
from galaxy_da.queries.disagreement import find_disagreements

_FLAGS = {
    Flag.BLANK_BAND: "a band is blank",
    Flag.NAN_PIXELS: "pixels are missing or masked",
    Flag.PARTIAL_COVERAGE: "the image does not cover the field",
    Flag.SATURATED: "pixels are saturated",
}
_RARE = 0.1  # largest share of a survey's images that a flag makes bad data


@dataclass(frozen=True, eq=False)
class BadData:
    """Bad data among n rows of an index.

    Attributes
    ----------
    score : (n,) float64 array
        Minus the decimal logarithm of the share of galaxies that look at least as bad;
        `galaxy_da.models.domain.OUTSIDE` or more for bad data, 0 for the other rows.
    reasons : (n,) object array
        Reasons as text, None for the other rows.
    others : (n,) int array
        Row of the image that the image differs from, -1 where there is none.
    """

    score: np.ndarray
    reasons: np.ndarray
    others: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """True for bad data, (n,) bool."""
        return np.asarray(self.score > 0)

    def take(self, places: np.ndarray) -> BadData:
        """Return some of the rows."""
        return BadData(self.score[places], self.reasons[places], self.others[places])


def find_bad_data(index: StoredIndex, rows: np.ndarray) -> BadData:
    """Find the bad data among rows of an index, which ascend.

    A flag that more than a tenth of a survey's images have is a property of the survey and does not
    count. An image that is bad by itself explains its difference from another survey's image, which
    then is no bad data.
    """
    bad = BadData(np.zeros(len(rows)), np.full(len(rows), None), np.full(len(rows), -1))
    for flag, words in _FLAGS.items():
        _add(bad, _flagged(index, rows, flag), np.full(len(rows), OUTSIDE), words)
    if {"domain_score", "domain_reason"} <= set(index.rows.column_names):
        table = index.take(rows, ["domain_score", "domain_reason"])
        score = np.nan_to_num(table["domain_score"].to_numpy().astype(float))
        reasons = np.array(table["domain_reason"].to_pylist(), object)
        for reason in set(reasons[reasons != None]) - {UNLIKE}:  # noqa: E711
            _add(bad, reasons == reason, score, reason)
    explained = bad.found
    pairs = find_disagreements(index, rows)
    told = pairs.score >= OUTSIDE
    told &= ~(explained[pairs.first] | explained[pairs.second])
    for own, other in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        for pair in np.flatnonzero(told & (pairs.score > bad.score[own])):
            place = own[pair]
            bad.score[place], bad.others[place] = pairs.score[pair], rows[other[pair]]
            bad.reasons[place] = (
                f"differs from {index.key(int(rows[other[pair]]))}, {pairs.ratio[pair]:.1f} times "
                "as much as usual"
            )
    return bad


def _add(bad: BadData, where: np.ndarray, score: np.ndarray, words: str) -> None:
    """Add a reason to some rows, and raise their scores."""
    for place in np.flatnonzero(where):
        before = bad.reasons[place]
        bad.reasons[place] = words if before is None else f"{before}; {words}"
    bad.score[where] = np.maximum(bad.score, np.maximum(score, OUTSIDE))[where]


def _flagged(index: StoredIndex, rows: np.ndarray, flag: Flag) -> np.ndarray:
    """Return the rows with a flag that is rare in their survey, (n,) bool."""
    table = index.take(rows, ["survey", "flags"])
    flagged = (table["flags"].to_numpy() & int(flag)) > 0
    names = table["survey"].to_numpy()
    for name in np.unique(names[flagged]):
        own = names == name
        if flagged[own].sum() > max(1, _RARE * own.sum()):
            flagged[own] = False
    return np.asarray(flagged)

"""Count why cutouts could not be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from galaxy_da.extraction.loading import read_batches
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.space import SurveyEncoder

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?|'[^']*\.\w+'|\S+\.(?:fits|npy|jpe?g|png|h5)\S*")
"""Numbers and file names, which differ between rows of the same problem."""

_LONGEST = 500  # characters of a message that are compared
_MOST_KINDS = 5
_MOST_ROWS = 200


def count_problems(problems: Iterable[tuple[str, str]]) -> dict[str, dict[str, str | int]]:
    """Count problems of one kind, the most common first.

    Parameters
    ----------
    problems : iterable of (str, str)
        Row status and message. Messages that differ in numbers or file names are of one kind.

    Returns
    -------
    dict of str to dict
        Message of the first row of each of the five most common kinds, to its ``rows`` and
        ``status``; the rest under ``others``.
    """
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for status, message in problems:
        kind = status, _NUMBER.sub("#", message[:_LONGEST])
        counts[kind] += 1
        examples.setdefault(kind, message)
    common = counts.most_common(_MOST_KINDS)
    result: dict[str, dict[str, str | int]] = {
        examples[kind] or kind[0]: {"rows": n, "status": kind[0]} for kind, n in common
    }
    if others := counts.total() - sum(n for _, n in common):
        result["others"] = {"rows": others, "status": ""}
    return result


def describe_problems(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> str:
    """Return the most common problem in 200 of some rows as a clause, empty without one."""
    wanted = np.zeros(len(sample), bool)
    wanted[np.unique(rows)[:_MOST_ROWS]] = True
    problems = []
    for _, cutouts in read_batches(sample, {encoder.survey.name: encoder.survey}, wanted=wanted):
        usable = [cutout for cutout in cutouts if isinstance(cutout, Cutout)]
        problems += [(c.status, str(c)) for c in cutouts if not isinstance(c, Cutout)]
        problems += [problem for problem in encoder.prepare(usable, frame).problems if problem]
    for message, counted in count_problems(problems).items():
        return (
            f"; {counted['rows']} of {wanted.sum()} cutouts of {sample.path.name} read: {message}"
        )
    return ""

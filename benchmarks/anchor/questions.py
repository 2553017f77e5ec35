"""Labels to predict from latents: Galaxy Zoo votes, classes in words, measured quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.probes.quantities import QUANTITIES, find_quantities
from evaluation.truth import truth_rows
from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample

__all__ = ["Question", "find_questions"]

_VOTES = "_fraction"
_MAJORITY = 0.5
_FEWEST_OF_CLASS = 10
_MOST_CLASSES = 12


@dataclass(frozen=True, kw_only=True)
class Question:
    """A label of galaxies that is predicted from their latents.

    Attributes
    ----------
    name : str
        Name of the question or column.
    classes : (n,) object array, optional
        Class of each galaxy, None where unknown; for a classification.
    targets : (n, k) float array, optional
        Value of each galaxy, NaN where unknown; two components for an angle.
    """

    name: str
    classes: np.ndarray | None = None
    targets: np.ndarray | None = None


def find_questions(
    labels: pa.Table, sample: Sample, rows: np.ndarray, columns: Sequence[str] = ()
) -> tuple[Question, ...]:
    """Find the labels of a table, with their values for some galaxies of a sample.

    Columns ``QUESTION_ANSWER_fraction`` are votes as Galaxy Zoo publishes them (question and answer
    are written with dashes); the class is the answer with more than half of the votes. Text columns
    are classes. Numbers and booleans become quantities by `evaluation.probes.quantities`. Classes
    with fewer than ten galaxies are left out.

    Parameters
    ----------
    labels : pa.Table
        Table that joins as `evaluation.truth.truth_rows` says.
    sample : Sample
        Cutouts of one survey.
    rows : (n,) int array
        Rows of the sample.
    columns : sequence of str
        Columns, or questions of votes, to use; by default all that are recognised.

    Raises
    ------
    TableError
        If labels and sample do not join, or the table has no label.
    """
    found = truth_rows(labels, sample)[rows]
    joined = labels.take(pa.array(found, mask=found < 0))
    votes = _votes(joined)
    words = [name for name in joined.column_names if _is_words(joined, name, bool(columns))]
    numbers = [name for name in columns if name not in votes and name not in words]
    used = [*votes, *words] if not columns else [c for c in columns if c not in numbers]
    questions = [
        Question(name=name, classes=votes[name] if name in votes else _classes(joined, name))
        for name in used
    ]
    if numbers or (not columns and _knows_quantities(joined)):
        questions += [
            Question(
                name=name,
                classes=_answers(
                    ~np.isnan(known.values), np.where(known.values >= 0.5, "yes", "no")
                ),
            )
            if known.quantity.link == "logistic"
            else Question(name=name, targets=known.targets)
            for name, known in find_quantities(joined, numbers).items()
        ]
    if not questions:
        raise TableError(
            "the labels hold no votes (QUESTION_ANSWER_fraction), no classes in words and no known "
            f"quantity; they have {', '.join(labels.column_names)}; name yours with --column"
        )
    return tuple(_without_rare(question) for question in questions)


def _votes(labels: pa.Table) -> dict[str, np.ndarray]:
    """Return the majority's answer to each question of votes, None without a majority."""
    answers: dict[str, dict[str, np.ndarray]] = {}
    for column in labels.column_names:
        question, _, answer = column.removesuffix(_VOTES).partition("_")
        if column.endswith(_VOTES) and answer and pa.types.is_floating(labels[column].type):
            votes = pc.fill_null(labels[column].cast(pa.float64()), 0.0)
            answers.setdefault(question, {})[answer] = np.nan_to_num(np.asarray(votes))
    majority = {}
    for question, votes in answers.items():
        if len(votes) < 2:
            continue
        shares, names = np.stack([*votes.values()]), np.array([*votes], dtype=object)
        majority[question] = _answers(shares.max(0) > _MAJORITY, names[shares.argmax(0)])
    return majority


def _answers(known: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return answers as objects, None where unknown."""
    found = np.full(len(answers), None, dtype=object)
    found[known] = answers[known]
    return found


def _is_words(labels: pa.Table, name: str, named: bool) -> bool:
    """Return True for a text column of few distinct values, unlike ids and free text."""
    kind = labels[name].type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    return named or 2 <= pc.count_distinct(labels[name]).as_py() <= _MOST_CLASSES


def _classes(labels: pa.Table, name: str) -> np.ndarray:
    return np.array(labels[name].to_pylist(), dtype=object)


def _knows_quantities(labels: pa.Table) -> bool:
    return any(set(quantity.columns) <= set(labels.column_names) for quantity in QUANTITIES)


def _without_rare(question: Question) -> Question:
    if question.classes is None:
        return question
    known = [answer for answer in question.classes if answer is not None]
    common = {answer for answer in set(known) if known.count(answer) >= _FEWEST_OF_CLASS}
    kept = [answer if answer in common else None for answer in question.classes]
    return Question(name=question.name, classes=np.array(kept, dtype=object))

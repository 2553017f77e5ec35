"""Fit probes to votes: shares of the answers to a question, as those of Galaxy Zoo.

The concentrations of a Dirichlet distribution are predicted from summaries, by the likelihood of
the votes given their total (Walmsley et al. 2022, MNRAS 509, 3966). Cells of the sky are left out
in turn to measure the errors; the stored probes are fitted to all galaxies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from astropy import units as u
from astropy_healpix import lonlat_to_healpix
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import betabinom
from sklearn.model_selection import GroupKFold

from catalogs.splits import choose_split
from evaluation.probes.errors import FEWEST
from evaluation.probes.labelled_latents import LabelledLatents, encode_labelled, joined
from evaluation.probes.network import fit_networks, votes_loss
from evaluation.targets import encoder_for, known_splits
from evaluation.truth import truth_positions
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import MOST_LOG_CONCENTRATION, Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

_FOLDS = 5
_MOST_VOTES = 10_000.0

Question = Sequence[str]
"""Columns of a table of votes, one an answer."""


def fit_votes(
    space: LatentSpace,
    samples: Sequence[Sample],
    table: pa.Table,
    questions: Sequence[Question],
    own_surveys: Mapping[str, Survey] | None = None,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Fit a probe to each answer of each question, and measure it in every survey.

    Parameters
    ----------
    space : LatentSpace
        Space whose latents the probes take.
    samples : sequence of Sample
        Cutouts of any surveys, adapted or read by definition; all of them are fitted together.
    table : pa.Table
        Numbers of votes, joined by ``object_id`` or ``SURVEY_id``; without ``ra`` and ``dec`` the
        samples' positions are used.
    questions : sequence of sequences of str
        Columns of the answers to each question.
    own_surveys : dict of Survey, optional
        Surveys that neither the space nor the library knows.
    seed : int
        Seed of the networks' first weights.

    Returns
    -------
    tuple of Probe
        In the order of the answers, called ``ANSWER_fraction``.

    Raises
    ------
    TableError
        If table and samples do not join, or a column does not hold votes.
    CatalogError
        If fewer than 50 galaxies have votes, or they lie too close together.
    SurveyError
        If nothing defines the survey of a sample.
    """
    names = [answer_name(column) for question in questions for column in question]
    if not names or len(set(names)) < len(names):
        raise TableError(f"the answers must be different columns but are {', '.join(names)}")
    votes = [read_votes(table, question) for question in questions]
    any_vote = np.any([of_question.sum(1) > 0 for of_question in votes], axis=0)
    parts = []
    for sample in samples:
        survey = space.survey(sample.survey, own_surveys or {})
        encoder = encoder_for(space, sample, survey)
        parts.append(encode_labelled(space, encoder, sample, table, any_vote, symmetric=True))
    latents = joined(parts)
    surveys = np.repeat([part.survey for part in parts], [len(part.rows) for part in parts])
    cells = _cells(space, samples, table, latents.rows)
    probes: list[Probe] = []
    for question, of_question in zip(questions, votes, strict=True):
        use = of_question[latents.rows].sum(1) > 0
        here = LabelledLatents(
            survey=latents.survey, rows=latents.rows[use], vectors=latents.vectors[:, use]
        )
        probes += _fit_question(question, here, of_question, (surveys[use], cells[use]), seed)
    return tuple(probes)


def read_votes(table: pa.Table, question: Question) -> np.ndarray:
    """Return the votes for each answer, (n, answers) float64, zero where one is null.

    Raises
    ------
    TableError
        If there are fewer than two answers, a column is missing or holds no numbers of votes.
    """
    if len(question) < 2:
        raise TableError(f"a question needs two answers or more but has {', '.join(question)}")
    columns = []
    for name in question:
        if name not in table.column_names:
            raise TableError(
                f"the table of votes has no column {name!r}; it has {', '.join(table.column_names)}"
            )
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise TableError(f"column {name!r} must hold numbers of votes but holds {kind}")
        columns.append(np.asarray(pc.fill_null(table[name].cast(pa.float64()), float("nan"))))
    votes = np.stack(columns, axis=1)
    votes[~np.isfinite(votes).all(1)] = 0
    for name, column in zip(question, votes.T, strict=True):
        wrong = column[(column < 0) | (column > _MOST_VOTES) | (column != np.round(column))]
        if len(wrong):
            raise TableError(
                f"column {name!r} must hold numbers of votes, whole and not negative, but holds "
                f"{wrong[0]:g}; turn shares into votes with their total"
            )
        if not column.any():
            raise TableError(f"no galaxy has a vote in column {name!r}; leave it out")
    return votes


def answer_name(column: str) -> str:
    """Return the name of the probe of a column of votes."""
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    return f"{plain}_fraction" if plain[:1].isalpha() else f"votes_{plain}_fraction"


def fit_answers(
    question: Question, vectors: np.ndarray, votes: np.ndarray, seed: int = 0
) -> tuple[Probe, ...]:
    """Fit the probes of a question to (symmetries, n, inputs) summaries and (n, answers) votes."""
    x = vectors.reshape(-1, vectors.shape[-1])
    y = np.tile(votes, (len(vectors), 1))
    centre, spread = x.mean(0), np.maximum(x.std(0), 1e-3)
    start = np.log(constant_concentrations(votes))
    weights, biases = fit_networks((x - centre) / spread, y, "votes", seed, start)
    probes = []
    for number, column in enumerate(question):
        order = [number, *(k for k in range(len(question)) if k != number)]
        others = ", ".join(question[k] for k in order[1:])
        probes.append(
            Probe(
                name=answer_name(column),
                description=f"Expected share of votes for {column}, as against {others}",
                ucd="stat.probability;src.morph",
                link="votes",
                low=0.0,
                high=1.0,
                centre=centre.astype(np.float32),
                spread=spread.astype(np.float32),
                # Copies: files of tensors do not take arrays that share memory.
                weights=(*(w.copy() for w in weights[:-1]), weights[-1][..., order]),
                biases=(*(b.copy() for b in biases[:-1]), biases[-1][..., order]),
            )
        )
    return tuple(probes)


def constant_concentrations(votes: np.ndarray) -> np.ndarray:
    """Return the (answers,) concentrations under which (n, answers) votes are most likely."""
    goal = torch.from_numpy(np.asarray(votes, np.float64))

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        output = torch.tensor(logs, requires_grad=True)
        value = votes_loss(output, goal).mean()
        value.backward()  # type: ignore[no-untyped-call]
        assert output.grad is not None
        return float(value.detach()), output.grad.numpy()

    limit = MOST_LOG_CONCENTRATION
    start = np.log((votes.sum(0) + 0.5) / (votes.sum() + 0.5 * votes.shape[1]))
    bounds = [(-limit, limit)] * votes.shape[1]
    return np.asarray(np.exp(minimize(loss, start, jac=True, bounds=bounds).x))


def _fit_question(
    question: Question,
    latents: LabelledLatents,
    votes: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> list[Probe]:
    """Fit the probes of a question; `groups` are the survey and the cell of each observation."""
    surveys, cells = groups
    known, (n, folds) = votes[latents.rows], (len(latents.rows), len(np.unique(cells)))
    if n < FEWEST or folds < 2:
        raise CatalogError(
            f"{', '.join(question)}: {n} observations in {folds} cells of the sky have votes; "
            f"a fit needs at least {FEWEST} observations in two cells"
        )
    shape = (len(question), n)
    value, error, loss, base = (np.zeros(shape) for _ in range(4))
    splits = GroupKFold(min(_FOLDS, folds), shuffle=True, random_state=seed)
    for inside, out in splits.split(known, groups=cells):
        constant = np.log(constant_concentrations(known[inside]))
        probes = fit_answers(question, latents.vectors[:, inside], known[inside], seed)
        for k, probe in enumerate(probes):
            found = probe.predict(latents.vectors[0, out])
            value[k, out], error[k, out] = found.value, found.error
            logs = probe.log_concentrations(latents.vectors[0, out])
            loss[k, out] = _log_loss(logs, known[out], k)
            order = [k, *(j for j in range(len(question)) if j != k)]
            base[k, out] = _log_loss(constant[None, None, order], known[out], k)
    fitted = fit_answers(question, latents.vectors, known, seed)
    return [
        replace(
            probe,
            errors={
                str(name): _measure(known[rows], k, value[k, rows], error[k, rows])
                | {"log_loss": loss[k, rows].mean(), "base_log_loss": base[k, rows].mean()}
                for name in np.unique(surveys)
                if (rows := surveys == name).sum() >= FEWEST
            },
        )
        for k, probe in enumerate(fitted)
    ]


def _log_loss(logs: np.ndarray, votes: np.ndarray, answer: int) -> np.ndarray:
    """Return the (n,) negative log likelihood of the votes for one answer, given their totals.

    `logs` (networks, n, answers) are logarithms of concentrations, the first that of the answer.
    """
    alpha, beta = np.exp(logs[..., 0]), np.exp(logs[..., 1:]).sum(-1)
    each = betabinom.logpmf(votes[:, answer], votes.sum(1), alpha, beta)
    return np.asarray(np.log(len(each)) - logsumexp(each, axis=0))


def _measure(
    votes: np.ndarray, answer: int, value: np.ndarray, error: np.ndarray
) -> dict[str, float]:
    """Measure expected shares; the pull takes the noise of counting into account."""
    total = votes.sum(1)
    share = votes[:, answer] / total
    residual = value - share
    noise = np.maximum(value * (1 - value) - error**2, 0) / total
    return {
        "n": len(votes),
        "bias": float(residual.mean()),
        "rms": float(np.sqrt(np.square(residual).mean())),
        "r2": float(1 - np.square(residual).mean() / max(share.var(), 1e-30)),
        "pull": float(np.sqrt((residual**2 / np.maximum(error**2 + noise, 1e-9)).mean())),
    }


def _cells(
    space: LatentSpace, samples: Sequence[Sample], table: pa.Table, rows: np.ndarray
) -> np.ndarray:
    """Return the HEALPix cell of each observation."""
    sky = truth_positions(table, samples[0])
    if not {"ra", "dec"} <= set(table.column_names):
        for sample in samples[1:]:
            missing = ~sky.any(0)
            sky[:, missing] = truth_positions(table, sample)[:, missing]
    ra, dec = sky[:, rows]
    if not (np.isfinite(ra) & (np.abs(dec) <= 90)).all():
        raise TableError("galaxies with votes need a position, but some have none")
    order = choose_split(ra, dec, known_splits(space)).order
    return np.asarray(lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**order, order="nested"))

"""Fit probes to a space's anchor and measure them in every survey.

Cells of the sky keep the parts apart: a probe is fitted on the train and validation parts of the
sky (`catalogs.splits`), its regularisation chosen there by cross-validation over cells, and
measured on the test part, which no encoder of the space has seen. What is measured is stored.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from astropy import units as u
from astropy_healpix import lonlat_to_healpix
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import Tensor

from catalogs.splits import sky_split
from evaluation.calibration import brier, expected_calibration_error
from evaluation.evaluate import sample_bands
from evaluation.quantities import Quantity, find_quantities
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.loading import load_images
from galaxy_da.probes import Link, Probe
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey
from galaxy_da.tables import Sample
from galaxy_da.turned import turned_means

__all__ = [
    "Observed",
    "error_rows",
    "fit_probe",
    "fit_probes",
    "measure",
    "observe_truth",
    "read_truth",
    "residuals",
]

_NSIDE = 64  # of the cells of `sky_split`
_FEWEST = 50
_HIDDEN = 128
_STEPS, _BATCH = 3000, 200
_PENALTIES = (0.3, 3.0, 30.0)
_FOLDS = 3
_SPARSE = 4  # every fourth view serves to choose the penalty
_ROWS = 1024
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A survey's latents with the truth row of each.

    Attributes
    ----------
    survey : str
        Which.
    rows : (n,) int array
        Row of the truth table.
    vectors : (views, n, latents) float32 array
        Upright first; the anchor's also turned and mirrored.
    """

    survey: str
    rows: np.ndarray
    vectors: np.ndarray


def fit_probes(
    space: LatentSpace,
    anchor: Sample,
    truth: pa.Table,
    others: Sequence[Sample] = (),
    *,
    columns: Sequence[str] = (),
    unadapted: bool = False,
    own: Mapping[str, Survey] | None = None,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Fit a probe to each quantity of a truth table and measure it in every survey.

    Parameters
    ----------
    space : LatentSpace
        Its anchor's latents are what probes read.
    anchor : Sample
        The anchor's cutouts.
    truth : pa.Table
        Truth or labels, joined by ``object_id`` or, as in a simulated sky, ``SURVEY_id``; with
        ``ra`` and ``dec`` of its own or else the anchor's.
    others : sequence of Sample
        Other surveys' cutouts of galaxies in `truth`, to measure on.
    columns : sequence of str
        Columns of `truth` to fit as they are; by default what `evaluation.quantities` knows.
    unadapted : bool
        Measure surveys without an encoder through the anchor's.
    own : dict of str to Survey, optional
        Definitions of surveys that neither the space nor the library knows.
    seed : int
        Of the networks' first weights.

    Returns
    -------
    tuple of Probe

    Raises
    ------
    TableError
        If truth and sample do not join, or nothing in the truth can be fitted.
    CatalogError
        If fewer than 50 galaxies fall on either side of the split of the sky.
    SpaceError
        If a survey has no encoder and `unadapted` is false.
    """
    if anchor.survey != space.anchor:
        raise TableError(
            f"{anchor.path}: holds {anchor.survey} but probes are fitted on the anchor of the "
            f"space, {space.anchor}"
        )
    names = [sample.survey for sample in (anchor, *others)]
    if len(set(names)) < len(names):
        raise TableError(f"samples must be of different surveys but are of {', '.join(names)}")
    quantities = find_quantities(truth, columns)
    seen = [observe_truth(space, anchor, truth, symmetric=True)]
    seen += [observe_truth(space, sample, truth, unadapted=unadapted, own=own) for sample in others]
    sky = _positions(truth, anchor, seen[0].rows)
    part = sky_split(*sky, nside=_NSIDE)
    cell = np.asarray(lonlat_to_healpix(*(sky * u.deg), _NSIDE, order="nested"))
    fitted = []
    for quantity, values, targets in quantities.values():
        probe = fit_probe(quantity, seen[0], targets, part != "test", cell, seed)
        errors = {}
        for survey in seen:
            some = survey.rows[(part[survey.rows] == "test") & np.isfinite(values[survey.rows])]
            if len(some) < _FEWEST:
                continue
            here = np.isin(survey.rows, some)
            value = probe.apply(survey.vectors[0][here])
            errors[survey.survey] = measure(quantity.link, values[survey.rows[here]], value)
        fitted.append(replace(probe, errors=errors))
    return tuple(fitted)


def observe_truth(
    space: LatentSpace,
    sample: Sample,
    truth: pa.Table,
    *,
    symmetric: bool = False,
    unadapted: bool = False,
    own: Mapping[str, Survey] | None = None,
) -> Observed:
    """Encode a sample's galaxies that a truth table knows.

    Parameters
    ----------
    space, sample, truth, unadapted, own
        As for `fit_probes`.
    symmetric : bool
        Also encode the seven other turned and mirrored views of each.
    """
    survey = space.survey(sample.survey, own)
    if survey.name in space.surveys or not unadapted:
        encoder = space.encoder(survey.name)
    else:
        encoder = space.unadapted(survey, sample_bands(sample, survey))
    rows = _truth_rows(sample, truth)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise TableError(
            f"{sample.path}: none of its {len(sample)} ids is in the truth table's column "
            f"{_key(sample.survey, truth)}"
        )
    vectors, good = [], []
    for start in range(0, len(known), _ROWS):
        images, ok = load_images(sample, known[start : start + _ROWS], encoder, space.frame)
        vectors.append(_encode(space, encoder, images[torch.from_numpy(ok)], symmetric))
        good.append(ok)
    return Observed(
        survey=survey.name,
        rows=rows[known][np.concatenate(good)],
        vectors=np.concatenate(vectors, axis=1),
    )


def fit_probe(
    quantity: Quantity,
    seen: Observed,
    targets: np.ndarray,
    use: np.ndarray,
    cell: np.ndarray,
    seed: int = 0,
) -> Probe:
    """Fit one probe.

    Parameters
    ----------
    quantity : Quantity
        What it gives.
    seen : Observed
        The anchor's latents; all views are fitted, an angle's targets turned with them.
    targets : (truth rows, k) float array
        What the network is to give, NaN where unknown.
    use : (truth rows,) bool array
        Galaxies that may be fitted.
    cell : (truth rows,) int array
        Part of the sky; cross-validation keeps each whole.
    seed : int
        Of the network's first weights.

    Raises
    ------
    CatalogError
        If fewer than 50 galaxies remain, or a probability's are all alike.
    """
    fine = use[seen.rows] & np.isfinite(targets[seen.rows]).all(1)
    if fine.sum() < _FEWEST or np.ptp(targets[seen.rows[fine]]) == 0:
        raise CatalogError(
            f"{quantity.name}: {int(fine.sum())} galaxies of the anchor outside the test part of "
            f"the sky have a value, at least {_FEWEST} that differ are needed"
        )
    rows, views = seen.rows[fine], seen.vectors[:, fine]
    centre, spread = views[0].mean(0), np.maximum(views[0].std(0), 1e-6)
    x = (views - centre) / spread
    y = np.stack([_turned(targets[rows], quantity.link, view) for view in range(len(views))])
    network = _Network(quantity.link, seed)
    penalty = network.choose(x, y, cell[rows])
    weights, biases = network.fit(x, y, penalty)
    return Probe(
        name=quantity.name,
        description=quantity.description,
        unit=quantity.unit,
        ucd=quantity.ucd,
        link=quantity.link,
        low=quantity.low,
        high=quantity.high,
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        weights=tuple(weight.astype(np.float32) for weight in weights),
        biases=tuple(bias.astype(np.float32) for bias in biases),
    )


def residuals(link: Link, truth: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Value less truth: of logarithms for ``exp``, within 90 degrees for ``angle``."""
    if link == "exp":
        return np.asarray(np.log(value / truth))
    if link == "angle":
        return np.asarray((value - truth + 90) % 180 - 90)
    return np.asarray(value - truth)


def measure(link: Link, truth: np.ndarray, value: np.ndarray) -> dict[str, float]:
    """Measure a probe, or any other estimate, as `galaxy_da.probes.Probe.errors` holds it.

    Parameters
    ----------
    link : str
        The quantity's.
    truth, value : (n,) float array
        Finite.
    """
    n: dict[str, float] = {"n": len(truth)}
    if link == "logistic":
        yes = truth >= 0.5
        base = np.full(len(truth), yes.mean())
        return n | {
            "log_loss": float(log_loss(yes, value, labels=[False, True])),
            "base_log_loss": float(log_loss(yes, base, labels=[False, True])),
            "brier": brier(value, yes),
            "ece": expected_calibration_error(value, yes),
            **({"auc": float(roc_auc_score(yes, value))} if 0 < yes.sum() < len(yes) else {}),
        }
    off = residuals(link, truth, value)
    bias = float(np.median(off))
    spread = np.log(truth) if link == "exp" else truth
    # Angles have no variance to explain: compare with the even spread of random ones.
    variance = 180**2 / 12 if link == "angle" else float(spread.var())
    return n | {
        "bias": bias,
        "scatter": float(_MAD_TO_SIGMA * np.median(np.abs(off - bias))),
        "rms": float(np.sqrt(np.square(off).mean())),
        "r2": float(1 - np.square(off).mean() / max(variance, 1e-30)),
    }


def error_rows(probes: Sequence[Probe]) -> pa.Table:
    """Return one row per probe and survey: its measured errors, null where they do not apply."""
    names = (
        "n",
        "bias",
        "scatter",
        "rms",
        "r2",
        "log_loss",
        "base_log_loss",
        "brier",
        "ece",
        "auc",
    )
    return pa.table(
        {
            "probe": [probe.name for probe in probes for _ in probe.errors],
            "unit": [
                "ln" if probe.link == "exp" else probe.unit
                for probe in probes
                for _ in probe.errors
            ],
            "survey": [survey for probe in probes for survey in probe.errors],
            **{
                name: pa.array(
                    [e.get(name) for p in probes for e in p.errors.values()], pa.float64()
                )
                for name in names
            },
        }
    )


def read_truth(path: str | os.PathLike[str]) -> pa.Table:
    """Read a Parquet table of truth or labels.

    Raises
    ------
    TableError
        If it is missing or no Parquet file.
    """
    try:
        return pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise TableError(f"{path}: is not a readable Parquet table ({error})") from error


class _Network:
    """The network behind a probe, fitted by scikit-learn and taken out of it."""

    def __init__(self, link: Link, seed: int) -> None:
        self.link, self.seed = link, seed

    def choose(self, x: np.ndarray, y: np.ndarray, cell: np.ndarray) -> float:
        """Return the weight penalty with the least loss on left-out cells."""
        folds = min(_FOLDS, len(np.unique(cell)))
        if folds < 2:
            raise CatalogError(
                f"all galaxies lie in one cell of the sky (nside {_NSIDE}); cross-validation needs "
                "a larger area"
            )
        losses = np.zeros(len(_PENALTIES))
        for fitted, left in GroupKFold(folds).split(x[0], groups=cell):
            for i, penalty in enumerate(_PENALTIES):
                layers = self.fit(x[::_SPARSE, fitted], y[::_SPARSE, fitted], penalty)
                losses[i] += self._loss(_forward(x[0][left], *layers), y[0][left]) * len(left)
        return _PENALTIES[int(losses.argmin())]

    def fit(
        self, x: np.ndarray, y: np.ndarray, penalty: float
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return weights and biases fitted to all views, (views, n, latents) and (views, n, k)."""
        flat, goal = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        settings: dict[str, Any] = {
            "hidden_layer_sizes": (_HIDDEN,),
            "activation": "tanh",
            "alpha": penalty,
            "batch_size": min(_BATCH, len(flat)),
            "max_iter": -(-_STEPS * _BATCH // len(flat)),
            "n_iter_no_change": _STEPS,  # so that only the number of steps stops it
            "random_state": self.seed,
        }
        if self.link == "logistic":
            return _fit_votes(MLPClassifier(**settings), flat, goal[:, 0])
        middle, scale = goal.mean(0), goal.std()
        standard = (goal - middle) / scale
        model = MLPRegressor(**settings)
        _run(model, flat, standard if standard.shape[1] > 1 else standard[:, 0])
        *weights, last = model.coefs_
        *biases, offset = model.intercepts_
        return [*weights, last * scale], [*biases, offset * scale + middle]

    def _loss(self, output: np.ndarray, goal: np.ndarray) -> float:
        if self.link == "logistic":
            return float((np.logaddexp(0, output) - goal * output).mean())
        return float(np.square(output - goal).mean())


def _fit_votes(
    model: MLPClassifier, x: np.ndarray, share: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Fit to shares of votes: each galaxy once as a yes and once as a no, by weight."""
    if np.isin(share, (0, 1)).all():
        _run(model, x, share > 0.5)
    else:
        answers = np.repeat([True, False], len(x))
        _run(model, np.concatenate([x, x]), answers, np.concatenate([share, 1 - share]))
    return list(model.coefs_), list(model.intercepts_)


def _run(model: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> None:
    """Fit; to stop after a set number of epochs is meant, not a failure to converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, sample_weight=weight)


def _forward(x: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]) -> np.ndarray:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = np.tanh(x @ weight + bias)
    return np.asarray(x @ weights[-1] + biases[-1])


def _encode(
    space: LatentSpace, encoder: SurveyEncoder, images: Tensor, symmetric: bool
) -> np.ndarray:
    if symmetric:
        return turned_means(space, encoder, images).numpy()
    return space.encode(images, encoder).mean.numpy()[None]


def _turned(targets: np.ndarray, link: Link, view: int) -> np.ndarray:
    """Targets as they are in one of `turned_means`: only an angle's components change."""
    if link != "angle":
        return targets
    mirrored, quarters = divmod(view, 4)
    signs = np.array([1.0, -1.0 if mirrored else 1.0]) * (-1.0) ** quarters
    return targets * signs


def _key(survey: str, truth: pa.Table) -> str:
    for name in ("object_id", f"{survey}_id"):
        if name in truth.column_names:
            return name
    raise TableError(
        f"the truth table needs a column object_id or {survey}_id to be joined with the sample; "
        f"it has {', '.join(truth.column_names)}"
    )


def _truth_rows(sample: Sample, truth: pa.Table) -> np.ndarray:
    """Row of the truth table for each row of a sample, -1 where it has none."""
    known = truth[_key(sample.survey, truth)].cast(pa.string()).combine_chunks()
    ids = sample.catalog["object_id"].cast(pa.string())
    return np.asarray(pc.fill_null(pc.index_in(ids, value_set=known, skip_nulls=True), -1))


def _positions(truth: pa.Table, anchor: Sample, rows: np.ndarray) -> np.ndarray:
    """(2, truth rows) ra and dec [deg]; where the truth has none, the anchor's, else zero."""
    if {"ra", "dec"} <= set(truth.column_names):
        return np.stack([truth[name].to_numpy() for name in ("ra", "dec")])
    sky = np.zeros((2, truth.num_rows))
    ids = _truth_rows(anchor, truth)
    for axis, name in enumerate(("ra", "dec")):
        sky[axis, ids[ids >= 0]] = anchor.catalog[name].to_numpy()[ids >= 0]
    return sky

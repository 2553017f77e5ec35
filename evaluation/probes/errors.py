"""Errors of probes, survey by survey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from astropy.stats import mad_std
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from evaluation.calibration import expected_calibration_error
from evaluation.probes.labelled_latents import LabelledLatents
from galaxy_da.models.probes import Link, Predicted, Probe

FEWEST = 50
"""Smallest number of galaxies for a fit or a measurement."""

_QUANTITY_ERRORS = ("bias", "scatter", "rms", "r2", "pull")
_PROBABILITY_ERRORS = ("log_loss", "base_log_loss", "brier", "ece", "auc")


def measure_probes(
    probes: Sequence[Probe],
    latents: Sequence[LabelledLatents],
    values: Mapping[str, np.ndarray],
    use: np.ndarray,
) -> tuple[Probe, ...]:
    """Measure probes in every survey with enough galaxies, and store the errors in the probes.

    `values` are the truth of each probe by row of the truth table, NaN where unknown; `use` marks
    the galaxies that no probe was fitted to. Errors of other surveys are kept.
    """
    measured = []
    for probe in probes:
        errors, truth = dict(probe.errors), values[probe.name]
        for survey in latents:
            here = use[survey.rows] & np.isfinite(truth[survey.rows])
            if here.sum() >= FEWEST:
                found = probe.predict(survey.vectors[0][here])
                known = truth[survey.rows[here]]
                errors[survey.survey] = measure(probe.link, known, found.value) | pulls(
                    probe.link, known, found
                )
        measured.append(replace(probe, errors=errors))
    return tuple(measured)


def residuals(link: Link, truth: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return value minus truth; of logarithms for ``exp``, within 90 degrees for ``angle``."""
    if link == "exp":
        return np.asarray(np.log(value / truth))
    if link == "angle":
        return np.asarray((value - truth + 90) % 180 - 90)
    return np.asarray(value - truth)


def pulls(link: Link, truth: np.ndarray, found: Predicted) -> dict[str, float]:
    """Return the robust width of residuals over stated errors as ``pull``, 1 if they are right."""
    if link == "logistic":
        return {}
    error = found.error / found.value if link == "exp" else found.error
    pull = residuals(link, truth, found.value) / np.maximum(error, 1e-9)
    return {"pull": float(mad_std(pull))}


def measure(link: Link, truth: np.ndarray, value: np.ndarray) -> dict[str, float]:
    """Measure finite (n,) estimates, with the keys of `galaxy_da.models.probes.Probe.errors`."""
    n: dict[str, float] = {"n": len(truth)}
    if link == "logistic":
        yes = truth >= 0.5
        base = np.full(len(truth), yes.mean())
        return n | {
            "log_loss": float(log_loss(yes, value, labels=[False, True])),
            "base_log_loss": float(log_loss(yes, base, labels=[False, True])),
            "brier": float(brier_score_loss(yes, value)),
            "ece": expected_calibration_error(value, yes),
            **({"auc": float(roc_auc_score(yes, value))} if 0 < yes.sum() < len(yes) else {}),
        }
    error = residuals(link, truth, value)
    bias = float(np.median(error))
    spread = np.log(truth) if link == "exp" else truth
    # The variance of an angle is undefined: compare with angles drawn at random.
    variance = 180**2 / 12 if link == "angle" else float(spread.var())
    return n | {
        "bias": bias,
        "scatter": float(mad_std(error)),
        "rms": float(np.sqrt(np.square(error).mean())),
        "r2": float(1 - np.square(error).mean() / max(variance, 1e-30)),
    }


def error_rows(probes: Sequence[Probe]) -> pa.Table:
    """Return a table of errors, one row per probe and survey, null where one does not apply."""
    names = ("n", *_QUANTITY_ERRORS, *_PROBABILITY_ERRORS)
    rows = [(probe, survey) for probe in probes for survey in probe.errors]
    return pa.table(
        {
            "probe": [probe.name for probe, _ in rows],
            "unit": ["ln" if probe.link == "exp" else probe.unit for probe, _ in rows],
            "survey": [survey for _, survey in rows],
            **{
                name: pa.array([p.errors[s].get(name) for p, s in rows], pa.float64())
                for name in names
            },
        }
    )

"""Probes: physical columns with errors, such as size, shape and colours.

A probe is an ensemble of small networks that predict a distribution. Their input is the summary of
a cutout (`galaxy_da.extraction.summary`): latents, their variances, the instrument, and what was
measured on the image. One probe serves all surveys. It stores its measured errors by survey.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import safetensors.numpy
from scipy.special import expit, i0e, i1e, logsumexp, softmax

from galaxy_da.errors import SpaceError
from galaxy_da.models.layers import layer_tensors, read_layers, standardise

COLUMN_PREFIX, ERROR_SUFFIX = "morph_", "_err"
"""Prefix of the columns of probes, which avoids clashes with a catalogue's own columns, and suffix
of their errors."""

NOTE_COLUMN = "morph_note"
"""Column of the reasons for missing values."""

Link = Literal["identity", "exp", "logistic", "angle", "votes"]
"""Function from the network's output to the quantity: identity, exponential, logistic, the position
angle from two outputs proportional to the cosine and sine of twice the angle, or the share of votes
for one answer from the concentrations of all answers."""

OUTPUTS: Mapping[str, int] = {"identity": 2, "exp": 2, "logistic": 1, "angle": 2, "votes": 2}
"""Outputs of a network: mean and logarithm of the standard deviation, the logit of a probability,
the two natural parameters of a von Mises distribution of twice the angle, or the logarithms of two
or more concentrations of a Dirichlet distribution, the first that of the answer."""

MOST_LOG_CONCENTRATION = 8.0
"""Largest absolute logarithm of a concentration."""

_CLIP = 6.0  # standard deviations of an input beyond which a probe does not extrapolate
_ROWS = 16384
_LEAST_LOG_SIGMA, _MOST_LOG_SIGMA = -6.0, 6.0


@dataclass(frozen=True)
class Predicted:
    """Predictions of n rows.

    `value` and `error` are (n,) float32 arrays; the error is one standard deviation, of a
    probability that of the networks of the ensemble. `informative`, (n,) bool, is False where the
    error exceeds the spread of the population, so that the value says nothing.
    """

    value: np.ndarray
    error: np.ndarray
    informative: np.ndarray

    def __getitem__(self, rows: Sequence[int]) -> Predicted:
        return Predicted(self.value[rows], self.error[rows], self.informative[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """One quantity as a function of the summary of a cutout.

    Each network is ``W2 tanh(W1 x + b1) + b2``, for any number of layers, of the standardised
    summary x. The result is the mixture of the networks' distributions.

    Attributes
    ----------
    name : str
        Lower case; the column is called `COLUMN_PREFIX` and this.
    description : str
        Definition of the quantity and of the truth that it was fitted on.
    unit : str
        Unit as the FITS standard spells it; empty for a pure number.
    ucd : str
        IVOA UCD1+.
    link : {"identity", "exp", "logistic", "angle", "votes"}
        See `Link`.
    low, high : float, optional
        Range to which values are clipped.
    population : float, optional
        Standard deviation of the quantity over the galaxies of the fit, of its logarithm for the
        link ``exp``. Values of a larger error are not informative.
    centre, spread : (inputs,) float32 array
        Mean and standard deviation of the summaries.
    weights : tuple of (networks, inputs, outputs) float32 array
        Weights of each layer.
    biases : tuple of (networks, outputs) float32 array
        Biases of each layer.
    magnitudes, factors : (k,) float32 array
        Factor of the errors by measured magnitude, the first number of a summary; interpolated.
    errors : dict of str to dict of float
        By survey, measured on galaxies outside the fit: ``n``, and for a quantity ``bias`` (median
        residual), ``scatter`` (1.4826 times the median absolute deviation), ``rms``, ``r2`` and
        ``pull`` (the same scatter of residuals over stated errors), residuals being value minus
        truth, ``ln(value / truth)`` for the link ``exp``; for a probability ``log_loss``,
        ``base_log_loss`` (of the constant best guess), ``brier``, ``ece`` and ``auc``; for a share
        of votes as for a quantity, the pull with the noise of counting, and both log losses of the
        numbers of votes.

    Raises
    ------
    ValueError
        If the name or the link is invalid, or shapes do not fit together.
    """

    name: str
    description: str
    unit: str = ""
    ucd: str
    link: Link = "identity"
    low: float | None = None
    high: float | None = None
    population: float | None = None
    centre: np.ndarray
    spread: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    magnitudes: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))
    factors: np.ndarray = field(default_factory=lambda: np.ones(1, np.float32))
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"a probe's name must be lower-case letters, digits and _ but is {self.name!r}"
            )
        if self.link not in get_args(Link):
            raise ValueError(f"{self.name}: link is one of {get_args(Link)}, not {self.link!r}")
        sizes = [len(self.centre), *(bias.shape[-1] for bias in self.biases)]
        shapes = [weight.shape for weight in self.weights]
        expected = [(len(self.biases[0]), *pair) for pair in pairwise(sizes)]
        outputs = OUTPUTS[self.link]
        enough = sizes[-1] >= outputs if self.link == "votes" else sizes[-1] == outputs
        if shapes != expected or not enough:
            raise ValueError(f"{self.name}: layers {shapes} do not fit biases of sizes {sizes[1:]}")
        if len(self.magnitudes) != len(self.factors):
            raise ValueError(
                f"{self.name}: has {len(self.factors)} factors of errors for "
                f"{len(self.magnitudes)} magnitudes"
            )

    @property
    def column(self) -> str:
        """Name of its column."""
        return COLUMN_PREFIX + self.name

    @property
    def kind(self) -> Literal["regression", "probability"]:
        """Kind of column: a quantity, or the probability of a class."""
        return "probability" if self.link == "logistic" else "regression"

    @property
    def hash(self) -> str:
        """Identity of the function; measured errors are left out."""
        record = json.dumps({**self.record(), "errors": None}, sort_keys=True).encode()
        return hashlib.sha256(record + safetensors.numpy.save(self.tensors())).hexdigest()

    def predict(self, summaries: np.ndarray) -> Predicted:
        """Return the quantity and its error for (n, inputs) summaries."""
        x = self._standardised(summaries)
        parts = [self._linked(self._outputs(x[i : i + _ROWS])) for i in range(0, len(x), _ROWS)]
        value, sigma = np.concatenate([np.empty((2, 0), np.float32), *parts], 1)
        magnitude = np.asarray(summaries, np.float32)[:, 0]
        sigma = sigma * np.interp(magnitude, self.magnitudes, self.factors).astype(np.float32)
        informative = np.isfinite(value) & np.isfinite(sigma)
        if self.population is not None:
            informative &= sigma <= self.population
        if self.link == "exp":
            value = np.exp(value)
            sigma = sigma * value
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return Predicted(value.clip(low, high), sigma, informative)

    def log_concentrations(self, summaries: np.ndarray) -> np.ndarray:
        """Return the outputs of a probe of ``votes``, (networks, n, answers) float64."""
        return _log_concentrations(self._outputs(self._standardised(summaries)))

    def without_errors(self, survey: str) -> Probe:
        """Return a copy without the errors of one survey, whose encoder has changed."""
        kept = {name: error for name, error in self.errors.items() if name != survey}
        return replace(self, errors=kept)

    def fields(self) -> tuple[pa.Field, pa.Field]:
        """Return the Arrow fields of value and error, described in their metadata."""
        metadata = {
            "unit": self.unit,
            "ucd": self.ucd,
            "description": self.description,
            "errors": json.dumps(_plain(self.errors)),
        }
        of_networks = ", of the networks that predict it" if self.kind == "probability" else ""
        error = {
            "unit": self.unit,
            "ucd": "stat.error;" + self.ucd.split(";")[0],
            "description": f"Standard deviation of {self.column}{of_networks}",
        }
        return (
            pa.field(self.column, pa.float32(), metadata=metadata),
            pa.field(self.column + ERROR_SUFFIX, pa.float32(), metadata=error),
        )

    def record(self) -> dict[str, Any]:
        """Return all but the arrays, as plain values for JSON."""
        names = ("name", "description", "unit", "ucd", "link", "low", "high", "population")
        return {name: getattr(self, name) for name in names} | {"errors": _plain(self.errors)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return layer_tensors(arrays, self.weights, self.biases)

    def _standardised(self, summaries: np.ndarray) -> np.ndarray:
        return standardise(summaries, self.centre, self.spread, _CLIP)

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        """(networks, n, outputs) of (n, inputs) standardised summaries."""
        x = x[None]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias[:, None])
        return np.asarray(x @ self.weights[-1] + self.biases[-1][:, None])

    def _linked(self, outputs: np.ndarray) -> np.ndarray:
        """(2, n) value, of its logarithm for ``exp``, and standard deviation."""
        if self.link == "logistic":
            probability = expit(outputs[..., 0])
            return np.stack([probability.mean(0), probability.std(0)])
        if self.link == "votes":
            logs = _log_concentrations(outputs)
            share = softmax(logs, axis=-1)[..., 0]
            variance = share * (1 - share) / (1 + np.exp(logsumexp(logs, axis=-1)))
            found = np.stack([share.mean(0), np.sqrt(variance.mean(0) + share.var(0))])
            return found.astype(np.float32)
        if self.link == "angle":
            cosine, sine = outputs.mean(0).T
            doubled = np.arctan2(sine, cosine)
            kappa = np.hypot(cosine, sine)
            length = np.maximum(i1e(kappa) / i0e(kappa), 1e-12)
            sigma = np.degrees(np.sqrt(-2 * np.log(length)) / 2)
            return np.stack([np.degrees(doubled / 2) % 180, sigma])
        mean = outputs[..., 0]
        log_sigma = outputs[..., 1].clip(_LEAST_LOG_SIGMA, _MOST_LOG_SIGMA)
        return np.stack([mean.mean(0), np.sqrt(np.exp(2 * log_sigma).mean(0) + mean.var(0))])


_ARRAYS = ("centre", "spread", "magnitudes", "factors")


def probe_names(probes: Sequence[Probe]) -> list[str]:
    """Return the names of the columns that probes write."""
    names = [name for p in probes for name in (p.column, p.column + ERROR_SUFFIX)]
    return [*names, NOTE_COLUMN] if probes else []


@dataclass(frozen=True)
class Withheld:
    """Rows, (n,) bool, whose columns are null for a reason; by default all columns of probes."""

    reason: str
    rows: np.ndarray
    names: tuple[str, ...] | None = None

    def of(self, name: str) -> np.ndarray:
        """Return the rows, (n,) bool, where the column of a probe is null."""
        own = self.names is None or name in self.names
        return self.rows if own else np.zeros_like(self.rows)


def predict_all(probes: Sequence[Probe], summaries: np.ndarray) -> dict[str, Predicted]:
    """Return the predictions of each probe for (n, inputs) summaries, by its name."""
    return {probe.name: probe.predict(summaries) for probe in probes}


def probe_columns(
    probes: Sequence[Probe],
    predicted: Mapping[str, Predicted],
    good: np.ndarray,
    withheld: Sequence[Withheld] = (),
) -> pa.Table:
    """Return the columns of `predict_all` with their errors, and the reasons for missing values.

    Rows that are not `good`, (n,) bool, become null without a reason. Values become null with a
    reason if they are `withheld`, or if their error exceeds the spread of the population.
    """
    columns: list[pa.Array] = []
    doubts = [dict[str, list[str]]() for _ in good]
    for probe in probes:
        found = predicted[probe.name]
        uncertain = Withheld("too uncertain", ~found.informative, (probe.name,))
        missing = ~good
        for doubt in (*withheld, uncertain):
            new = doubt.of(probe.name) & ~missing
            for row in np.flatnonzero(new):
                names = doubts[row].setdefault(doubt.reason, [])
                names += [] if doubt.names is None else [probe.name]
            missing = missing | new
        columns += [pa.array(v, mask=missing) for v in (found.value, found.error)]
    fields = [item for probe in probes for item in probe.fields()]
    if probes:
        columns.append(pa.array([_note(doubt) for doubt in doubts], pa.string()))
        note = {"ucd": "meta.note", "description": "Reason for missing physical columns"}
        fields.append(pa.field(NOTE_COLUMN, pa.string(), metadata=note))
    return pa.table(columns, schema=pa.schema(fields))


def _note(doubts: Mapping[str, Sequence[str]]) -> str | None:
    """Return reasons with the names of the columns, unless all of them are meant."""
    words = [f"{why}: {', '.join(names)}" if names else why for why, names in doubts.items()]
    return "; ".join(words) or None


def probe_tensors(probes: Sequence[Probe]) -> dict[str, np.ndarray]:
    """Return the arrays of several probes, named ``PROBE.ARRAY``."""
    return {f"{p.name}.{key}": value for p in probes for key, value in p.tensors().items()}


def read_probes(
    records: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]
) -> tuple[Probe, ...]:
    """Build probes from the results of `Probe.record` and `probe_tensors`."""
    return tuple(_read_probe(dict(record), tensors) for record in records)


def _read_probe(record: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Probe:
    name = record.get("name")
    try:
        arrays: dict[str, Any] = {key: tensors[f"{name}.{key}"] for key in _ARRAYS}
        weights, biases = read_layers(tensors, f"{name}.")
        return Probe(**record, **arrays, weights=weights, biases=biases)
    except (KeyError, TypeError, ValueError) as error:
        raise SpaceError(f"probe {name!r} is damaged ({error}); fit it again") from error


def _log_concentrations(outputs: np.ndarray) -> np.ndarray:
    limit = MOST_LOG_CONCENTRATION
    return outputs.astype(np.float64).clip(-limit, limit)


def _plain(errors: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {survey: dict(error) for survey, error in errors.items()}

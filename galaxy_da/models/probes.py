"""Probes: physical columns predicted from the latents, such as size, shape and colours.

A probe is a small network, fitted on the anchor's latents and stored with the space. Every survey
maps into the same latents, so that one probe serves all of them. It stores its measured errors,
survey by survey.
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
from scipy.special import expit

from galaxy_da.errors import SpaceError

__all__ = ["COLUMN_PREFIX", "Link", "Probe", "probe_columns", "probe_tensors", "read_probes"]

COLUMN_PREFIX = "morph_"
"""Prefix of the columns of probes, which avoids clashes with a catalogue's own columns."""

Link = Literal["identity", "exp", "logistic", "angle"]
"""Function from the network's output to the quantity: identity, exponential, logistic, or the
position angle from two outputs proportional to the cosine and sine of twice the angle."""

_CLIP = 6.0  # standard deviations of a latent beyond which a probe does not extrapolate
_ROWS = 16384


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """One quantity as a function of the latents.

    The function is ``link(W2 tanh(W1 z + b1) + b2)``, for any number of layers, of the latents
    standardised by their spread over the anchor's galaxies.

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
    link : {"identity", "exp", "logistic", "angle"}
        See `Link`.
    low, high : float, optional
        Range to which values are clipped.
    centre, spread : (latents,) float32 array
        Mean and standard deviation of the anchor's latents.
    weights : tuple of (inputs, outputs) float32 array
        Weights of each layer.
    biases : tuple of (outputs,) float32 array
        Biases of each layer.
    errors : dict of str to dict of float
        By survey, measured on galaxies outside the fit: ``n``, and for a quantity ``bias`` (median
        residual), ``scatter`` (1.4826 times the median absolute deviation), ``rms`` and ``r2``,
        residuals being value minus truth, ``ln(value / truth)`` for the link ``exp``; for a
        probability ``log_loss``, ``base_log_loss`` (of the constant best guess), ``brier``,
        ``ece`` and ``auc``.

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
    centre: np.ndarray
    spread: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"a probe's name must be lower-case letters, digits and _ but is {self.name!r}"
            )
        if self.link not in get_args(Link):
            raise ValueError(f"{self.name}: link is one of {get_args(Link)}, not {self.link!r}")
        sizes = [len(self.centre), *(len(bias) for bias in self.biases)]
        expected = list(pairwise(sizes))
        shapes = [weight.shape for weight in self.weights]
        if shapes != expected or sizes[-1] != (2 if self.link == "angle" else 1):
            raise ValueError(f"{self.name}: layers {shapes} do not fit biases of sizes {sizes[1:]}")

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

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Return the quantity of (n, latents) vectors as an (n,) float32 array."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != len(self.centre):
            raise ValueError(
                f"{self.name}: vectors must have shape (n, {len(self.centre)}) but have "
                f"{vectors.shape}; are they of this space?"
            )
        parts = [
            self._link(self._network(vectors[start : start + _ROWS]))
            for start in range(0, len(vectors), _ROWS)
        ]
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.asarray(np.clip(np.concatenate([np.empty(0, np.float32), *parts]), low, high))

    def without_errors(self, survey: str) -> Probe:
        """Return a copy without the errors of one survey, whose encoder has changed."""
        kept = {name: error for name, error in self.errors.items() if name != survey}
        return replace(self, errors=kept)

    def field(self) -> pa.Field:
        """Return the column's Arrow field; unit, UCD, description and errors are its metadata."""
        metadata = {
            "unit": self.unit,
            "ucd": self.ucd,
            "description": self.description,
            "errors": json.dumps(_plain(self.errors)),
        }
        return pa.field(self.column, pa.float32(), metadata=metadata)

    def record(self) -> dict[str, Any]:
        """Return all but the arrays, as plain values for JSON."""
        names = ("name", "description", "unit", "ucd", "link", "low", "high")
        return {name: getattr(self, name) for name in names} | {"errors": _plain(self.errors)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        layers = {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        layers |= {f"bias_{i}": bias for i, bias in enumerate(self.biases)}
        arrays = {"centre": self.centre, "spread": self.spread, **layers}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}

    def _network(self, vectors: np.ndarray) -> np.ndarray:
        x = ((vectors - self.centre) / self.spread).clip(-_CLIP, _CLIP)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        return np.asarray(x @ self.weights[-1] + self.biases[-1])

    def _link(self, output: np.ndarray) -> np.ndarray:
        if self.link == "angle":
            doubled = np.arctan2(output[:, 1], output[:, 0])
            return np.asarray(np.degrees(0.5 * doubled) % np.float32(180))
        value = output[:, 0]
        if self.link == "exp":
            value = np.exp(value)
        return np.asarray(expit(value) if self.link == "logistic" else value)


def probe_columns(probes: Sequence[Probe], vectors: np.ndarray, good: np.ndarray) -> pa.Table:
    """Compute every probe's float32 column; rows that are not good become null."""
    values = [pa.array(probe.apply(vectors), mask=~good) for probe in probes]
    return pa.table(values, schema=pa.schema([probe.field() for probe in probes]))


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
    layers = sum(key.startswith(f"{name}.weight_") for key in tensors)
    try:
        return Probe(
            **record,
            centre=tensors[f"{name}.centre"],
            spread=tensors[f"{name}.spread"],
            weights=tuple(tensors[f"{name}.weight_{i}"] for i in range(layers)),
            biases=tuple(tensors[f"{name}.bias_{i}"] for i in range(layers)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpaceError(f"probe {name!r} is damaged ({error}); fit it again") from error


def _plain(errors: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {survey: dict(error) for survey, error in errors.items()}

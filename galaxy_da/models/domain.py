"""Domain score: how far a cutout is from the galaxies that a space has learnt.

Two measures are taken of the summary of a cutout (`galaxy_da.extraction.summary`): a small network
that tells galaxies from kinds of images which are none, or are wrongly described; and the distance
from the population of the training. Both are calibrated on galaxies that neither saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import safetensors.numpy

from galaxy_da.errors import SpaceError
from galaxy_da.models.layers import layer_tensors, read_layers, standardise

OUTSIDE = 2.0
"""Domain score from which a cutout lies outside the domain: one galaxy in a hundred has more."""

UNLIKE = "unlike the galaxies of the training"
"""Reason where the distance from the population is the larger measure."""

_CLIP = 8.0  # standard deviations
_ALARMS = (0.8, 0.2)  # shares of the false alarms of the two measures


@dataclass(frozen=True)
class DomainScores:
    """Scores of n cutouts, (n,) float32, and the reason of each that lies outside, or None."""

    score: np.ndarray
    reasons: list[str | None]

    @property
    def outside(self) -> np.ndarray:
        """True for cutouts outside the domain, (n,) bool."""
        return np.asarray(self.score >= OUTSIDE)

    def also(self, rows: np.ndarray, reason: str) -> DomainScores:
        """Return scores by which some rows, (n,) bool, too lie outside, for a reason."""
        score = np.where(rows, np.maximum(self.score, OUTSIDE), self.score)
        reasons = [
            reason if row and known is None else known
            for row, known in zip(rows, self.reasons, strict=True)
        ]
        return DomainScores(score.astype(np.float32), reasons)


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """Model of the domain of a space.

    Attributes
    ----------
    reasons : tuple of str
        Reasons that the network tells apart, one for each output but the first, which is inside.
    centre, spread : (inputs,) float32 array
        Mean and standard deviation of the summaries of galaxies.
    weights, biases : tuple of float32 array
        Layers (inputs, outputs) of the network, with tanh between them.
    axes : (inputs, k) float32 array
        Axes that whiten the standardised summaries of galaxies.
    levels : (2, m) float32 array
        Rising quantiles of both measures over galaxies outside the fit.
    colours : (`COEFFICIENTS`,) float32 array, optional
        Relation of two colours (`galaxy_da.models.colours`); None in a domain without one.
    """

    reasons: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    axes: np.ndarray
    levels: np.ndarray
    colours: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = [len(self.centre), *(len(bias) for bias in self.biases)]
        shapes = [weight.shape for weight in self.weights]
        if shapes != list(pairwise(sizes)) or sizes[-1] != 1 + len(self.reasons):
            raise ValueError(f"layers {shapes} do not fit {len(self.reasons)} reasons")

    @property
    def hash(self) -> str:
        """Identity of the model."""
        record = json.dumps(self.record(), sort_keys=True).encode()
        return hashlib.sha256(record + safetensors.numpy.save(self.tensors())).hexdigest()

    def score(self, summaries: np.ndarray) -> DomainScores:
        """Score (n, inputs) summaries.

        The score is minus the decimal logarithm of the share of galaxies that look at least as
        strange; it ends where too few galaxies are left to count.
        """
        measures, kind = self.measures(summaries)
        share = np.stack([_share_above(self.levels[i], measures[i]) / _ALARMS[i] for i in (0, 1)])
        score = np.abs(np.log10(np.minimum(share.min(0), 1.0))).astype(np.float32)
        names = [
            (self.reasons[k] if by_network else UNLIKE) if outside else None
            for k, by_network, outside in zip(
                kind, share[0] <= share[1], score >= OUTSIDE, strict=True
            )
        ]
        return DomainScores(score, names)

    def measures(self, summaries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both measures, (2, n), and the most probable reason, (n,) int."""
        x = standardise(summaries, self.centre, self.spread, _CLIP)
        distance = np.square(x @ self.axes).mean(1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        logits = x @ self.weights[-1] + self.biases[-1]
        others = logits[:, 1:]
        top = others.max(1)
        log_odds = top + np.log(np.exp(others - top[:, None]).sum(1)) - logits[:, 0]
        return np.stack([log_odds, distance]), others.argmax(1)

    def record(self) -> dict[str, Any]:
        """Return all but the arrays, as plain values for JSON."""
        return {"reasons": list(self.reasons)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {} if self.colours is None else {"colours": self.colours}
        return layer_tensors(arrays, self.weights, self.biases)


_ARRAYS = ("centre", "spread", "axes", "levels")


def read_domain(record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Domain:
    """Build a domain from `Domain.record` and `Domain.tensors`."""
    try:
        arrays: dict[str, Any] = {key: tensors[key] for key in _ARRAYS}
        arrays["colours"] = tensors.get("colours")
        weights, biases = read_layers(tensors)
        return Domain(reasons=tuple(record["reasons"]), weights=weights, biases=biases, **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise SpaceError(f"the domain is damaged ({error}); fit it again") from error


def _share_above(levels: np.ndarray, measure: np.ndarray) -> np.ndarray:
    """Return the share of galaxies with at least a measure, from its rising quantiles."""
    below = np.searchsorted(levels, measure, side="left")
    return np.asarray((len(levels) - below + 1) / (len(levels) + 1))

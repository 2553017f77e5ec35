"""Fit the physical columns and the domain of an anchor to its training sky, and measure both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.probes.error_scale import error_factors
from evaluation.probes.errors import measure, pulls
from evaluation.probes.fitting import fit_summaries, population_spread, targets_by_symmetry
from evaluation.probes.quantities import QUANTITIES, find_quantities
from galaxy_da.extraction.checks import domain_scores
from galaxy_da.extraction.summary import photometry_of
from galaxy_da.images.preparation import Frame
from galaxy_da.models.colours import fit_colour_relation
from galaxy_da.models.domain import OUTSIDE, Domain
from galaxy_da.models.probes import Probe
from galaxy_da.space import LatentSpace
from training.anchor.images import TrainingSky
from training.readings.domain import fit_domain
from training.readings.sky import (
    KIND_NAMES,
    Summarised,
    summarise_kind,
    summarise_sky,
    truth_of,
)

_SHARES = (0.7, 0.15)  # of galaxies that are fitted, and that calibrate; the others test
_SKY = "training sky"  # name under which probes store their errors
_COLOUR_SIGNAL = 10.0  # least signal over noise in each band
_KIND_SHARE = 0.12  # images of each kind over the galaxies
_NOISE_FREE = "as measured on a noise-free image with DECaLS' PSF"
_DESCRIPTIONS = {
    "concentration": "5 log10(r80 / r20) in r of the light within two Petrosian radii (Bershady et "
    f"al. 2000), {_NOISE_FREE}",
    "asymmetry": "Sum |I - I180| / sum |I| in r within 1.5 Petrosian radii (Conselice 2003), "
    f"{_NOISE_FREE}",
    "position_angle": f"Of the major axis, north through east, {_NOISE_FREE}",
}


@dataclass(frozen=True)
class Fitted:
    """Domain and probes, with rows of tables that measure them on galaxies outside the fit."""

    domain: Domain
    probes: tuple[Probe, ...]
    domain_rows: list[dict[str, Any]]
    probe_rows: list[dict[str, Any]]


def fit_readings(
    space: LatentSpace, sky: TrainingSky, galaxies: int = 30000, seed: int = 0
) -> Fitted:
    """Fit to some galaxies of the sky of an anchor.

    Parameters
    ----------
    space : LatentSpace
        The anchor's space.
    sky : TrainingSky
        Its training sky.
    galaxies : int
        Number of galaxies to use: three fifths for the fit, one fifth each to calibrate and test.
    seed : int
        Seed of the choice of galaxies, of the images outside the domain, and of the networks.
    """
    order = np.random.default_rng(seed).permutation(len(sky))[: min(galaxies, len(sky))]
    first, second = (round(sum(_SHARES[: i + 1]) * len(order)) for i in (0, 1))
    fitted, unseen, tests = order[:first], order[first:second], order[second:]
    inside = [
        summarise_sky(space, sky, part, seed + i) for i, part in enumerate((fitted, unseen, tests))
    ]
    count = round(_KIND_SHARE * len(order))
    outside = {
        name: tuple(
            summarise_kind(space, sky, _some(sky, part, number, name), name, seed + i)
            for i, (part, number) in enumerate(((fitted, count), (tests, count // 3)))
        )
        for name in KIND_NAMES
    }
    domain = fit_domain(
        inside[0].values,
        inside[1].values,
        {name: parts[0] for name, parts in outside.items()},
        seed,
    )
    domain = replace(domain, colours=_colours(space, inside[0].values))
    probes, rows = _fit_probes(inside, [truth_of(space, sky, part.rows) for part in inside], seed)
    tested = {name: parts[1] for name, parts in outside.items()}
    return Fitted(domain, probes, domain_rows(domain, space.frame, inside[2].values, tested), rows)


def _colours(space: LatentSpace, summaries: np.ndarray) -> np.ndarray | None:
    """Fit the relation of colours to bright galaxies in all three bands; None if they are few."""
    found = photometry_of(summaries, space.frame)
    use = (found.signal > _COLOUR_SIGNAL).all(1)
    if found.signal.shape[1] != 3 or use.sum() < 100:
        return None
    frame_nm = np.array(space.frame.wavelengths_nm)
    return fit_colour_relation(found.magnitudes[use], found.wavelengths_nm[use], frame_nm)


def _some(sky: TrainingSky, rows: np.ndarray, number: int, kind: str) -> np.ndarray:
    """Choose galaxies for a kind; bright ones of large patches for those that become too large."""
    if kind == "large":
        magnitude = sky.truth["r_mag"].to_numpy()[rows]
        rows = rows[np.argsort(magnitude, kind="stable")]
    return rows[:number]


def _fit_probes(
    inside: Sequence[Summarised], truths: Sequence[pa.Table], seed: int
) -> tuple[tuple[Probe, ...], list[dict[str, Any]]]:
    known = [find_quantities(truth) for truth in truths]
    described = {q.name: q for q in QUANTITIES}
    probes, table = [], []
    for name, fit in known[0].items():
        quantity = replace(
            described[name], description=_DESCRIPTIONS.get(name, described[name].description)
        )
        usable = [
            _usable(name, k[name].targets, part) for k, part in zip(known, inside, strict=True)
        ]
        targets = np.stack(
            [
                targets_by_symmetry(target[None], quantity.link, int(number))[0]
                for target, number in zip(fit.targets, inside[0].symmetry, strict=True)
            ]
        )
        probe = fit_summaries(quantity, inside[0].values[usable[0]], targets[usable[0]], seed)
        values = fit.values[np.isfinite(fit.values)]
        probe = replace(probe, population=population_spread(values, quantity.link))
        truth = [
            _turned(k[name].values, part, quantity.link)
            for k, part in zip(known, inside, strict=True)
        ]
        truth = [np.where(use, value, np.nan) for use, value in zip(usable, truth, strict=True)]
        probe = error_factors(probe, inside[1].values, truth[1])
        test = np.isfinite(truth[2])
        found = probe.predict(inside[2].values[test])
        errors = measure(quantity.link, truth[2][test], found.value)
        errors |= pulls(quantity.link, truth[2][test], found)
        probes.append(replace(probe, errors={_SKY: errors}))
        table.append({"column": probe.column, "given": float(found.informative.mean()), **errors})
    return tuple(probes), table


def _usable(name: str, targets: np.ndarray, part: Summarised) -> np.ndarray:
    """Rows whose target is known; angles also need an image that was not rotated."""
    fine = np.isfinite(targets).all(1)
    return np.asarray(fine & part.upright if name == "position_angle" else fine)


def _turned(values: np.ndarray, part: Summarised, link: str) -> np.ndarray:
    """Values of images in their symmetries; only angles change."""
    if link != "angle":
        return values
    doubled = np.radians(2 * values)
    components = np.stack([np.cos(doubled), np.sin(doubled)], 1)
    turned = np.stack(
        [
            targets_by_symmetry(c[None], "angle", int(k))[0]
            for c, k in zip(components, part.symmetry, strict=True)
        ]
    )
    return np.asarray(np.degrees(np.arctan2(turned[:, 1], turned[:, 0])) / 2 % 180)


def domain_rows(
    domain: Domain, frame: Frame, inside: np.ndarray, outside: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Measure the share outside the domain of the summaries of galaxies, and of each kind."""
    rows = []
    for name, values in {"galaxies": inside, **outside}.items():
        scores = domain_scores(domain, values, frame)
        rows.append(
            {
                "kind": name,
                "n": len(values),
                "outside": float((scores.score >= OUTSIDE).mean()),
                "median score": float(np.median(scores.score)),
            }
        )
    return rows

"""Summaries of images of an anchor's training sky, inside the domain and outside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from galaxy_da.extraction.summary import Summaries, summarise
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.measurements import measure
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace
from training.anchor.augment import Augmentation
from training.anchor.images import BLOCK, OBSERVATIONS, TrainingSky
from training.anchor.recipe import Jitter
from training.readings.kinds import KINDS, enlarged
from training.readings.light import Light

KIND_NAMES = (*KINDS, "large")
"""Kinds of images outside the domain."""

_BATCH = 128
_DETECTED = 5.0  # least signal over noise of a galaxy in any band
_FITS, _TOO_SMALL = 2.5, (0.5, 1.2)  # half the side of a stamp over the half-light radius
_BRIGHT = 17.5  # faintest r of galaxies that become larger than the frame
_MIN_MOVED = 19.0  # brightest r of galaxies that leave an empty field when they are moved
_MEASURED = ("concentration", "asymmetry", "position_angle", "axis_ratio")
_LABELS = {"edge_on": "edge-on", "spiral_cw": "spiral", "spiral_acw": "spiral"}
_UNKNOWN = ("guide", "merger", "unknown")  # labels of scenes that say nothing of the shape


@dataclass(frozen=True)
class Summarised:
    """Summaries (n, k) of images, the galaxy of each, its symmetry, and if it is not rotated."""

    values: np.ndarray
    rows: np.ndarray
    symmetry: np.ndarray
    upright: np.ndarray


def summarise_sky(space: LatentSpace, sky: TrainingSky, rows: np.ndarray, seed: int) -> Summarised:
    """Summarise galaxies as they are, each in one of its observations and in a random symmetry.

    Galaxies that do not fit their cutout, or drown in its noise, are left out.
    """
    rng = np.random.default_rng([seed, 0])
    half_light = sky.truth["half_light_arcsec"].to_numpy()
    parts = []
    for batch in _batches(rows):
        observation = rng.integers(OBSERVATIONS, size=len(batch))
        symmetry = int(rng.integers(SYMMETRIES))
        images = apply_symmetry(_read(sky, batch, observation), symmetry)
        conditions = sky.conditions[batch, observation]
        inputs = _varied(space, images, conditions, int(rng.integers(2**31)))
        fits = np.flatnonzero(_reach(inputs, space) > _FITS * half_light[batch])
        found = _summarised(space, inputs[fits])
        signal = found.measured.aperture_flux / found.measured.aperture_noise
        seen = (np.nan_to_num(signal) > _DETECTED).any(1)
        values, keep, n = found.values[seen], fits[seen], int(seen.sum())
        parts.append(
            (values, batch[keep], np.full(n, symmetry), observation[keep] < OBSERVATIONS - 1)
        )
    return Summarised(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def summarise_kind(
    space: LatentSpace, sky: TrainingSky, rows: np.ndarray, kind: str, seed: int
) -> np.ndarray:
    """Summarise images of one of `KIND_NAMES`, made of some galaxies."""
    rng = np.random.default_rng([seed, 1 + KIND_NAMES.index(kind)])
    truth = {name: sky.truth[name].to_numpy() for name in ("r_mag", "half_light_arcsec")}
    if kind in ("star", "blank"):
        rows = rows[truth["r_mag"][rows] > _MIN_MOVED]
    if kind == "bands":
        bands = len(space.frame.bands)
        present = (sky.conditions[rows, 1, : 5 * bands : 5] > 0).sum(1).numpy()
        rows = rows[present > 1]
    if kind == "large":
        rows = rows[(truth["r_mag"][rows] < _BRIGHT) & (truth["half_light_arcsec"][rows] > 3)]
    parts = []
    for batch in _batches(rows):
        if kind == "large":
            parts.append(_too_large(space, sky, batch, truth["half_light_arcsec"][batch], rng))
            continue
        observation = rng.integers(2, size=len(batch))
        images = _read(sky, batch, observation)
        light = Light.of(images, sky.conditions[batch, observation], space.frame)
        changed = KINDS[kind](light, rng)
        inputs = _varied(space, *changed.scaled(), int(rng.integers(2**31)), kind != "bands")
        parts.append(_summaries(space, inputs))
    return np.concatenate(parts)


def _too_large(
    space: LatentSpace,
    sky: TrainingSky,
    rows: np.ndarray,
    half_light: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Enlarge one half of the galaxies, and cut the stamps of the other."""
    half = len(rows) // 2
    noisy = Light.of(
        _read(sky, rows, np.zeros(len(rows), int)), sky.conditions[rows, 0], space.frame
    )
    clean = Light.of(
        _read(sky, rows[:half], np.full(half, OBSERVATIONS)), noisy.conditions[:half], space.frame
    )
    clean = replace(clean, noise=noisy.noise[:half])
    parts = []
    if half:
        images, conditions = enlarged(clean, half_light[:half], rng).scaled()
        parts.append(_varied(space, images, conditions, int(rng.integers(2**31))))
    images, conditions = noisy.scaled()
    whole = _covered(images[half:])
    stamps = half_light[half:] * rng.uniform(*_TOO_SMALL, len(rows) - half)
    parts.append(_cut(Inputs(whole, conditions[half:]), stamps.clip(4), space))
    return _summaries(space, Inputs.join(parts))


def _covered(images: Tensor) -> Tensor:
    return torch.cat([images, torch.ones(len(images), 2, *images.shape[2:])], 1)


def _cut(inputs: Inputs, half_side_arcsec: np.ndarray, space: LatentSpace) -> Inputs:
    """Cut square stamps, as an archive would that does not know the galaxy."""
    frame, images = space.frame, inputs.images.clone()
    bands = len(frame.bands)
    half = torch.from_numpy(half_side_arcsec).float()[:, None]
    for number, scale in enumerate(frame.scales_arcsec):
        ramp = ((torch.arange(frame.pixels) + 0.5 - frame.pixels / 2).abs() * scale)[None]
        inside = (ramp <= half).float()
        cover = inside[:, :, None] * inside[:, None, :]
        planes = [*range(number * bands, (number + 1) * bands), 2 * bands + number]
        images[:, planes] *= cover[:, None]
    return inputs.with_images(images)


def truth_of(space: LatentSpace, sky: TrainingSky, rows: np.ndarray) -> pa.Table:
    """Return the truth of some galaxies, with shapes measured on noise-free images.

    The shapes of scenes, which are images themselves, and unclear labels are null.
    """
    truth = sky.truth.take(pa.array(rows))
    drawn = truth["axis_ratio"].is_valid().to_numpy()
    shapes = {name: np.full(len(rows), np.nan) for name in _MEASURED}
    for start in range(0, len(rows), _BATCH):
        batch = np.arange(start, min(start + _BATCH, len(rows)))
        batch = batch[drawn[batch]]
        if not len(batch):
            continue
        images = _read(sky, rows[batch], np.full(len(batch), OBSERVATIONS))
        found = measure(Inputs(_covered(images), sky.conditions[rows[batch], 0]), space.frame)
        for name in _MEASURED:
            shapes[name][batch] = getattr(found, name)
    names = [name for name in truth.column_names if name not in ("axis_ratio", "label")]
    table = truth.select(names)
    half_light = np.where(drawn, truth["half_light_arcsec"].to_numpy(), np.nan)
    place = table.column_names.index("half_light_arcsec")
    table = table.set_column(place, "half_light_arcsec", pa.array(half_light))
    for name in ("concentration", "asymmetry"):
        table = table.append_column(name, pa.array(shapes[name]))
    table = table.append_column("position_angle_deg", pa.array(shapes["position_angle"]))
    table = table.append_column("axis_ratio", truth["axis_ratio"])
    labels = [_LABELS.get(label, label) for label in truth["label"].to_pylist()]
    labels = [None if label in _UNKNOWN else label for label in labels]
    return table.append_column("label", pa.array(labels, pa.string()))


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]


def _read(sky: TrainingSky, rows: np.ndarray, observation: np.ndarray) -> Tensor:
    """(n, bands of both grids, y, x) float32 images."""
    images = [
        sky.blocks[row // BLOCK][row % BLOCK, number]
        for row, number in zip(rows, observation, strict=True)
    ]
    return torch.from_numpy(np.stack(images).astype(np.float32))


def _varied(
    space: LatentSpace, images: Tensor, conditions: Tensor, seed: int, lose_bands: bool = True
) -> Inputs:
    """Vary coverage, bands and calibration, as in the training of the anchor."""
    lose = torch.full((len(images),), lose_bands)
    return Augmentation(space.frame, Jitter(), seed)(images.clone(), conditions, lose)


def _reach(inputs: Inputs, space: LatentSpace) -> np.ndarray:
    """Radius up to which images have data on both sides [arcsec]."""
    scales = space.frame.scales_arcsec
    parts = []
    for number, scale in enumerate(scales):
        line = inputs.images[:, number - len(scales), space.frame.pixels // 2]
        parts.append(torch.minimum(*(half.sum(1) for half in line.chunk(2, 1))) * scale)
    inner = space.frame.pixels / 2 * scales[0]
    return np.where(parts[0] < inner - 0.1, parts[0], torch.maximum(*parts))


def _summarised(space: LatentSpace, inputs: Inputs) -> Summaries:
    return summarise(space, inputs, space.encode(inputs, space.anchor))


def _summaries(space: LatentSpace, inputs: Inputs) -> np.ndarray:
    return _summarised(space, inputs).values

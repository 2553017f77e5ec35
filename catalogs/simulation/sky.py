"""The simulated sky: the same galaxies seen by any set of surveys, with the truth.

`sky_chunks` streams observations for training; `simulate` writes sample tables, cutouts, true
pairs and
true parameters.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from tqdm import tqdm

from catalogs.simulation.galaxies import MAGNITUDES, draw_galaxies
from catalogs.simulation.observing import (
    Conditions,
    Sky,
    draw_conditions,
    frame_bands,
    modes_for,
    observe,
    stamp_pixels,
)
from catalogs.simulation.scenes import ScenePool
from galaxy_da.errors import StorageError
from galaxy_da.io.files import atomic_path, ensure_folder
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.io.storage import Location
from galaxy_da.io.tables import with_metadata
from galaxy_da.surveys import Band, Survey

__all__ = ["CHUNK", "Observation", "SkyChunk", "simulate", "sky_chunks"]

CHUNK = 32
"""Galaxies drawn at a time; part of what a seed means."""

OUTSIDE_SHARE = 0.05
"""Galaxies of the first survey that lie outside each other survey's footprint."""

OWN_SHARE = 0.02
"""Galaxies each other survey has to itself, over those of the first."""

_R_NM = 642.0


@dataclass(frozen=True)
class Observation:
    """What one survey saw of a chunk.

    Attributes
    ----------
    survey : Survey
    bands : tuple of Band
    flux : (n, bands, y, x) float32 tensor
        In the survey's unit per pixel.
    """

    survey: Survey
    bands: tuple[Band, ...]
    flux: Tensor


@dataclass(frozen=True)
class SkyChunk:
    """Some galaxies of a simulated sky.

    Attributes
    ----------
    first : int
        Number of the first galaxy in the sky.
    truth : pa.Table
        One row per galaxy; see `catalogs.simulation.galaxies.Galaxies` and
        `catalogs.simulation.scenes.DrawnScenes`.
    conditions : dict of str to Conditions
        PSF, depth and mishaps of each cutout, by survey name, ``NAME-repeat``, ``NAME-rotated``.
    observe : callable
        Makes the observations that are named.
    """

    first: int
    truth: pa.Table
    conditions: dict[str, Conditions]
    observe: Callable[[Collection[str]], dict[str, Observation]]

    @cached_property
    def observations(self) -> dict[str, Observation]:
        """What was seen, by the same names; rendered and observed when first asked for."""
        return self.observe(self.conditions)


def sky_chunks(
    surveys: Sequence[Survey],
    n: int | None = None,
    *,
    seed: int,
    pool: ScenePool | None = None,
    repeat_anchor: bool = False,
    rotated: bool = False,
    every_band: bool = False,
    magnitudes: tuple[float, float] = MAGNITUDES,
) -> Iterator[SkyChunk]:
    """Stream a simulated sky.

    Galaxy i of a seed is the same whatever n and the surveys, and a survey's noise does not depend
    on the others.

    Parameters
    ----------
    surveys : sequence of Survey
        Who looks; the first is the anchor.
    n : int, optional
        Galaxies in all; endless by default.
    seed : int
        Not negative.
    pool : ScenePool, optional
        Real galaxies; parametric ones by default.
    repeat_anchor : bool
        Whether the first survey looks twice, with its own PSF, noise and position each time.
    turned : bool
        Whether every look but the first is taken once more, as ``NAME-rotated``, with the camera at
        a random angle and every other stamp mirrored.
    every_band : bool
        All bands of each survey instead of those nearest to the frame's.
    magnitudes : (float, float)
        Range of the galaxies' r [AB mag].

    Yields
    ------
    SkyChunk
        Up to `CHUNK` galaxies.

    Raises
    ------
    ValueError
        If there is no survey, or two of one name.
    """
    observers = _observers(surveys, repeat_anchor, rotated, every_band)
    modes = modes_for([band for observer in observers.values() for band in observer.bands])
    for number in count() if n is None else range(-(-n // CHUNK)):
        first = number * CHUNK
        rows = CHUNK if n is None else min(CHUNK, n - first)
        rng = np.random.default_rng([seed, number])
        draw = draw_galaxies if pool is None else pool.draw
        drawn = draw(CHUNK, rng, magnitudes)
        rngs = {name: np.random.default_rng([seed, number, _key(name)]) for name in observers}
        states = {name: observer.conditions(rngs[name]) for name, observer in observers.items()}
        yield SkyChunk(
            first,
            drawn.truth.slice(0, rows),
            {name: state.head(rows) for name, state in states.items()},
            partial(_observe, observers, partial(drawn.render, modes), states, rngs, rows),
        )


def simulate(
    surveys: Sequence[Survey],
    n: int,
    *,
    seed: int,
    out: Path,
    scenes: Location | None = None,
    repeat_anchor: bool = True,
    rotated: bool = False,
    every_band: bool = False,
    magnitudes: tuple[float, float] = MAGNITUDES,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a sky seen by several surveys.

    Each survey gets ``NAME/sample.parquet`` and ``NAME/cutouts.npy``, the first one also a second
    independent look, ``NAME-repeat``. Ids, row order and positions differ from survey to survey;
    ``pairs-FIRST-OTHER.parquet`` holds the true pairs and ``truth.parquet`` the galaxies, with
    their ids. Some of the first survey's galaxies are missing from each other one, which has a few
    of its own. All files appear at the end, together.

    Parameters
    ----------
    surveys : sequence of Survey
        Who looks; the first is the anchor.
    n : int
        Galaxies of the first survey.
    seed : int
        Not negative. The same seed gives the same sky.
    out : Path
        Folder to write into.
    scenes : Location, optional
        Sample table of real images to use instead of parametric galaxies.
    repeat_anchor : bool
        Whether to write the second look.
    turned : bool
        Whether to write ``NAME-rotated`` beside every sample but the first: another look, with the
        camera at a random angle (``turn_deg``, ``mirrored``).
    every_band : bool
        All bands of each survey instead of those nearest to the frame's.
    magnitudes : (float, float)
        Range of the galaxies' r, the brightest first [AB mag].
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    dict
        ``galaxies`` (int), ``samples`` and ``pairs`` (name to path and rows), ``truth`` (path).

    Raises
    ------
    ValueError
        If n is not positive, the seed is negative, `surveys` is empty or repeats a name, or
        `magnitudes` do not rise.
    TableError
        If `scenes` has no usable image.
    StorageError
        If the output cannot be written or does not fit.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 galaxy but is {n}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more but is {seed}")
    if not magnitudes[0] < magnitudes[1]:
        raise ValueError(
            f"magnitudes must rise, the brightest first, but are {magnitudes[0]:g} and "
            f"{magnitudes[1]:g}"
        )
    observers = _observers(surveys, repeat_anchor, rotated, every_band)
    covered = _coverage(n, observers, seed)
    total = len(next(iter(covered.values())))
    shapes = {
        name: observer.shape(int(covered[name].sum())) for name, observer in observers.items()
    }
    out = ensure_folder(out)
    _check_space(out, shapes.values())
    pool = None if scenes is None else ScenePool.open(scenes, limit=max(4 * CHUNK, 2 * total))
    sky = sky_chunks(
        surveys,
        total,
        seed=seed,
        pool=pool,
        repeat_anchor=repeat_anchor,
        rotated=rotated,
        every_band=every_band,
        magnitudes=magnitudes,
    )
    chunks = list(sky)  # drawn but not yet looked at, so small
    truth = pa.concat_tables([chunk.truth for chunk in chunks])
    truth = truth.add_column(0, "galaxy", pa.array(np.arange(total)))
    samples = {}
    for name, observer in observers.items():
        seen = pa.concat_tables([_catalogue(chunk, name, observer) for chunk in chunks])
        samples[name] = _sample(name, seen.filter(pa.array(covered[name])), seed)
        truth = truth.append_column(f"{name}_id", _ids_by_galaxy(samples[name], total))
    first, *others = samples
    tables = {"truth": truth}
    for name in others:
        tables[f"pairs-{first}-{name}"] = _pairs(samples[first], samples[name])
    tables |= {f"{name}/sample": sample.drop_columns("galaxy") for name, sample in samples.items()}
    with ExitStack() as files:
        cutouts = {name: _open_array(files, out / name, shapes[name]) for name in observers}
        with tqdm(total=total, unit=" galaxies", disable=not progress, delay=0.5) as bar:
            for chunk in chunks:
                for name, observation in chunk.observe(observers).items():
                    rows = np.flatnonzero(covered[name][chunk.first :][: len(observation.flux)])
                    cutouts[name].write(observation.flux[rows].numpy().tobytes())
                bar.update(chunk.truth.num_rows)
        for name, table in tables.items():
            path = files.enter_context(atomic_path(out / f"{name}.parquet"))
            pq.write_table(table, path, compression="zstd")
    return {
        "galaxies": total,
        "samples": {
            name: {"path": str(out / name / "sample.parquet"), "rows": sample.num_rows}
            for name, sample in samples.items()
        },
        "pairs": {
            f"{first}-{name}": {
                "path": str(out / f"pairs-{first}-{name}.parquet"),
                "rows": tables[f"pairs-{first}-{name}"].num_rows,
            }
            for name in others
        },
        "truth": str(out / "truth.parquet"),
    }


@dataclass(frozen=True)
class _Observer:
    survey: Survey
    bands: tuple[Band, ...]
    rotated: bool = False

    def conditions(self, rng: np.random.Generator) -> Conditions:
        upright = draw_conditions(CHUNK, self.bands, rng)
        return upright.rotated(rng) if self.rotated else upright

    def shape(self, rows: int) -> tuple[int, int, int, int]:
        side = stamp_pixels(self.survey)
        return rows, len(self.bands), side, side


def _observers(
    surveys: Sequence[Survey], repeat_anchor: bool, rotated: bool, every_band: bool
) -> dict[str, _Observer]:
    if not surveys:
        raise ValueError("surveys must name at least one survey")
    names = [survey.name for survey in surveys]
    if len(set(names)) < len(names):
        raise ValueError(f"surveys must have different names but are {', '.join(names)}")
    observers = {
        survey.name: _Observer(survey, frame_bands(survey, every=every_band)) for survey in surveys
    }
    anchor = names[0]
    if repeat_anchor:
        observers[f"{anchor}-repeat"] = observers[anchor]
    if rotated:
        others = [(name, observer) for name, observer in observers.items() if name != anchor]
        observers |= {
            f"{name}-rotated": replace(observer, rotated=True) for name, observer in others
        }
    return observers


def _observe(
    observers: dict[str, _Observer],
    render: Callable[[], Sky],
    conditions: dict[str, Conditions],
    rngs: dict[str, np.random.Generator],
    rows: int,
    names: Collection[str],
) -> dict[str, Observation]:
    sky = render()
    observations = {}
    for name in names:
        observer = observers[name]
        flux = observe(sky, observer.survey, observer.bands, conditions[name], rngs[name])
        observations[name] = Observation(observer.survey, observer.bands, flux[:rows])
    return observations


def _coverage(n: int, observers: dict[str, _Observer], seed: int) -> dict[str, np.ndarray]:
    """Which galaxies each looker has: (total,) bool by name."""
    first, *others = dict.fromkeys(observer.survey.name for observer in observers.values())
    owner = np.repeat(np.array(others, dtype=str), round(OWN_SHARE * n))
    covered = {}
    for name, observer in observers.items():
        rng = np.random.default_rng([seed, _key(f"{name} coverage")])
        outside = 0.0 if observer.survey.name == first else OUTSIDE_SHARE
        covered[name] = np.concatenate([rng.random(n) >= outside, owner == observer.survey.name])
    return covered


def _check_space(out: Path, shapes: Iterable[tuple[int, ...]]) -> None:
    need = sum(4 * math.prod(shape) for shape in shapes)
    free = shutil.disk_usage(out).free
    if need > free:
        raise StorageError(
            f"{out}: the cutouts need {need / 1e9:.2f} GB but {free / 1e9:.2f} GB are free; ask "
            "for fewer galaxies, or choose another output"
        )


def _open_array(files: ExitStack, folder: Path, shape: tuple[int, ...]) -> IO[bytes]:
    """Start ``cutouts.npy`` of known shape, to be filled row after row."""
    path = files.enter_context(atomic_path(folder / "cutouts.npy"))
    handle = files.enter_context(path.open("wb"))
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)
    return handle


def _catalogue(chunk: SkyChunk, name: str, observer: _Observer) -> pa.Table:
    """List what a survey's catalogue says of a chunk, in the order of the sky."""
    seen, n = chunk.conditions[name], chunk.truth.num_rows
    ra, dec = (chunk.truth[axis].to_numpy() for axis in ("ra", "dec"))
    bands = tuple(band.name for band in observer.bands)
    r_like = bands.index(observer.survey.nearest_band(_R_NM, bands).name)
    camera = {"rotation_deg": seen.rotation_deg, "mirrored": seen.mirrored}
    return pa.table(
        {
            "galaxy": np.arange(chunk.first, chunk.first + n),
            "survey": [observer.survey.name] * n,
            "ra": (ra + seen.east_arcsec / np.cos(np.radians(dec)) / 3600) % 360,
            "dec": dec + seen.north_arcsec / 3600,
            "bands": [",".join(bands)] * n,
            "pixel_scale_arcsec": np.full(n, observer.survey.pixel_scale_arcsec),
            "psf_fwhm_arcsec": seen.psf_fwhm_arcsec[:, r_like],
            "artefact": pa.array(seen.artefact.tolist(), pa.string()),
            **{name: values[:n] for name, values in camera.items() if values is not None},
        }
    )


def _sample(name: str, catalogue: pa.Table, seed: int) -> pa.Table:
    """Give a catalogue its ids, cutout URIs and an order of its own."""
    rows = catalogue.num_rows
    rng = np.random.default_rng([seed, _key(f"{name} order")])
    ids = [f"{name}-{number:06d}" for number in rng.permutation(rows)]
    uris = [f"cutouts.npy#{row}" for row in range(rows)]
    table = catalogue.add_column(0, "object_id", pa.array(ids))
    return table.append_column("cutout", pa.array(uris)).take(pa.array(rng.permutation(rows)))


def _pairs(anchor: pa.Table, target: pa.Table) -> pa.Table:
    """Pair table of the galaxies two samples share."""
    columns = ["galaxy", "object_id", "ra", "dec"]
    joined = anchor.select(columns).join(
        target.select(columns), "galaxy", join_type="inner", right_suffix="_target"
    )
    joined = joined.sort_by("object_id")
    here, there = (
        [joined[f"{name}{suffix}"].to_numpy() for name in ("ra", "dec")]
        for suffix in ("", "_target")
    )
    pairs = {
        "anchor_id": joined["object_id"],
        "target_id": joined["object_id_target"],
        "separation_arcsec": separation_arcsec(*here, *there),
        "n_candidates": pa.array(np.ones(joined.num_rows, np.int32)),
        "ambiguous": pa.array(np.zeros(joined.num_rows, bool)),
    }
    return with_metadata(pa.table(pairs), {"method": "simulated truth", "false_match_rate": 0.0})


def _ids_by_galaxy(sample: pa.Table, total: int) -> pa.Array:
    ids = np.full(total, None, object)
    ids[sample["galaxy"].to_numpy()] = sample["object_id"].to_pylist()
    return pa.array(ids, pa.string())


def _key(name: str) -> int:
    return crc32(name.encode())

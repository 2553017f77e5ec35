"""Simulate one sky for the benchmark: prepared images as float16 arrays, and cutouts for `adapt`.

The anchor and each target observe all galaxies. The anchor observes the test part of the sky once
more (the ceiling). That repeat and the targets also exist with a rotated and mirrored camera.
Fillers have one anchor image each and enlarge the pool. A target whose definition is wrong is also
observed as the definition says. Cutouts on native pixels are kept outside the test part. A survey's
images are written together, so a stopped run resumes with the next survey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.adaptation.faults import noise_per_pixel
from benchmarks.adaptation.settings import Target
from benchmarks.support.observations import as_cutouts
from catalogs.simulation.conditions import Conditions, draw_conditions, frame_bands
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.patches import Frequencies, Sky
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import CHUNK
from catalogs.splits import sky_split
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.files import atomic_path
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import Survey

_FILLER_CHUNKS_FROM = 1_000_000  # no galaxy is a filler too
_R_NM = 642.0
_CONDITIONS, _CUTOUTS = "-conditions", "-cutouts"


@dataclass(frozen=True)
class BenchmarkSky:
    """Simulated sky of one seed.

    Parameters
    ----------
    folder : Path
        Folder of the arrays; `observe` makes missing ones.
    anchor : Survey
        The anchor survey.
    frame : Frame
        Frame of prepared images.
    galaxies, fillers : int
        Galaxies observed by all surveys, and further ones that fill the pool.
    seed : int
        Seed of the sky.
    scenes : ScenePool, optional
        Real galaxies to draw from; parametric ones by default.
    """

    folder: Path
    anchor: Survey
    frame: Frame
    galaxies: int
    fillers: int
    seed: int
    scenes: ScenePool | None = None

    def observe(self, targets: Iterable[Target], progress: bool = False) -> None:
        """Make missing images of the anchor, the fillers and the targets."""
        name = self.anchor.name
        anchor = Target(name=name, survey=self.anchor)
        repeats = {f"{name}-repeat": True, f"{name}-repeat-rotated": True}
        self._make(anchor, {name: False, **repeats}, progress)
        self._make(anchor, {"fillers": False}, progress)
        for target in targets:
            self._make(target, {target.name: False, f"{target.name}-rotated": True}, progress)

    @cached_property
    def truth(self) -> pa.Table:
        """One row per galaxy, with its ``part`` of the sky."""
        return _with_part(pa.concat_tables([self._drawn(i, False).truth for i in self._chunks()]))

    @cached_property
    def filler_truth(self) -> pa.Table:
        """One row per filler."""
        none = self._drawn(0, False).truth.slice(0, 0)
        return pa.concat_tables([none, *(self._drawn(i, True).truth for i in self._chunks(True))])

    @cached_property
    def part(self) -> np.ndarray:
        """(galaxies,) part of the sky of each galaxy."""
        return np.asarray(self.truth["part"])

    def inputs(self, name: str, rows: np.ndarray) -> Inputs:
        """Read prepared images of some galaxies in a sample, with their instruments."""
        places = self._places(name)[rows]
        images, conditions = (
            np.load(self.folder / f"{name}{end}.npy", mmap_mode="r")[places].astype(np.float32)
            for end in ("", _CONDITIONS)
        )
        return Inputs(torch.from_numpy(images), torch.from_numpy(conditions))

    def sample(self, name: str, rows: np.ndarray) -> pa.Table:
        """Return a sample table of native cutouts of some galaxies outside the test part."""
        table = pq.read_table(self.folder / f"{name}{_CUTOUTS}.parquet")
        place = np.cumsum(self.part != "test") - 1
        file = (self.folder / f"{name}{_CUTOUTS}.npy").absolute()
        cutouts = pa.array([f"{file}#{row}" for row in place[rows]])
        return table.take(pa.array(place[rows])).append_column("cutout", cutouts)

    def usable(self, name: str) -> np.ndarray:
        """(galaxies,) bool, true where a sample has a good image."""
        return self._column(name, "usable", False)

    def psf_fwhm_arcsec(self, name: str) -> np.ndarray:
        """(galaxies,) PSF FWHM in the band nearest to r; NaN where there is no image."""
        return self._column(name, "psf_fwhm_arcsec", np.nan)

    def _column(self, name: str, column: str, missing: float) -> np.ndarray:
        values = pq.read_table(self.folder / f"{name}.parquet")[column].to_numpy()
        places = self._places(name)
        return np.asarray(np.where(places >= 0, values[places], missing)).astype(values.dtype)

    def _places(self, name: str) -> np.ndarray:
        """Row of each galaxy in a sample's arrays, -1 if not observed."""
        if name == "fillers":
            return np.arange(self.fillers)
        if not name.endswith(("-repeat", "-rotated")):
            return np.arange(self.galaxies)
        tested = self.part == "test"
        return np.where(tested, np.cumsum(tested) - 1, -1)

    def _chunks(self, fillers: bool = False) -> range:
        return range(-(-(self.fillers if fillers else self.galaxies) // CHUNK))

    def _rng(self, number: int, fillers: bool, name: str = "") -> np.random.Generator:
        key = number + _FILLER_CHUNKS_FROM * fillers
        return np.random.default_rng([self.seed, key, *([crc32(name.encode())] if name else [])])

    def _drawn(self, number: int, fillers: bool) -> _Drawn:
        """Draw the galaxies of a chunk."""
        rng = self._rng(number, fillers)
        drawn = draw_galaxies(CHUNK, rng) if self.scenes is None else self.scenes.draw(CHUNK, rng)
        wanted = min(CHUNK, (self.fillers if fillers else self.galaxies) - number * CHUNK)
        return _Drawn(drawn.truth.slice(0, wanted), drawn.render)

    def _make(self, target: Target, observations: Mapping[str, bool], progress: bool) -> None:
        """Observe with one survey; the flag of an observation limits it to the test part."""
        first = next(iter(observations))
        last = self.folder / f"{first}.parquet"  # written last
        fillers = "fillers" in observations
        if last.is_file() or (fillers and not self.fillers):
            return
        camera = _Camera(target, self.frame)
        found: dict[str, list[_Observed]] = {}
        cutouts: list[np.ndarray] = []
        for number in tqdm(
            self._chunks(fillers), desc=f"sky {self.seed}: {target.name}", disable=not progress
        ):
            drawn = self._drawn(number, fillers)
            part = _with_part(drawn.truth)["part"].to_numpy(zero_copy_only=False)
            sky = drawn.render(camera.frequencies)
            for name, tested_only in observations.items():
                rng = self._rng(number, fillers, name)
                conditions = draw_conditions(CHUNK, camera.bands, rng)
                if name.endswith("-rotated"):
                    conditions = conditions.rotated(rng)
                rows = np.flatnonzero(part == "test") if tested_only else np.arange(len(part))
                if len(rows):
                    some = Sky(sky.spectra[torch.from_numpy(rows)], sky.frequencies, sky.mix)
                    state = conditions[rows]
                    flux, right = camera.observe(some, state, rng)
                    found.setdefault(name, []).append(camera.prepared(flux, state))
                    if right is not None:
                        described = name.replace(target.name, f"{target.name}-right", 1)
                        found.setdefault(described, []).append(camera.described(right, state))
                    if name == first and not fillers:
                        cutouts.append(flux[torch.from_numpy(part != "test")].numpy())
        if cutouts:
            self._write_cutouts(target, camera, np.concatenate(cutouts))
        for name in reversed(list(found)):
            self._write(name, found[name])

    def _write(self, name: str, observed: list[_Observed]) -> None:
        for end, field in (("", "images"), (_CONDITIONS, "conditions")):
            with atomic_path(self.folder / f"{name}{end}.npy") as path:
                np.save(path, np.concatenate([getattr(some, field) for some in observed]))
        columns = {
            "usable": np.concatenate([some.usable for some in observed]),
            "psf_fwhm_arcsec": np.concatenate([some.psf_fwhm_arcsec for some in observed]),
        }
        write_table(pa.table(columns), self.folder / f"{name}.parquet")

    def _write_cutouts(self, target: Target, camera: _Camera, flux: np.ndarray) -> None:
        """Write the cutouts outside the test part, and their sample table."""
        path = self.folder / f"{target.name}{_CUTOUTS}.npy"
        with atomic_path(path) as temporary:
            np.save(temporary, flux)
        galaxies = np.flatnonzero(self.part != "test")
        names = ("ra", "dec")
        table = {
            "object_id": [f"{target.survey.name}-{galaxy:06d}" for galaxy in galaxies],
            "survey": [target.survey.name] * len(galaxies),
            **{name: self.truth[name].to_numpy()[galaxies] for name in names},
            "bands": [",".join(camera.available)] * len(galaxies),
        }
        write_table(pa.table(table), path.with_suffix(".parquet"))


@dataclass(frozen=True)
class _Drawn:
    truth: pa.Table
    render: Callable[[Frequencies], Sky]


@dataclass(frozen=True)
class _Observed:
    images: np.ndarray
    conditions: np.ndarray
    usable: np.ndarray
    psf_fwhm_arcsec: np.ndarray


def _with_part(truth: pa.Table) -> pa.Table:
    part = sky_split(truth["ra"].to_numpy(), truth["dec"].to_numpy())
    return truth.append_column("part", pa.array(part))


class _Camera:
    """Observe with a target, and prepare its images by its definition or by the truth."""

    def __init__(self, target: Target, frame: Frame) -> None:
        self._survey, self._fault, self._frame = target.survey, target.fault, frame
        self._truth = target.fault.truth(target.survey) if target.fault else target.survey
        self._names = tuple(band.name for band in frame_bands(target.survey))
        self.available = (
            target.fault.bands(target.survey, self._names) if target.fault else self._names
        )
        self.bands = tuple(self._truth.band(name) for name in self._names)
        self.frequencies = frequencies_for(self.bands)

    def observe(
        self, sky: Sky, state: Conditions, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return cutouts, and with a fault also those without it."""
        flux = observe(sky, self._truth, self.bands, state, rng)
        if self._fault is None:
            return flux, None
        spoiled = flux
        if self._fault.spoil is not None:
            clean = observe(sky, self._truth, self.bands, state)
            spoiled = self._fault.spoil(flux, clean, noise_per_pixel(self._survey, self._names))
        kept = [self._names.index(name) for name in self.available]
        return spoiled[:, kept].contiguous(), flux

    def prepared(self, flux: Tensor, state: Conditions) -> _Observed:
        """Prepare cutouts by the definition."""
        return self._prepare(flux, self._survey, self.available, state)

    def described(self, flux: Tensor, state: Conditions) -> _Observed:
        """Prepare cutouts without the fault by the true definition."""
        return self._prepare(flux, self._truth, self._names, state)

    def _prepare(
        self, flux: Tensor, survey: Survey, names: tuple[str, ...], state: Conditions
    ) -> _Observed:
        assigned = self._frame.assign(survey, names)
        prepared = prepare(as_cutouts(flux, names, survey), survey, self._frame, assigned)
        r_like = self._names.index(survey.nearest_band(_R_NM, self._names).name)
        return _Observed(
            images=prepared.images.numpy().astype(np.float16),
            conditions=prepared.inputs.conditions.numpy(),
            usable=np.array([problem is None for problem in prepared.problems]),
            psf_fwhm_arcsec=state.psf_fwhm_arcsec[:, r_like],
        )

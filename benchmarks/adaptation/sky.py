"""Simulate one sky for the benchmark and store its prepared images as float16 arrays.

The anchor and each target observe all galaxies. The anchor observes the test part of the sky once
more (the ceiling). That repeat and the targets also exist with a rotated and mirrored camera.
Fillers have one anchor image each and enlarge the pool. A survey's images are written together, so
a stopped run resumes with the next survey.
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

from catalogs.simulation.conditions import Conditions, draw_conditions, frame_bands
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.patches import Frequencies, Sky
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import CHUNK
from catalogs.splits import sky_split
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.files import atomic_path
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import Survey

__all__ = ["BenchmarkSky"]

_FILLER_CHUNKS_FROM = 1_000_000  # no galaxy is a filler too
_R_NM = 642.0


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

    def observe(self, targets: Iterable[Survey], progress: bool = False) -> None:
        """Make missing images of the anchor, the fillers and the targets."""
        again, rotated = f"{self.anchor.name}-repeat", f"{self.anchor.name}-repeat-rotated"
        self._make(self.anchor, {self.anchor.name: False, again: True, rotated: True}, progress)
        self._make(self.anchor, {"fillers": False}, progress)
        for survey in targets:
            self._make(survey, {survey.name: False, f"{survey.name}-rotated": True}, progress)

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

    def images(self, name: str, rows: np.ndarray) -> Tensor:
        """(n, bands, pixels, pixels) float32 prepared images of some galaxies in a sample."""
        stored = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return torch.from_numpy(stored[self._places(name)[rows]].astype(np.float32))

    def usable(self, name: str) -> np.ndarray:
        """(galaxies,) bool, true where a sample has a good image."""
        return self._column(name, "usable", False)

    def psf_fwhm_arcsec(self, name: str) -> np.ndarray:
        """(galaxies,) PSF FWHM in the band nearest to r; NaN where there is no image."""
        return self._column(name, "psf_fwhm_arcsec", np.nan)

    def bands(self, survey: Survey) -> tuple[str, ...]:
        """Bands of a survey's images, in order."""
        return tuple(band.name for band in frame_bands(survey))

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

    def _make(self, survey: Survey, observations: Mapping[str, bool], progress: bool) -> None:
        """Observe with one survey; the flag of an observation limits it to the test part."""
        last = self.folder / f"{next(iter(observations))}.parquet"  # written last
        fillers = "fillers" in observations
        if last.is_file() or (fillers and not self.fillers):
            return
        bands = frame_bands(survey)
        frequencies = frequencies_for(bands)
        found: dict[str, list[_Observed]] = {name: [] for name in observations}
        for number in tqdm(
            self._chunks(fillers), desc=f"sky {self.seed}: {survey.name}", disable=not progress
        ):
            drawn = self._drawn(number, fillers)
            part = _with_part(drawn.truth)["part"].to_numpy(zero_copy_only=False)
            sky = drawn.render(frequencies)
            for name, tested_only in observations.items():
                rng = self._rng(number, fillers, name)
                conditions = draw_conditions(CHUNK, bands, rng)
                if name.endswith("-rotated"):
                    conditions = conditions.rotated(rng)
                rows = np.flatnonzero(part == "test") if tested_only else np.arange(len(part))
                if len(rows):
                    some = Sky(sky.spectra[torch.from_numpy(rows)], sky.frequencies, sky.mix)
                    state = conditions[rows]
                    flux = observe(some, survey, bands, state, rng)
                    found[name].append(_prepared(flux, survey, self.frame, state))
        for name in reversed(list(observations)):
            self._write(name, found[name])

    def _write(self, name: str, observed: list[_Observed]) -> None:
        with atomic_path(self.folder / f"{name}.npy") as path:
            np.save(path, np.concatenate([some.images for some in observed]))
        columns = {
            "usable": np.concatenate([some.usable for some in observed]),
            "psf_fwhm_arcsec": np.concatenate([some.psf_fwhm_arcsec for some in observed]),
        }
        write_table(pa.table(columns), self.folder / f"{name}.parquet")


@dataclass(frozen=True)
class _Drawn:
    truth: pa.Table
    render: Callable[[Frequencies], Sky]


@dataclass(frozen=True)
class _Observed:
    images: np.ndarray
    usable: np.ndarray
    psf_fwhm_arcsec: np.ndarray


def _with_part(truth: pa.Table) -> pa.Table:
    part = sky_split(truth["ra"].to_numpy(), truth["dec"].to_numpy())
    return truth.append_column("part", pa.array(part))


def _prepared(flux: Tensor, survey: Survey, frame: Frame, state: Conditions) -> _Observed:
    """Prepare observed images, with the PSF in the band nearest to r."""
    bands = tuple(band.name for band in frame_bands(survey))
    middle = (flux.shape[-1] - 1) / 2
    cutouts = [
        Cutout(
            pixels=pixels,
            bands=bands,
            pixel_scale_arcsec=survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in flux.numpy()
    ]
    prepared = prepare(cutouts, survey, frame, bands)
    r_like = bands.index(survey.nearest_band(_R_NM, bands).name)
    return _Observed(
        images=prepared.images.numpy().astype(np.float16),
        usable=np.array([problem is None for problem in prepared.problems]),
        psf_fwhm_arcsec=state.psf_fwhm_arcsec[:, r_like],
    )

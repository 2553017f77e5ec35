"""Prepared training images on disk: of the simulated sky, or of a sample table.

Both end as float16 arrays in ``work/`` and a small table beside each, from which batches are read
straight off the disk, so that memory does not grow with the data. Processes that train together
each prepare a part, in the order of the sky or of the table; whoever opens them later sees all.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy import units as u
from astropy.cosmology import Planck18
from torch import Tensor
from tqdm import tqdm

from catalogs.simulation.conditions import frame_bands
from catalogs.simulation.sky import CHUNK, Observation, SkyChunk, SkySettings, sky_chunks
from catalogs.splits import sky_split
from galaxy_da.errors import StorageError, TableError
from galaxy_da.extraction.loading import read_batches
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.files import write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import Survey, get_survey
from training.parallel.processes import Share, everyones, is_first, wait
from training.pretraining.recipe import Recipe

__all__ = ["TrainingImages", "draw_sky", "prepare_observation", "read_sample", "standard_redshift"]

_IMAGES, _ROWS, _PARTS = "images-{}.npy", "rows-{}.parquet", "parts.json"
_COLUMNS = pa.schema({"part": pa.string(), "label": pa.string(), "redshift": pa.float32()})
_STANDARD_MAG = -21.5
"""Absolute r magnitude that a simulated galaxy is given to place it in redshift [AB mag]."""
_REDSHIFTS = np.linspace(0.001, 2.0, 4000)


@dataclass(frozen=True)
class TrainingImages:
    """What is trained on.

    Attributes
    ----------
    images : tuple of (n, looks, bands, y, x) float16 array
        Memory maps of prepared images, one after the other.
    rows : pa.Table
        ``part`` of the sky, ``label`` (class name or null), ``redshift`` (or null) of each.
    """

    images: tuple[np.ndarray, ...]
    rows: pa.Table

    @classmethod
    def open(cls, work: Path) -> TrainingImages:
        """Map what `draw_sky` or `read_sample` finished in a folder.

        Raises
        ------
        StorageError
            If it is not there.
        """
        try:
            parts = range(json.loads((work / _PARTS).read_text(encoding="utf-8"))["parts"])
            tables = [pq.read_table(work / _ROWS.format(i)) for i in parts]
            maps = [np.load(work / _IMAGES.format(i), mmap_mode="r") for i in parts]
        except OSError as error:
            raise StorageError(
                f"{work}: the prepared images cannot be read ({error.strerror or error}); where "
                "several hosts train, --out has to be storage that all of them see"
            ) from error
        images = tuple(map_[: len(table)] for map_, table in zip(maps, tables, strict=True))
        return cls(images, pa.concat_tables(tables))

    @staticmethod
    def finished(work: Path) -> bool:
        """Whether a folder holds them whole."""
        return (work / _PARTS).is_file()

    def read(self, rows: np.ndarray, observations: int) -> np.ndarray:
        """Read the first looks at some galaxies, (n, looks, bands, y, x) float32."""
        ends = np.cumsum([len(part) for part in self.images])
        owner = np.searchsorted(ends, rows, side="right")
        found = np.empty((len(rows), observations, *self.images[0].shape[2:]), np.float32)
        for number in np.unique(owner):
            here, part = owner == number, self.images[number]
            found[here] = part[rows[here] - (ends[number] - len(part)), :observations]
        return found

    @cached_property
    def part(self) -> np.ndarray:
        """(n,) str array: part of the sky."""
        return np.asarray(self.rows["part"].to_pylist())

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return sorted(pc.unique(self.rows["label"].drop_null()).to_pylist())

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int array: number of the class, -1 where unknown."""
        found = pc.index_in(self.rows["label"], value_set=pa.array(self.classes, pa.string()))
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)

    @cached_property
    def redshift(self) -> np.ndarray:
        """(n,) float32 array, NaN where unknown."""
        return np.asarray(self.rows["redshift"].to_numpy(zero_copy_only=False), np.float32)


def draw_sky(
    recipe: Recipe, survey: Survey, scenes: Location | None, work: Path, progress: bool
) -> None:
    """Draw and prepare the simulated sky of a recipe, each process its part.

    Galaxies have a second look, turned and mirrored, where the recipe has latents for the view.
    Their redshift is `standard_redshift`, their class the truth's ``label``.

    Parameters
    ----------
    recipe : Recipe
    survey : Survey
        Who looks.
    scenes : Path, optional
        Sample table of real images for the recipe's ``scene_share``.
    work : Path
        Folder to write into.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    StorageError
        If the images do not fit on the disk.
    """
    n = recipe.sky.galaxies
    observations = [survey.name, f"{survey.name}-repeat-rotated"][: recipe.observations]
    edges = np.append(np.arange(0, n, CHUNK), n)
    first, end = _own_range(edges)
    images = _open(recipe, work, first, end, n)
    tables = []
    with tqdm(total=end - first, desc="draw", unit="img", disable=not progress) as bar:
        for row, chunk in zip(edges[:-1], _sky(recipe, survey, scenes), strict=True):
            if not first <= row < end:
                continue
            rows = min(CHUNK, n - row)
            new = slice(row - first, row - first + rows)
            for observation, view in enumerate(chunk.observe(observations).values()):
                images[new, observation] = prepare_observation(view, recipe.frame)[:rows].numpy()
            truth = chunk.truth.slice(0, rows)
            redshift = standard_redshift(truth["r_mag"].to_numpy())
            tables.append(_rows(truth, "label", pa.array(redshift)))
            bar.update(rows)
    _finish(images, tables, work)


def read_sample(recipe: Recipe, survey: Survey, sample: Sample, work: Path, progress: bool) -> None:
    """Read and prepare the images of a sample table; those that cannot be used are left out.

    Each process reads a range of whole row groups, where there are as many groups as processes.

    Parameters
    ----------
    recipe : Recipe
        With one look.
    survey : Survey
        What they are images of.
    sample : Sample
        The table; ``redshift`` and the recipe's class column are used where present.
    work : Path
        Folder to write into.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    TableError
        If it is of another survey, the recipe needs a second look or a column it lacks, or no image
        can be used.
    StorageError
        If the images do not fit on the disk.
    """
    _check_sample(recipe, survey, sample)
    first, end = _own_range(sample.row_group_edges)
    images = _open(recipe, work, first, end, len(sample))
    tables, row = [], 0
    with tqdm(total=end - first, desc="read", unit="img", disable=not progress) as bar:
        for table, cutouts in read_batches(sample, {sample.survey: survey}, first, stop=end):
            good = [i for i, cutout in enumerate(cutouts) if isinstance(cutout, Cutout)]
            chosen = [cutout for cutout in cutouts if isinstance(cutout, Cutout)]
            prepared = prepare(chosen, survey, recipe.frame, recipe.frame.bands)
            fine = np.array([problem is None for problem in prepared.problems], bool)
            kept = table.take(np.array(good, int)[fine])
            images[row : row + len(kept), 0] = prepared.images.numpy()[fine]
            tables.append(_rows(kept, recipe.objective.class_column, _redshift(kept)))
            row += len(kept)
            bar.update(len(table))
    if not sum(everyones(row)):
        raise TableError(
            f"{sample.path}: none of its {len(sample)} images can be used; `galaxy-da extract` "
            "says why, row by row"
        )
    _finish(images, tables, work)


def standard_redshift(r_mag: np.ndarray) -> np.ndarray:
    """Redshift at which a galaxy of absolute magnitude -21.5 has an apparent magnitude.

    The simulated sky has no distances; this gives it some for conditional networks, by which, as in
    nature, remote galaxies are faint, small and red.

    Parameters
    ----------
    r_mag : (n,) float array [AB mag]

    Returns
    -------
    (n,) float32 array
        In the cosmology of Planck Collaboration (2020), A&A 641, A6; no K-correction.
    """
    moduli = Planck18.distmod(_REDSHIFTS).to_value(u.mag)
    return np.interp(r_mag - _STANDARD_MAG, moduli, _REDSHIFTS).astype(np.float32)


def _check_sample(recipe: Recipe, survey: Survey, sample: Sample) -> None:
    if get_survey(sample.survey).name != survey.name:
        raise TableError(
            f"{sample.path}: holds images of {sample.survey} but recipe {recipe.name!r} is for "
            f"{survey.name}; change its survey, frame and noise"
        )
    if recipe.observations == 2:
        raise TableError(
            f"{sample.path}: has one look at each galaxy but recipe {recipe.name!r} has "
            "nuisance_latents, which need two; set nuisance_latents = 0, or train on the "
            "simulated sky"
        )
    wanted = {"redshift"} if recipe.condition else set()
    wanted |= {recipe.objective.class_column} if recipe.objective.classes else set()
    missing = wanted - set(sample.catalog.column_names)
    if missing:
        raise TableError(
            f"{sample.path}: recipe {recipe.name!r} needs column {', '.join(sorted(missing))}; it "
            f"has {', '.join(sample.catalog.column_names)}"
        )


def _own_range(edges: np.ndarray) -> tuple[int, int]:
    """Choose a contiguous range of rows for this process, about as long as those of the others.

    Ranges begin at some of the `edges`, unless these are too few for every process to have one.
    """
    share = Share.of(int(edges[-1]))
    ends = np.linspace(0, share.rows, share.processes + 1).round().astype(int)
    if len(edges) > share.processes:
        ends = edges[np.abs(edges[:, None] - ends).argmin(0)]
    return int(ends[share.number]), int(ends[share.number + 1])


def _open(recipe: Recipe, work: Path, first: int, end: int, n: int) -> np.memmap:
    """Start the array of this process's prepared images."""
    side = recipe.frame.pixels
    one = (recipe.observations, len(recipe.frame.bands), side, side)
    need, free = 2 * n * math.prod(one), shutil.disk_usage(work).free
    if need > free:
        raise StorageError(
            f"{work}: the prepared images need {need / 1e9:.1f} GB but {free / 1e9:.1f} GB are "
            "free; choose another --out, or fewer images"
        )
    shape = (max(end - first, 1), *one)  # nothing cannot be mapped
    path = work / _IMAGES.format(Share.of(n).number)
    return np.lib.format.open_memmap(path, "w+", np.float16, shape)


def _finish(images: np.memmap, tables: list[pa.Table], work: Path) -> None:
    """Close this process's part, and mark the whole as finished when every process has."""
    images.flush()
    share = Share.of(len(images))
    table = pa.concat_tables([_COLUMNS.empty_table(), *tables])
    write_table(table, work / _ROWS.format(share.number))
    wait()
    if is_first():
        write_json(work / _PARTS, {"parts": share.processes})
    wait()


def _sky(recipe: Recipe, survey: Survey, scenes: Location | None) -> Iterator[SkyChunk]:
    """Chunks of drawn galaxies and of real ones in the recipe's proportion, enough of both."""
    share = recipe.sky.scene_share if scenes else 0.0
    seen = {band.name for band in frame_bands(survey)}
    settings = SkySettings(
        seed=recipe.seed,
        rotated=True,
        every_band=not seen >= set(recipe.frame.bands),
    )
    drawn = sky_chunks([survey], settings)
    real = sky_chunks([survey], replace(settings, scenes=scenes)) if scenes else drawn
    for number in range(-(-recipe.sky.galaxies // CHUNK)):
        is_real = int((number + 1) * share) > int(number * share)
        yield next(real if is_real else drawn)


def prepare_observation(view: Observation, frame: Frame) -> Tensor:
    """Bring what a simulated survey saw into a frame, artefacts and all: (n, bands, y, x)."""
    middle = (view.flux.shape[-1] - 1) / 2
    cutouts = [
        Cutout(
            pixels=pixels,
            bands=tuple(band.name for band in view.bands),
            pixel_scale_arcsec=view.survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in view.flux.numpy()
    ]
    return prepare(cutouts, view.survey, frame, frame.bands).images


def _rows(table: pa.Table, class_column: str, redshift: pa.Array) -> pa.Table:
    """Part of the sky, class and redshift of each row."""
    label = pa.nulls(len(table), pa.string())
    if class_column in table.column_names:
        label = table[class_column].cast(pa.string())
    ra, dec = (table[name].to_numpy(zero_copy_only=False) for name in ("ra", "dec"))
    return pa.table(
        {"part": sky_split(ra, dec), "label": label, "redshift": redshift.cast(pa.float32())},
        schema=_COLUMNS,
    )


def _redshift(table: pa.Table) -> pa.Array:
    """Redshifts, null where they are missing or not above -1."""
    if "redshift" not in table.column_names:
        return pa.nulls(len(table), pa.float32())
    values = table["redshift"].cast(pa.float32()).combine_chunks()
    return pc.if_else(pc.greater(values, -1.0), values, None)

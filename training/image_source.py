"""Prepared training images on disk: of the simulated sky, or of a sample table.

Both end as a float16 array in ``work/`` and a small table beside it, from which batches are read
straight off the disk, so that memory does not grow with the data.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy import units as u
from astropy.cosmology import Planck18
from torch import Tensor
from tqdm import tqdm

from catalogs.observing import frame_bands
from catalogs.scenes import ScenePool
from catalogs.simulate import CHUNK, SkyChunk, View, sky_chunks
from catalogs.splits import sky_split
from galaxy_da.cutouts import Cutout
from galaxy_da.errors import StorageError, TableError
from galaxy_da.images import Frame, prepare
from galaxy_da.loading import read_batches
from galaxy_da.surveys import Survey, get_survey
from galaxy_da.tables import Sample, write_table
from training.recipes import Recipe

__all__ = ["TrainingImages", "draw_sky", "prepare_view", "read_sample", "standard_redshift"]

_IMAGES, _ROWS = "images.npy", "rows.parquet"
_STANDARD_MAG = -21.5
"""Absolute r magnitude that a simulated galaxy is given to place it in redshift [AB mag]."""
_REDSHIFTS = np.linspace(0.001, 2.0, 4000)


@dataclass(frozen=True)
class TrainingImages:
    """What is trained on.

    Attributes
    ----------
    images : (n, looks, bands, y, x) float16 array
        Memory map of prepared images.
    rows : pa.Table
        ``part`` of the sky, ``label`` (class name or null), ``redshift`` (or null) of each.
    """

    images: np.ndarray
    rows: pa.Table

    @classmethod
    def open(cls, work: Path) -> TrainingImages:
        """Map what `draw_sky` or `read_sample` finished in a folder."""
        rows = pq.read_table(work / _ROWS)
        return cls(np.load(work / _IMAGES, mmap_mode="r")[: len(rows)], rows)

    @staticmethod
    def finished(work: Path) -> bool:
        """Whether a folder holds them whole."""
        return (work / _ROWS).is_file()

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
    recipe: Recipe, survey: Survey, scenes: Path | None, work: Path, progress: bool
) -> None:
    """Draw and prepare the simulated sky of a recipe.

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
    looks = [survey.name, f"{survey.name}-repeat-turned"][: recipe.looks]
    images = _open(recipe, work, n)
    tables = []
    row = 0
    with tqdm(total=n, desc="draw", unit="img", disable=not progress) as bar:
        for chunk in _sky(recipe, survey, scenes):
            new = slice(row, min(row + CHUNK, n))
            for look, view in enumerate(chunk.look(looks).values()):
                images[new, look] = prepare_view(view, recipe.frame)[: n - row].numpy()
            truth = chunk.truth.slice(0, n - row)
            redshift = standard_redshift(truth["r_mag"].to_numpy())
            tables.append(_rows(truth, "label", pa.array(redshift)))
            row = new.stop
            bar.update(new.stop - new.start)
    images.flush()
    write_table(pa.concat_tables(tables), work / _ROWS)


def read_sample(recipe: Recipe, survey: Survey, sample: Sample, work: Path, progress: bool) -> None:
    """Read and prepare the images of a sample table; those that cannot be used are left out.

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
    images = _open(recipe, work, len(sample))
    tables, row = [], 0
    with tqdm(total=len(sample), desc="read", unit="img", disable=not progress) as bar:
        for table, cutouts in read_batches(sample, {sample.survey: survey}):
            good = [i for i, cutout in enumerate(cutouts) if isinstance(cutout, Cutout)]
            chosen = [cutout for cutout in cutouts if isinstance(cutout, Cutout)]
            prepared = prepare(chosen, survey, recipe.frame, recipe.frame.bands)
            fine = np.array([problem is None for problem in prepared.problems], bool)
            kept = table.take(np.array(good, int)[fine])
            images[row : row + len(kept), 0] = prepared.images.numpy()[fine]
            tables.append(_rows(kept, recipe.objective.class_column, _redshift(kept)))
            row += len(kept)
            bar.update(len(table))
    if not row:
        raise TableError(
            f"{sample.path}: none of its {len(sample)} images can be used; `galaxy-da extract` "
            "says why, row by row"
        )
    images.flush()
    write_table(pa.concat_tables(tables), work / _ROWS)


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
    if recipe.looks == 2:
        raise TableError(
            f"{sample.path}: has one look at each galaxy but recipe {recipe.name!r} has "
            "view_latents, which need two; set view_latents = 0, or train on the simulated sky"
        )
    wanted = {"redshift"} if recipe.condition else set()
    wanted |= {recipe.objective.class_column} if recipe.objective.classes else set()
    missing = wanted - set(sample.catalog.column_names)
    if missing:
        raise TableError(
            f"{sample.path}: recipe {recipe.name!r} needs column {', '.join(sorted(missing))}; it "
            f"has {', '.join(sample.catalog.column_names)}"
        )


def _open(recipe: Recipe, work: Path, n: int) -> np.memmap:
    """Start the array of prepared images."""
    side = recipe.frame.pixels
    shape = (n, recipe.looks, len(recipe.frame.bands), side, side)
    need, free = 2 * math.prod(shape), shutil.disk_usage(work).free
    if need > free:
        raise StorageError(
            f"{work}: the prepared images need {need / 1e9:.1f} GB but {free / 1e9:.1f} GB are "
            "free; choose another --out, or fewer images"
        )
    return np.lib.format.open_memmap(work / _IMAGES, "w+", np.float16, shape)


def _sky(recipe: Recipe, survey: Survey, scenes: Path | None) -> Iterator[SkyChunk]:
    """Chunks of drawn galaxies and of real ones in the recipe's proportion, enough of both."""
    share = recipe.sky.scene_share if scenes else 0.0
    seen = {band.name for band in frame_bands(survey)}
    chunks = partial(
        sky_chunks,
        [survey],
        seed=recipe.seed,
        repeat_anchor=True,
        turned=True,
        every_band=not seen >= set(recipe.frame.bands),
    )
    drawn = chunks()
    real = chunks(pool=ScenePool.open(scenes)) if scenes else drawn
    for number in range(-(-recipe.sky.galaxies // CHUNK)):
        is_real = int((number + 1) * share) > int(number * share)
        yield next(real if is_real else drawn)


def prepare_view(view: View, frame: Frame) -> Tensor:
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
        {"part": sky_split(ra, dec), "label": label, "redshift": redshift.cast(pa.float32())}
    )


def _redshift(table: pa.Table) -> pa.Array:
    """Redshifts, null where they are missing or not above -1."""
    if "redshift" not in table.column_names:
        return pa.nulls(len(table), pa.float32())
    values = table["redshift"].cast(pa.float32()).combine_chunks()
    return pc.if_else(pc.greater(values, -1.0), values, None)

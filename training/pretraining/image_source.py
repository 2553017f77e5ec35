"""Sources of training images: the simulated sky, or a sample table.

Processes that train together each prepare a part, in the order of the sky or of the table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units as u
from astropy.cosmology import Planck18
from torch import Tensor
from tqdm import tqdm

from catalogs.simulation.conditions import frame_bands
from catalogs.simulation.sky import CHUNK, Observation, SkySettings, sky_chunks
from catalogs.splits import choose_split
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import read_batches
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import Survey
from training.parallel.processes import everyones
from training.pretraining.prepared_images import ImageWriter
from training.pretraining.recipe import Recipe

_STANDARD_MAG = -21.5
"""Absolute r magnitude that places a simulated galaxy in redshift [AB mag]."""
_REDSHIFTS = np.linspace(0.001, 2.0, 4000)


def draw_sky(recipe: Recipe, survey: Survey, folder: Path, progress: bool) -> None:
    """Draw and prepare the simulated sky of a recipe into `folder`, each process its part.

    The redshift is `standard_redshift`, the class is the truth's ``label``.
    """
    n = recipe.sky.galaxies
    edges = np.append(np.arange(0, n, CHUNK), n)
    writer = ImageWriter(recipe, folder, edges)
    size = writer.end - writer.first
    bands = {band.name for band in frame_bands(survey)}
    settings = SkySettings(
        seed=recipe.seed, rotated=True, every_band=not bands >= set(recipe.frame.bands)
    )
    chunks = sky_chunks([survey], settings)
    with tqdm(total=size, desc="draw", unit="img", disable=not progress) as bar:
        for row, chunk in zip(edges[:-1], chunks, strict=False):
            if not writer.first <= row < writer.end:
                continue
            rows = min(CHUNK, n - row)
            observation = chunk.observe([survey.name])[survey.name]
            images = _prepare_observation(observation, recipe.frame)[:rows].numpy()
            truth = chunk.truth.slice(0, rows)
            redshift = standard_redshift(truth["r_mag"].to_numpy())
            writer.add(images, truth, "label", pa.array(redshift))
            bar.update(rows)
    writer.finish()


def read_sample(
    recipe: Recipe, survey: Survey, sample: Sample, folder: Path, progress: bool
) -> None:
    """Read and prepare the usable images of a sample table into `folder`.

    Each process reads a range of whole row groups if there are enough of them. ``redshift`` and the
    recipe's class column are used where present. Raises TableError if the sample does not suit the
    recipe, or has no usable image.
    """
    _check_sample(recipe, survey, sample)
    ra, dec = (np.asarray(sample.catalog[axis]) for axis in ("ra", "dec"))
    writer = ImageWriter(recipe, folder, sample.row_group_edges, choose_split(ra, dec))
    first, end = writer.first, writer.end
    with tqdm(total=end - first, desc="read", unit="img", disable=not progress) as bar:
        for table, cutouts in read_batches(sample, {sample.survey: survey}, first, stop=end):
            good = np.flatnonzero([isinstance(cutout, Cutout) for cutout in cutouts])
            chosen = [cutout for cutout in cutouts if isinstance(cutout, Cutout)]
            prepared = prepare(chosen, survey, recipe.frame, recipe.frame.bands)
            usable = np.array([problem is None for problem in prepared.problems], bool)
            kept, column = table.take(good[usable]), recipe.objective.class_column
            writer.add(prepared.images.numpy()[usable], kept, column, _redshift(kept))
            bar.update(len(table))
    if not sum(everyones(writer.written)):
        raise TableError(
            f"{sample.path}: none of its {len(sample)} images can be used; `galaxy-da extract` "
            "says why, row by row"
        )
    writer.finish()


def standard_redshift(r_mag: np.ndarray) -> np.ndarray:
    """Redshift at which a galaxy of absolute magnitude -21.5 has (n,) apparent magnitudes [AB mag].

    The simulated sky has no distances. Conditional networks are trained with these redshifts: as in
    nature, distant galaxies are faint, small and red. The cosmology is Planck18, without
    K-correction.
    """
    moduli = Planck18.distmod(_REDSHIFTS).to_value(u.mag)
    return np.interp(r_mag - _STANDARD_MAG, moduli, _REDSHIFTS).astype(np.float32)


def _prepare_observation(observation: Observation, frame: Frame) -> Tensor:
    middle = (observation.flux.shape[-1] - 1) / 2
    cutouts = [
        Cutout(
            pixels=pixels,
            bands=tuple(band.name for band in observation.bands),
            pixel_scale_arcsec=observation.survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in observation.flux.numpy()
    ]
    return prepare(cutouts, observation.survey, frame, frame.bands).images


def _check_sample(recipe: Recipe, survey: Survey, sample: Sample) -> None:
    if sample.survey != survey.name:
        raise TableError(
            f"{sample.path}: holds images of {sample.survey} but recipe {recipe.name!r} is for "
            f"{survey.name}; change its survey, frame and noise"
        )
    wanted = {"redshift"} if recipe.condition else set()
    wanted |= {recipe.objective.class_column} if recipe.objective.classes else set()
    missing = wanted - set(sample.catalog.column_names)
    if missing:
        raise TableError(
            f"{sample.path}: recipe {recipe.name!r} needs column {', '.join(sorted(missing))}; it "
            f"has {', '.join(sample.catalog.column_names)}"
        )


def _redshift(table: pa.Table) -> pa.Array:
    """Return redshifts, null where they are missing or not above -1."""
    if "redshift" not in table.column_names:
        return pa.nulls(len(table), pa.float32())
    values = table["redshift"].cast(pa.float32()).combine_chunks()
    return pc.if_else(pc.greater(values, -1.0), values, None)

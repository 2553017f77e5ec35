"""Draw the training sky of an anchor: each galaxy in three observations, and without noise.

Observations are by the anchor survey, by a random instrument, and by that instrument with its
camera rotated. The sky is drawn once, in blocks, by several processes, and reused by later runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from catalogs.simulation.conditions import Conditions, draw_conditions, median_conditions
from catalogs.simulation.framing import frequencies_of, observe_in_frame, surround
from catalogs.simulation.galaxies import Galaxies, draw_galaxies
from catalogs.simulation.instruments import Instrument, anchor_instrument, draw_instrument
from catalogs.simulation.patches import Sky
from catalogs.simulation.scenes import DrawnScenes, ScenePool
from galaxy_da.images.instrument import describe, image_noise, sky_noise
from galaxy_da.images.preparation import Frame
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import Location
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import Survey, get_survey
from training.anchor.images import BLOCK, TARGETS, TrainingSky, block_paths
from training.anchor.recipe import AnchorRecipe, Layer

_CHUNK = 8  # galaxies that share an instrument; more of them would save no time
_WIDE_ARCSEC, _SHARPEST_WIDE = 60.0, 0.9  # size of large patches, and the least PSF there
_OFFSET_ARCSEC = 0.2  # standard deviation of the position, per axis
_MOST_SCENES, _SHRINK = 9000, (0.75, 4.0)  # real galaxies, and their reduction in apparent size
_KNOWN_PSF = 0.4  # share of chunks whose PSF is stated image by image
_TRUTH = ("label", *TARGETS)


def draw_sky(
    recipe: AnchorRecipe,
    scenes: Sequence[Location],
    folder: Path,
    *,
    processes: int = 1,
    progress: bool = False,
) -> TrainingSky:
    """Draw the blocks of a sky that `folder` does not yet hold, and open it."""
    missing = [i for i in range(-(-recipe.galaxies // BLOCK)) if not block_paths(folder, i)]
    draw = partial(_draw_block, recipe, tuple(scenes), folder)
    with (
        ProcessPoolExecutor(processes, get_context("spawn")) as pool,
        tqdm(total=len(missing), desc="draw", unit="block", disable=not progress) as bar,
    ):
        for done in as_completed([pool.submit(draw, number) for number in missing]):
            done.result()
            bar.update()
    return TrainingSky.open(folder, recipe.galaxies)


def layer_of(recipe: AnchorRecipe, number: int) -> Layer:
    """Return the layer of a block: the one that is furthest below its share in those before it."""
    shares = np.array([layer.share for layer in recipe.layers])
    counts = np.zeros(len(shares))
    for block in range(number + 1):
        chosen = int(np.argmax(shares / shares.sum() * (block + 1) - counts))
        counts[chosen] += 1
    return recipe.layers[chosen]


_pools: dict[tuple[str, ...], ScenePool] = {}  # of this process


def _draw_block(
    recipe: AnchorRecipe, scenes: tuple[Location, ...], folder: Path, number: int
) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng([recipe.seed, number])
    survey, frame = get_survey(recipe.survey), recipe.frame
    layer = layer_of(recipe, number)
    draw = _drawer(layer, scenes)
    parts = [_draw_chunk(layer, survey, frame, draw, rng) for _ in range(BLOCK // _CHUNK)]
    images = torch.cat([part.images for part in parts]).clamp(-60000, 60000).half().numpy()
    conditions = torch.cat([part.conditions for part in parts]).flatten(1).numpy()
    table = pa.concat_tables([part.truth for part in parts])
    column = pa.FixedSizeListArray.from_arrays(pa.array(conditions.ravel()), conditions.shape[1])
    array, rows = block_paths(folder, number, existing=False)
    with atomic_path(array) as temporary, temporary.open("wb") as handle:
        np.save(handle, images)
    write_table(table.append_column("conditions", column), rows)


def _drawer(layer: Layer, scenes: tuple[Location, ...]) -> Callable[..., Galaxies | DrawnScenes]:
    if not layer.scenes:
        return draw_galaxies
    key = tuple(map(str, scenes))
    if key not in _pools:
        _pools[key] = ScenePool.open(scenes, limit=_MOST_SCENES, shrink=_SHRINK)
    return _pools[key].draw


@dataclass(frozen=True)
class _Chunk:
    """Images (n, 4, bands of both grids, y, x), conditions (n, 3, k), and truth."""

    images: Tensor
    conditions: Tensor
    truth: pa.Table


def _draw_chunk(
    layer: Layer,
    survey: Survey,
    frame: Frame,
    draw: Callable[..., Galaxies | DrawnScenes],
    rng: np.random.Generator,
) -> _Chunk:
    own = anchor_instrument(survey, frame, rng)
    sharpest = _SHARPEST_WIDE if layer.field_arcsec > _WIDE_ARCSEC else 0.0
    other = draw_instrument(survey, frame, rng, sharpest)
    drawn = draw(_CHUNK, rng, layer.magnitudes, layer.field_arcsec)
    sky = drawn.render(frequencies_of([own, other], layer.field_arcsec))
    around = int(rng.integers(2**31))  # the same surroundings in every observation
    images, conditions = [], []
    for instrument, rotated in ((own, False), (other, False), (other, True)):
        image, condition = _observe(sky, instrument, rotated, frame, around, rng)
        images.append(image)
        conditions.append(condition)
    clean = observe_in_frame(sky, own, median_conditions(_CHUNK, own.bands), frame)
    images.append(_scaled(_both_grids(clean, frame, around), own, frame))
    return _Chunk(torch.stack(images, 1), torch.stack(conditions, 1), _truth(drawn.truth))


def _truth(truth: pa.Table) -> pa.Table:
    """Return the label and the targets of galaxies; null where they are unknown."""
    label = "label" if "label" in truth.column_names else "scene_class"
    unknown = pa.nulls(len(truth), pa.float64())
    targets = [truth[name] if name in truth.column_names else unknown for name in TARGETS]
    return pa.table([truth[label], *targets], names=list(_TRUTH))


def _observe(
    sky: Sky,
    instrument: Instrument,
    rotated: bool,
    frame: Frame,
    around: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Images of one observation, (n, bands of both grids, y, x), and its conditions."""
    east, north = rng.normal(0, _OFFSET_ARCSEC, (2, _CHUNK))
    state = replace(
        draw_conditions(_CHUNK, instrument.bands, rng), east_arcsec=east, north_arcsec=north
    )
    if rotated:
        state = state.rotated(rng)
    images = observe_in_frame(sky, instrument, state, frame, rng)
    scaled = _scaled(_both_grids(images, frame, around + rotated), instrument, frame)
    return scaled, _conditions(scaled, instrument, state, frame, rng)


def _both_grids(images: list[Tensor], frame: Frame, around: int) -> list[Tensor]:
    if len(images) == len(frame.scales_arcsec):
        return images
    factor = round(frame.scales_arcsec[1] / frame.scales_arcsec[0])
    return [*images, surround(images[0], frame.pixels, factor, np.random.default_rng(around))]


def _scaled(grids: list[Tensor], instrument: Instrument, frame: Frame) -> Tensor:
    """Asinh of brightness over softening, in the planes of the frame; zero in missing bands."""
    softening = torch.tensor([frame.softening_at(band.wavelength_nm) for band in instrument.bands])
    filled = [i for i, name in enumerate(instrument.planes) if name is not None]
    n, side, bands = len(grids[0]), frame.pixels, len(frame.bands)
    images = torch.zeros(n, len(grids) * bands, side, side)
    for number, grid in enumerate(grids):
        images[:, [number * bands + i for i in filled]] = torch.asinh(
            grid / softening[:, None, None]
        )
    return images


def _conditions(
    images: Tensor,
    instrument: Instrument,
    state: Conditions,
    frame: Frame,
    rng: np.random.Generator,
) -> Tensor:
    """Describe the instrument as its definition does, or with the PSF of each image."""
    n, bands, survey = len(images), len(frame.bands), instrument.survey
    fwhm = torch.full((n, bands), torch.nan)
    depth_noise, ratio = torch.ones(2, n, bands)
    filled = [i for i, name in enumerate(instrument.planes) if name is not None]
    known_psf = rng.random() < _KNOWN_PSF
    for number, (plane, band) in enumerate(zip(filled, instrument.bands, strict=True)):
        width = state.psf_fwhm_arcsec[:, number] if known_psf else band.psf_fwhm_arcsec
        fwhm[:, plane] = torch.as_tensor(width, dtype=torch.float32)
        sigma = sky_noise(
            torch.tensor(band.depth_mag),
            torch.tensor(band.psf_fwhm_arcsec),
            frame.pixel_scale_arcsec,
        )
        depth_noise[:, plane] = sigma / frame.softening_at(band.wavelength_nm)
        ratio[:, plane] = band.wavelength_nm / frame.wavelengths_nm[plane]
    noise = image_noise(images[:, :bands], torch.ones(n, frame.pixels, frame.pixels))
    picture = instrument.stretch is not None
    pixel = instrument.picture_pixel_arcsec if picture else survey.pixel_scale_arcsec
    pictures = torch.full((n,), picture)
    return describe(fwhm, depth_noise, noise, ratio, torch.full((n,), pixel), pictures)

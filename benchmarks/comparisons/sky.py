"""Simulate the sky that all candidates are trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from catalogs.simulation.sky import CHUNK, SkySettings, sky_chunks
from catalogs.splits import sky_split
from galaxy_da.images.preparation import Frame
from galaxy_da.io.files import atomic_path
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import get_survey
from training.pretraining.image_source import prepare_observation

__all__ = ["ComparisonSky", "comparison_sky"]

_OBSERVATIONS = ("decals", "decals-repeat-rotated", "decals-repeat")
_IMAGES, _TRUTH = "sky.safetensors", "truth.parquet"


@dataclass(frozen=True, kw_only=True)
class ComparisonSky:
    """Galaxies observed twice by DECaLS.

    Attributes
    ----------
    train : (n, 2, bands, y, x) float16 tensor
        First observation of each training galaxy, and a second one with the camera rotated by a
        random angle and every other image mirrored.
    first, rotated, second : (m, bands, y, x) float32 tensors
        First observation of each test galaxy, the second one rotated and mirrored as for training,
        and the second one north up.
    truth : pa.Table
        True parameters of the test part.
    """

    train: Tensor
    first: Tensor
    rotated: Tensor
    second: Tensor
    truth: pa.Table


def comparison_sky(galaxies: int, seed: int, folder: Path, progress: bool = False) -> ComparisonSky:
    """Simulate and observe a sky of parametric galaxies, or read the stored one.

    Parameters
    ----------
    galaxies : int
        Number of galaxies; `catalogs.splits` selects the test part.
    seed : int
        Seed of the sky.
    folder : Path
        Folder to store it in.
    progress : bool
        Show progress on stderr.
    """
    if not (folder / _IMAGES).is_file():
        images, truth = _draw(galaxies, seed, progress)
        write_table(truth, folder / _TRUTH)
        with atomic_path(folder / _IMAGES) as temporary:
            safetensors.torch.save_file({"images": images}, temporary)
    images = safetensors.torch.load_file(folder / _IMAGES)["images"]
    truth = pq.read_table(folder / _TRUTH)
    is_test = sky_split(truth["ra"].to_numpy(), truth["dec"].to_numpy()) == "test"
    first, rotated, second = images[torch.from_numpy(is_test)].float().unbind(1)
    return ComparisonSky(
        train=images[torch.from_numpy(~is_test)][:, :2],
        first=first,
        rotated=rotated,
        second=second,
        truth=truth.filter(pa.array(is_test)),
    )


def _draw(galaxies: int, seed: int, progress: bool) -> tuple[Tensor, pa.Table]:
    """Return (n, 3, bands, y, x) float16 images of all galaxies, and their true parameters."""
    survey = get_survey("decals")
    chunks = sky_chunks([survey], SkySettings(seed=seed, rotated=True), galaxies)
    observations: list[Tensor] = []
    tables: list[pa.Table] = []
    total = -(-galaxies // CHUNK)
    for chunk in tqdm(chunks, desc="draw", total=total, unit="chunk", disable=not progress):
        cutouts = chunk.observe(_OBSERVATIONS)
        prepared = [prepare_observation(cutouts[name], Frame()).half() for name in _OBSERVATIONS]
        observations.append(torch.stack(prepared, 1))
        tables.append(chunk.truth)
    return torch.cat(observations), pa.concat_tables(tables)

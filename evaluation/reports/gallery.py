"""Draw galaxies of one survey above their nearest neighbours in another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.utils import make_grid

from evaluation.reports.pictures import to_decals_colour
from galaxy_da.extraction.loading import load_images, row_numbers
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace

__all__ = ["write_neighbour_gallery"]

_ENLARGED = 2
_FRAME_PX, _GAP_PX = 4, 2
_BACKGROUND, _MATCH = (24, 24, 24), (80, 200, 120)


def write_neighbour_gallery(
    path: PathOrUrl,
    space: LatentSpace,
    index: LatentIndex,
    samples: tuple[Sample, Sample],
    partners: Mapping[str, str],
    neighbours: int = 3,
) -> None:
    """Write a PNG of galaxies and, below each, its nearest neighbours in another survey.

    A green frame marks the same galaxy in the other survey.

    Parameters
    ----------
    path : path or URL
        The PNG file.
    space : LatentSpace
        Space that reads both surveys.
    index : LatentIndex
        Index with the features of both samples.
    samples : (Sample, Sample)
        Sample of the galaxies, and sample of their neighbours.
    partners : mapping of str to str
        Galaxies to draw, one a column, and the id of each in the second sample.
    neighbours : int
        Number of neighbours below each galaxy.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    first, second = samples
    nearest = [
        index.similar(f"{first.survey}:{key}", neighbours, second.survey)["object_id"].to_pylist()
        for key in partners
    ]
    pictures = [*_framed(space, first, list(partners), [""] * len(partners))]
    for rank in range(neighbours):
        ids = [found[rank] for found in nearest]
        pictures += _framed(space, second, ids, list(partners.values()))
    grid = make_grid(torch.stack(pictures), nrow=len(partners), padding=_GAP_PX, pad_value=24)
    with atomic_path(path) as temporary:
        Image.fromarray(grid.movedim(0, -1).numpy()).save(temporary, "png")


def _framed(space: LatentSpace, sample: Sample, ids: list[str], matches: list[str]) -> list[Tensor]:
    """Return (3, y, x) uint8 pictures of objects, in a frame that is green where ids match."""
    encoder = space.encoder(sample.survey)
    rows = row_numbers(sample, pa.array(ids))
    inputs, _ = load_images(sample, np.asarray(rows), encoder, space.frame)
    colour = to_decals_colour(inputs.images, encoder.survey, encoder.bands, space.frame).movedim(
        -1, 1
    )
    large = interpolate(colour, scale_factor=_ENLARGED, mode="nearest")
    framed = []
    for picture, key, match in zip(large, ids, matches, strict=True):
        frame = torch.tensor(_MATCH if key == match else _BACKGROUND, dtype=torch.uint8)
        canvas = frame[:, None, None].expand(3, *pad(picture[0], [_FRAME_PX] * 4).shape).clone()
        canvas[:, _FRAME_PX:-_FRAME_PX, _FRAME_PX:-_FRAME_PX] = picture
        framed.append(canvas)
    return framed

"""Draw galaxies of one survey above their nearest neighbours in another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from evaluation.reports.pictures import to_decals_colour
from galaxy_da.extraction.loading import load_images, row_numbers
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace

__all__ = ["write_neighbour_gallery"]

_ENLARGED = 2
_GAP_PX = 4
_LABEL_PX = 22
_BACKGROUND, _LABEL, _MATCH = (24, 24, 24), (230, 230, 230), (80, 200, 120)


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
        Space with an encoder of both surveys.
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
    rows = [(f"{first.survey} galaxy", first, list(partners))]
    rows += [
        (f"{second.survey} neighbour {rank + 1}", second, [ids[rank] for ids in nearest])
        for rank in range(neighbours)
    ]
    side = space.frame.pixels * _ENLARGED
    step = side + 2 * _GAP_PX
    size = (step * len(partners), (step + _LABEL_PX) * len(rows))
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (label, sample, ids) in enumerate(rows):
        top = number * (step + _LABEL_PX)
        draw.text((_GAP_PX, top + 4), label, fill=_LABEL)
        for column, (picture, key) in enumerate(
            zip(_pictures(space, sample, ids), ids, strict=True)
        ):
            left, upper = column * step, top + _LABEL_PX
            if number and key == list(partners.values())[column]:
                draw.rectangle((left, upper, left + step - 1, upper + step - 1), fill=_MATCH)
            enlarged = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(enlarged, (left + _GAP_PX, upper + _GAP_PX))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "png")


def _pictures(space: LatentSpace, sample: Sample, ids: list[str]) -> np.ndarray:
    """Return (n, y, x, 3) colour pictures of some objects of a sample."""
    encoder = space.encoder(sample.survey)
    images, _ = load_images(sample, row_numbers(sample, pa.array(ids)), encoder, space.frame)
    return to_decals_colour(images, encoder.survey, encoder.bands, space.frame).numpy()

"""Convert Galaxy Zoo's guide images to a sample table, for verbs and reports.

``python -m benchmarks.real.guide_sample GUIDE --survey decals --out DIR`` writes ``sample.parquet``
and ``labels.parquet`` to DIR. It needs GUIDE, the table of guide images (see `read_guide`). The
guide has no positions, so galaxies are placed two degrees apart along the equator.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.real.guide_images import read_guide
from benchmarks.support.commands import command_parser
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import AnyStretch, Survey, get_survey

__all__ = ["stored_images", "write_guide_sample"]


def write_guide_sample(
    guide: str | os.PathLike[str], survey: str, out: str | os.PathLike[str]
) -> tuple[Path, Path]:
    """Write the distinct guide images of one survey, and their classes.

    Parameters
    ----------
    guide : path
        Table of guide images.
    survey : {"decals", "sdss"}
        Survey with a documented stretch.
    out : path
        Folder of both tables.

    Returns
    -------
    sample, labels : Path
        Images as PNG, and ``smooth-or-featured`` by ``object_id``.

    Raises
    ------
    TableError, StorageError
        If the guide is missing, or a table cannot be written.
    """
    images = read_guide(guide, survey)
    folder, n = ensure_folder(out), len(images.cutouts)
    ids = pa.array([f"guide-{number:03d}" for number in range(n)])
    sample = pa.table(
        {
            "object_id": ids,
            "survey": [survey] * n,
            "ra": np.arange(n) * 2.0 % 360,
            "dec": np.zeros(n),
            "pixel_scale_arcsec": [cutout.pixel_scale_arcsec for cutout in images.cutouts],
            **stored_images(images.cutouts, images.survey),
        }
    )
    answer = np.where(images.featured, "featured", "smooth")
    paths = folder / "sample.parquet", folder / "labels.parquet"
    write_table(sample, paths[0])
    write_table(pa.table({"object_id": ids, "smooth-or-featured": answer}), paths[1])
    return paths


def stored_images(cutouts: Sequence[Cutout], survey: Survey) -> dict[str, Sequence[Any]]:
    """Return the columns ``image``, as PNG, and ``stretch`` of colour cutouts of one survey."""
    names: dict[AnyStretch | None, str] = {
        stretch: name for name, stretch in get_survey(survey.name).stretches.items()
    }
    return {
        "image": [_png(cutout) for cutout in cutouts],
        "stretch": pa.array([names.get(cutout.stretch) for cutout in cutouts], pa.string()),
    }


def _png(cutout: Cutout) -> bytes:
    """Encode a colour cutout as PNG, the first row northernmost."""
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(cutout.pixels[:, ::-1], 0, -1)).save(buffer, "png")
    return buffer.getvalue()


def main() -> None:
    """Write both tables and print their paths."""
    parser = command_parser("real.guide_sample", __doc__)
    parser.add_argument("guide", type=Path, help="table of guide images")
    parser.add_argument("--survey", default="decals", help="survey: decals or sdss")
    parser.add_argument("--out", type=Path, required=True, help="folder of both tables")
    options = parser.parse_args()
    for path in write_guide_sample(options.guide, options.survey, options.out):
        print(path)


if __name__ == "__main__":
    main()

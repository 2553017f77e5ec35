"""Draw the same galaxies as observed by several surveys.

``python -m benchmarks.real.across_surveys SKY decals sdss hsc --out PICTURE.webp`` needs SKY, a
folder of ``galaxy-da simulate`` with these surveys. Each column is a galaxy of the brighter half,
from bright to faint, and each row a survey, in the colours of the Legacy Surveys viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.anchor.mosaics import mosaic
from benchmarks.support.commands import command_parser
from evaluation.reports.picture_sections import evenly
from evaluation.reports.pictures import to_decals_colour
from evaluation.targets import sample_bands
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images, row_numbers
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table
from galaxy_da.space import LatentSpace

__all__ = ["across_surveys"]

_GALAXIES = 8


def across_surveys(sky: Path, surveys: Sequence[str]) -> np.ndarray:
    """Draw galaxies that several surveys observed.

    Parameters
    ----------
    sky : path
        Folder written by `galaxy-da simulate`.
    surveys : sequence of str
        Surveys of the sky, or their repeat observations, from top to bottom.

    Returns
    -------
    (height, width, 3) uint8 array

    Raises
    ------
    TableError
        If a survey did not observe the sky, or no galaxy was observed by all surveys.
    """
    truth, space = read_table(sky / "truth.parquet"), LatentSpace.load("decals")
    if missing := [name for name in surveys if f"{name}_id" not in truth.column_names]:
        raise TableError(
            f"{sky}: was not observed by {', '.join(missing)}; simulate it with --surveys"
        )
    observed = np.all([truth[f"{name}_id"].is_valid().to_numpy() for name in surveys], axis=0)
    if not observed.any():
        raise TableError(f"{sky}: no galaxy was observed by all of {', '.join(surveys)}")
    bright = np.argsort(np.where(observed, truth["r_mag"].to_numpy(), np.inf))[
        : -(-observed.sum() // 2)
    ]
    chosen = truth.take(evenly(bright, _GALAXIES))
    rows = []
    for name in surveys:
        sample = Sample(sky / name / "sample.parquet")
        survey = space.survey(sample.survey)
        encoder = space.by_definition(survey, sample_bands(sample, survey))
        numbers = row_numbers(sample, chosen[f"{name}_id"])
        inputs, _ = load_images(sample, numbers, encoder, space.frame)
        rows.append(to_decals_colour(inputs.images, survey, encoder.bands, space.frame).numpy())
    return mosaic(np.concatenate(rows), len(chosen))


def main() -> None:
    """Write the picture in the format that its name gives."""
    parser = command_parser("real.across_surveys", __doc__)
    parser.add_argument("sky", type=Path, help="folder of the simulated sky")
    parser.add_argument("surveys", nargs="+", help="surveys from top to bottom")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    options = parser.parse_args()
    picture = Image.fromarray(across_surveys(options.sky, options.surveys))
    with atomic_path(options.out) as temporary:
        picture.save(temporary)


if __name__ == "__main__":
    main()

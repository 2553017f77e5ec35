"""The same galaxies as several surveys saw them, as a picture.

``python -m benchmarks.real.across_surveys SKY decals sdss hsc --out PICTURE.webp`` draws, of a
simulated
sky, galaxies of its brighter half from bright to faint: one a column, a survey a row, all in the
colours of the Legacy Surveys viewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.reports.galleries import evenly
from benchmarks.anchor.mosaics import mosaic
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
    """Draw galaxies that several surveys saw.

    Parameters
    ----------
    sky : path
        Folder that `galaxy-da simulate` wrote.
    surveys : sequence of str
        Built-in surveys of it, or their second looks, from top to bottom.

    Returns
    -------
    (height, width, 3) uint8 array

    Raises
    ------
    TableError
        If the sky was not seen by one of the surveys, or no galaxy by all of them.
    """
    truth, space = read_table(sky / "truth.parquet"), LatentSpace.load("decals")
    if missing := [name for name in surveys if f"{name}_id" not in truth.column_names]:
        raise TableError(f"{sky}: was not seen by {', '.join(missing)}; simulate it with --surveys")
    seen = np.all([truth[f"{name}_id"].is_valid().to_numpy() for name in surveys], axis=0)
    if not seen.any():
        raise TableError(f"{sky}: no galaxy was seen by all of {', '.join(surveys)}")
    bright = np.argsort(np.where(seen, truth["r_mag"].to_numpy(), np.inf))[: -(-seen.sum() // 2)]
    chosen = truth.take(evenly(bright, _GALAXIES))
    rows = []
    for name in surveys:
        sample = Sample(sky / name / "sample.parquet")
        survey = space.survey(sample.survey)
        encoder = space.unadapted(survey, sample_bands(sample, survey))
        images, _ = load_images(
            sample, row_numbers(sample, chosen[f"{name}_id"]), encoder, space.frame
        )
        rows.append(to_decals_colour(images, survey, encoder.bands, space.frame).numpy())
    return mosaic(np.concatenate(rows), len(chosen))


def main() -> None:
    """Write the picture, in the format of its name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sky", type=Path)
    parser.add_argument("surveys", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    picture = Image.fromarray(across_surveys(given.sky, given.surveys))
    with atomic_path(given.out) as temporary:
        picture.save(temporary)


if __name__ == "__main__":
    main()

"""Adapt infrared to optical images of one real field of 7 by 15 arcmin, and measure recall.

``python -m benchmarks.real.deep_field DATA`` needs DATA, the folder ``kids_viking_field`` of real
images: one FITS file for each band on one grid, and ``galaxies.csv``. KiDS g, r and VIKING Z are
the anchor, VIKING Y, J and Ks the survey to adapt. The files have no WCS, so the field is placed on
a tangent plane at an arbitrary position. Both surveys share the grid, so their cutouts are centred
alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS

from benchmarks.support.commands import command_parser
from catalogs.matching.pairs import PairedRows
from catalogs.splits import PARTS, SkySplit, recorded_split
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Survey, load_survey
from training.adaptation import AdaptSettings, adapt

__all__ = ["DeepField", "field_positions", "measure_deep_field", "read_deep_field"]

OPTICAL, INFRARED = (
    load_survey(Path(__file__).with_name(f"deep_field_{name}.toml"))
    for name in ("optical", "infrared")
)

_ZEROPOINTS = {"g": 0.0, "r": 0.0, "Z": 30.0, "Y": 30.0, "J": 30.0, "Ks": 30.0}
_PIXELS = 101  # 34 arcsec, the frame's 33 and a margin
_CENTRE_RA_DEC = (180.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class DeepField:
    """Cutouts of the same galaxies in both surveys, and their pairs.

    Attributes
    ----------
    optical, infrared : Sample
        Cutouts [nanomaggy], row by row the same galaxy.
    pairs : pa.Table
        True pairs from optical to infrared.
    """

    optical: Sample
    infrared: Sample
    pairs: pa.Table


def field_positions(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Place pixels of the field on the sky.

    Parameters
    ----------
    x, y : (n,) float array
        Pixel coordinates from 0.
    shape : tuple of int
        Rows and columns of the images.

    Returns
    -------
    ra, dec : (n,) float array [deg]
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = _CENTRE_RA_DEC
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = np.array([-1, 1]) * OPTICAL.pixel_scale_arcsec / 3600
    ra, dec = wcs.pixel_to_world_values(x, y)
    return np.asarray(ra), np.asarray(dec)


def read_deep_field(data: Path, out: Path) -> DeepField:
    """Cut the galaxies of the field, and write the samples of both surveys.

    Parameters
    ----------
    data : path
        Folder of the images and ``galaxies.csv``.
    out : path
        Folder of the samples.

    Raises
    ------
    TableError
        If a file is missing.
    """
    needed = ["galaxies.csv", *(f"{band}.fits.fz" for band in _ZEROPOINTS)]
    if missing := [name for name in needed if not (data / name).is_file()]:
        raise TableError(f"{data}: lacks {', '.join(missing)}; it must hold the field's images")
    galaxies = Table.read(data / "galaxies.csv", format="ascii.csv")
    samples = [_write_sample(data, galaxies, survey, out) for survey in (OPTICAL, INFRARED)]
    ids = samples[0].catalog["object_id"]
    n = len(ids)
    pairs = pa.table(
        {
            "anchor_id": ids,
            "target_id": samples[1].catalog["object_id"],
            "separation_arcsec": np.zeros(n),
            "n_candidates": np.ones(n, np.int32),
            "ambiguous": np.zeros(n, bool),
        }
    )
    return DeepField(optical=samples[0], infrared=samples[1], pairs=pairs)


def measure_deep_field(
    space: LatentSpace, field: DeepField, settings: AdaptSettings | None = None
) -> dict[str, Any]:
    """Adapt the infrared survey and measure the recall of test galaxies.

    Parameters
    ----------
    space : LatentSpace
        Space whose anchor network reads the optical images, un-adapted.
    field : DeepField
        Both samples and their pairs.
    settings : AdaptSettings, optional
        Settings of the adaptation.

    Returns
    -------
    dict
        ``split`` as recorded, galaxies by ``parts``, the ``chosen`` candidate, and ``recall``: one
        row for each pool, latents and encoder.
    """
    anchored = _anchored_on_optical(space)
    adapted = adapt(
        anchored, field.optical, field.infrared, field.pairs, survey=INFRARED, settings=settings
    )
    record = adapted.encoder(INFRARED.name).record
    split = recorded_split(record)
    rows = PairedRows.of(field.pairs, field.optical, field.infrared, split)
    encoders = {
        "un-adapted": anchored.unadapted(INFRARED, INFRARED.band_names),
        "adapted": adapted.encoder(INFRARED.name),
    }
    return {
        "split": split.as_record(),
        "parts": {part: len(rows.only(part)) for part in PARTS},
        "chosen": record["chosen"],
        "recall": list(_recall_rows(anchored, field, rows, encoders)),
    }


def _write_sample(data: Path, galaxies: Table, survey: Survey, out: Path) -> Sample:
    """Write the cutouts of one survey, in nanomaggies, and their table."""
    planes = [_band(data, band) for band in survey.band_names]
    places = list(zip(galaxies["x_px"], galaxies["y_px"], strict=True))
    cutouts = [
        [Cutout2D(plane, place, _PIXELS, mode="partial").data for plane in planes]
        for place in places
    ]
    x, y = np.array(places).T
    ra, dec = field_positions(x, y, planes[0].shape)
    folder, n = ensure_folder(out / survey.name), len(galaxies)
    np.save(folder / "cutouts.npy", np.array(cutouts, np.float32))
    table = {
        "object_id": pa.array([str(name) for name in galaxies["object_id"]]),
        "survey": [survey.name] * n,
        "ra": ra,
        "dec": dec,
        "cutout": [f"cutouts.npy#{row}" for row in range(n)],
        "bands": [",".join(survey.band_names)] * n,
        "r_mag": np.asarray(galaxies["r_mag"], np.float64),
    }
    write_table(pa.table(table), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


def _band(data: Path, band: str) -> np.ndarray:
    """Read an image of the field [nanomaggy]."""
    pixels = fits.getdata(data / f"{band}.fits.fz").astype(np.float32)
    return np.asarray(pixels * 10 ** (0.4 * (NANOMAGGY_ZEROPOINT - _ZEROPOINTS[band])))


def _anchored_on_optical(space: LatentSpace) -> LatentSpace:
    """Return a space whose anchor is the optical survey, read by the same network."""
    encoder = space.unadapted(OPTICAL, OPTICAL.band_names)
    parts = SpaceParts(
        architecture=space.architecture,
        frame=space.frame,
        anchor=OPTICAL.name,
        encoders={OPTICAL.name: encoder},
        decoder=space.decoder,
        training=space.training,
    )
    return LatentSpace(parts)


def _recall_rows(
    space: LatentSpace, field: DeepField, rows: PairedRows, encoders: Mapping[str, SurveyEncoder]
) -> Iterator[dict[str, Any]]:
    """Measure recall of the test galaxies among themselves and in the whole field."""
    own = space.encoder(space.anchor)
    pool = _latents(space, field.optical, rows.anchor, own)
    test = np.flatnonzero(rows.part == "test")
    for name, encoder in encoders.items():
        queries = _latents(space, field.infrared, rows.target[test], encoder)
        for kind, width in (
            ("galaxy", space.galaxy_latents),
            ("all", space.architecture.latents),
        ):
            found = queries[:, :width]
            for among, galaxies, place in (
                ("test", pool[test], np.arange(len(test))),
                ("field", pool, test),
            ):
                ranks = match_ranks(found, galaxies[:, :width], place)
                recall = recall_of(ranks, len(galaxies)).as_dict()
                yield {"encoder": name, "latents": kind, "among": among, **recall}


def _latents(
    space: LatentSpace, sample: Sample, rows: np.ndarray, encoder: SurveyEncoder
) -> np.ndarray:
    images, usable = load_images(sample, rows, encoder, space.frame)
    if not usable.all():
        raise TableError(f"{sample.path}: {int((~usable).sum())} cutouts cannot be used")
    return space.encode(images, encoder).mean.numpy()


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the results as Markdown."""
    parts, split = result["parts"], SkySplit.of_record(result["split"])
    yield (
        f"{sum(parts.values())} galaxies: "
        + ", ".join(f"{number} {part}" for part, number in parts.items())
        + f"; HEALPix order {split.order}, seed {split.seed}. Chosen: {result['chosen']}.\n"
    )
    yield "| latents | encoder | pool | recall@1 | 95% interval | recall@10 | median rank |"
    yield "|---|---|---|---|---|---|---|"
    for row in result["recall"]:
        yield (
            f"| {row['latents']} | {row['encoder']} | {row['pool']} {row['among']} "
            f"| {row['recall_at_1']:.2f} "
            f"| {row['recall_at_1_low']:.2f} to {row['recall_at_1_high']:.2f} "
            f"| {row['recall_at_10']:.2f} | {row['median_rank']:g} |"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("real.deep_field", __doc__)
    parser.add_argument("data", type=Path, help="folder of the field")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--out", type=Path, help="folder that keeps the samples")
    parser.add_argument("--seed", type=int, default=0, help="seed of the adaptation")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print recall."""
    options = _options(arguments)
    space = LatentSpace.load(options.space)
    with tempfile.TemporaryDirectory() as folder:
        field = read_deep_field(options.data, options.out or Path(folder))
        result = measure_deep_field(space, field, AdaptSettings(seed=options.seed))
    sys.stdout.write("\n".join(_lines(result)) + "\n")


if __name__ == "__main__":
    main()

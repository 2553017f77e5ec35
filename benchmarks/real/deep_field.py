"""Search infrared images among optical ones of one real field of 7 by 15 arcmin.

``python -m benchmarks.real.deep_field DATA [--adapt]`` needs DATA, the folder
``kids_viking_field`` of real images: one FITS file for each band on one grid, and ``galaxies.csv``.
KiDS g, r and VIKING Z are one survey, VIKING Y, J and Ks the other, each read by its definition.
The files have no WCS, so the field is placed on a tangent plane at an arbitrary position. Both
surveys share the grid, so their cutouts are centred alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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
from benchmarks.support.tables import print_rows
from catalogs.matching.pairs import PairedRows
from catalogs.splits import recorded_split
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Survey, load_survey
from training.adaptation import AdaptSettings, adapt

OPTICAL, INFRARED = (
    load_survey(Path(__file__).with_name(f"deep_field_{name}.toml"))
    for name in ("optical", "infrared")
)

_ZEROPOINTS = {"g": 0.0, "r": 0.0, "Z": 30.0, "Y": 30.0, "J": 30.0, "Ks": 30.0}
_PIXELS = 397  # 134 arcsec, the wide grid
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


def deep_field_rows(
    space: LatentSpace, field: DeepField, settings: AdaptSettings | None = None
) -> list[dict[str, Any]]:
    """Search the infrared images of all galaxies of the field among the optical ones.

    Both surveys are read by definition. With `settings` the infrared survey is adapted too, and
    its test galaxies alone are searched for. Returns rows of ``latents``, ``encoder``, ``queries``
    and the fields of `evaluation.retrieval.Recall`.
    """
    own = space.by_definition(OPTICAL)
    pool = _latents(space, field.optical, own)
    encoders = {"by definition": space.by_definition(INFRARED)}
    test = np.arange(len(pool))
    if settings is not None:
        anchored = _anchored_on_optical(space, own)
        adapted = adapt(
            anchored, field.optical, field.infrared, field.pairs, survey=INFRARED, settings=settings
        )
        encoders["adapted"] = adapted.encoder(INFRARED.name)
        split = recorded_split(encoders["adapted"].record)
        rows = PairedRows.of(field.pairs, field.optical, field.infrared, split)
        test = rows.only("test").anchor
    found = []
    for name, encoder in encoders.items():
        queries = _latents(space, field.infrared, encoder)[test]
        for kind, width in (("galaxy", space.galaxy_latents), ("all", pool.shape[1])):
            ranks = match_ranks(queries[:, :width], pool[:, :width], test)
            recall = recall_of(ranks, len(pool)).as_dict()
            found.append({"latents": kind, "encoder": name, **recall})
    return found


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


def _anchored_on_optical(space: LatentSpace, optical: SurveyEncoder) -> LatentSpace:
    """Return a space whose anchor is the optical survey, read by the same network."""
    parts = SpaceParts(
        architecture=space.architecture,
        frame=space.frame,
        anchor=OPTICAL.name,
        encoders={OPTICAL.name: optical},
        decoder=space.decoder,
        training=space.training,
    )
    return LatentSpace(parts)


def _latents(space: LatentSpace, sample: Sample, encoder: SurveyEncoder) -> np.ndarray:
    inputs, usable = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    if not usable.all():
        raise TableError(f"{sample.path}: {int((~usable).sum())} cutouts cannot be used")
    return space.encode(inputs, encoder).mean.numpy()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print recall."""
    parser = command_parser("real.deep_field", __doc__)
    parser.add_argument("data", type=Path, help="folder of the field")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--out", type=Path, help="folder that keeps the samples")
    parser.add_argument("--adapt", action="store_true", help="also adapt, and search test galaxies")
    parser.add_argument("--seed", type=int, default=0, help="seed of the adaptation")
    given = parser.parse_args(arguments)
    settings = AdaptSettings(seed=given.seed) if given.adapt else None
    with tempfile.TemporaryDirectory() as folder:
        field = read_deep_field(given.data, given.out or Path(folder))
        rows = deep_field_rows(LatentSpace.load(given.space), field, settings)
    columns = ("latents", "encoder", "queries", "pool", "recall_at_1", "recall_at_1_low",
               "recall_at_1_high", "recall_at_10", "median_rank")  # fmt: skip
    print_rows(
        "Infrared galaxies searched among optical ones",
        [{name: row[name] for name in columns} for row in rows],
    )


if __name__ == "__main__":
    main()

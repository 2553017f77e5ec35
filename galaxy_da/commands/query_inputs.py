"""Read the images, vectors and scores that query verbs take."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.images.scale import at_pixel_scale
from galaxy_da.index import StoredIndex
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location
from galaxy_da.io.tables import read_table

_TYPES = {"survey": pa.string(), "object_id": pa.string(), "score": pa.float64()}


def encode_file(
    image: Location,
    survey: str,
    space: str,
    index: StoredIndex,
    *,
    stretch: str | None = None,
    pixel_scale_arcsec: float | None = None,
) -> np.ndarray:
    """Encode an image file as a query, and return its galaxy latents, (d,) float32.

    `survey` is a name or the path of a TOML definition. `stretch` names the stretch of a colour
    picture, if it is not that of the archive. `pixel_scale_arcsec` is that of an image without WCS,
    by default the survey's. Raises LatentIndexError if the image shows too little, and tells on
    stderr if it has quality flags.
    """
    from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
    from galaxy_da.images.cutouts import read_image
    from galaxy_da.io.samples import Flag
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey

    loaded = LatentSpace.load(space)
    index.check_space(loaded.id)
    own = load_survey(survey) if survey.endswith(".toml") else loaded.survey(survey)
    cutout = at_pixel_scale(read_image(image, own, stretch), pixel_scale_arcsec)
    encoder = SampleEncoder(loaded, [own.name], ExtractSettings(surveys=[own]))
    row = encoder.encode(pa.table({"survey": [own.name]}), [cutout]).to_pylist()[0]
    if row["status"] != "ok":
        raise LatentIndexError(f"{image}: {row['message']}")
    if row["flags"]:
        names = ", ".join(str(flag.name) for flag in Flag(row["flags"]))
        reason = f": {row['domain_reason']}" if row["domain_reason"] else ""
        print(f"note: {image}: flags {row['flags']} ({names}){reason}", file=sys.stderr)
    return np.asarray(row["embedding"], np.float32)


def read_vector(path: Location) -> np.ndarray:
    """Read a latent vector from ``.npy``, or from text with numbers between blanks or lines."""
    try:
        file = local_copy(path)
        read = np.load(file) if file.suffix.lower() == ".npy" else np.loadtxt(file)
        return np.asarray(read, np.float32).ravel()
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: is no vector of numbers ({error})") from error


def read_rows(path: Location) -> pa.Table:
    """Read a Parquet or CSV table of objects, ids as text."""
    try:
        if path.suffix.lower() != ".csv":
            return read_table(path)
        options = pyarrow.csv.ConvertOptions(column_types=_TYPES)
        return pyarrow.csv.read_csv(local_copy(path), convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path}: cannot be read as a table ({error})") from error

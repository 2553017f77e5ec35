"""Thumbnails of galaxies inside a page, in the colours of the Legacy Surveys viewer."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

from galaxy_da.extraction.loading import load_images
from galaxy_da.images.display import to_decals_colour
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.space import SurveyEncoder


def thumbnails(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> list[str | None]:
    """Show cutouts as prepared for an encoder, each as a PNG inside a ``data:`` URI.

    Rows may repeat, and are -1 for no row. Without a usable cutout, the picture is None.
    """
    pictures: list[str | None] = [None] * len(rows)
    present = np.flatnonzero(rows >= 0)
    inputs, usable = load_images(sample, rows[present], encoder, frame)
    uris = to_data_uris(to_decals_colour(inputs.images, encoder.survey, encoder.bands, frame))
    for place, uri, good in zip(present, uris, usable, strict=True):
        pictures[place] = uri if good else None
    return pictures


def to_data_uris(pictures: Tensor) -> list[str]:
    """Encode (n, y, x, 3) uint8 pictures as PNG files inside ``data:`` URIs."""
    return [_to_data_uri(picture) for picture in pictures.numpy()]


def _to_data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

"""Sample tables of scenes, from images whose position or pixel scale is not known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from hashlib import sha256
from zlib import crc32

import numpy as np
import pyarrow as pa
from PIL import Image

from catalogs.simulation.distributions import draw_positions


def scene_table(images: pa.Table, pixel_scale_arcsec: float) -> pa.Table:
    """Return a sample table of images of galaxies that `ScenePool.open` can read.

    A galaxy without a position gets a random one, always the same for its `object_id`, so that
    splits by position keep scenes apart. Images that occur twice are left out.

    Parameters
    ----------
    images : pa.Table
        Columns ``object_id``, ``survey``, ``image``; kept with all others.
    pixel_scale_arcsec : float
        Assumed side of a pixel [arcsec], where the table has none. Scenes are drawn at a random
        apparent size, so it matters only to how far they are shrunk.
    """
    pixels = [_pixels(image) for image in images["image"].to_pylist()]
    _, rows = np.unique(pixels, return_index=True)
    table = images.take(pa.array(np.sort(rows))).replace_schema_metadata(None)
    if "ra" not in table.column_names:
        places = positions_by_id(table["object_id"].to_pylist())
        for name, values in zip(("ra", "dec"), places, strict=True):
            table = table.append_column(name, pa.array(values))
    if "pixel_scale_arcsec" not in table.column_names:
        scale = pa.array(np.full(table.num_rows, pixel_scale_arcsec))
        table = table.append_column("pixel_scale_arcsec", scale)
    return table


def positions_by_id(ids: Sequence[str]) -> np.ndarray:
    """Return a random ra and dec for each id, always the same, (2, n) [ICRS deg]."""
    seeds = [crc32(name.encode()) for name in ids]
    places = [draw_positions(1, np.random.default_rng(seed)) for seed in seeds]
    return np.array(places).reshape(-1, 2).T


def _pixels(image: bytes) -> bytes:
    """Return a digest of the pixels of a JPEG or PNG file."""
    with Image.open(io.BytesIO(image)) as opened:
        return sha256(opened.convert("RGB").tobytes()).digest()

"""Mosaics and animations of galaxies as WebP inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.anchor.charts import shade
from evaluation.reports.pictures import to_decals_colour
from galaxy_da.space import LatentSpace

__all__ = ["colours", "heat", "mosaic", "moving", "residual_colours", "still"]

_SKY = (10, 11, 15)
_QUALITY = 88  # of a still picture
_MOVING_QUALITY = 72
_SIDE = 4  # pixels per bin of a heat map

# Blue through black to orange, as (position, red, green, blue).
_DIVERGING = np.array(
    [
        (0.0, 168, 214, 255),
        (0.25, 46, 118, 190),
        (0.5, 14, 15, 19),
        (0.75, 196, 92, 34),
        (1.0, 255, 221, 160),
    ]
)


def colours(space: LatentSpace, images: Tensor) -> np.ndarray:
    """Return images of the anchor, observed or decoded, as (n, y, x, 3) uint8 pictures."""
    survey = space.encoder(space.anchor).survey
    return np.asarray(to_decals_colour(images, survey, space.frame.bands, space.frame).numpy())


def residual_colours(residual: Tensor, full_scale: float) -> np.ndarray:
    """Return residuals, averaged over bands, as colours: blue below, orange above zero.

    Parameters
    ----------
    residual : (n, bands, y, x) float tensor
        In asinh units.
    full_scale : float
        Absolute value at which the colours end.

    Returns
    -------
    (n, y, x, 3) uint8 array
        The first row is the northernmost.
    """
    value = residual.mean(1).flip(1).numpy() / (2 * full_scale) + 0.5
    planes = [np.interp(value, _DIVERGING[:, 0], _DIVERGING[:, k]) for k in (1, 2, 3)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def mosaic(pictures: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Arrange pictures in rows.

    Parameters
    ----------
    pictures : (n, y, x, 3) uint8 array
        Pictures in reading order; the last row is filled up with dark sky.
    columns : int
        Number of pictures in a row.
    gap : int
        Gap between pictures [pixel].

    Returns
    -------
    (height, width, 3) uint8 array
    """
    n, y, x, _ = pictures.shape
    rows = -(-n // columns)
    tiles = np.full((rows * columns, y + gap, x + gap, 3), _SKY, np.uint8)
    tiles[:n, :y, :x] = pictures
    whole = tiles.reshape(rows, columns, y + gap, x + gap, 3).swapaxes(1, 2)
    return whole.reshape(rows * (y + gap), -1, 3)[
        : rows * (y + gap) - gap, : columns * (x + gap) - gap
    ]


def still(picture: np.ndarray) -> str:
    """Encode a (y, x, 3) uint8 picture as WebP inside a ``data:`` URI."""
    return _webp([Image.fromarray(picture)], quality=_QUALITY, method=4)


def moving(frames: np.ndarray, milliseconds: int, *, there_and_back: bool = False) -> str:
    """Encode (t, y, x, 3) uint8 frames as an endless animated WebP inside a ``data:`` URI.

    Parameters
    ----------
    frames : (t, y, x, 3) uint8 array
        Frames in order.
    milliseconds : int
        Duration of a frame [ms].
    there_and_back : bool
        Play the frames backwards as well.
    """
    played = [*frames, *frames[-2:0:-1]] if there_and_back else [*frames]
    pictures = [Image.fromarray(frame) for frame in played]
    return _webp(
        pictures,
        save_all=True,
        append_images=pictures[1:],
        duration=milliseconds,
        loop=0,
        quality=_MOVING_QUALITY,
        method=2,
    )


def heat(counts: np.ndarray) -> str:
    """Draw a (bins, bins) density as a small picture, coloured by its square root."""
    share = np.sqrt(counts / max(counts.max(), 1e-12))
    return still(shade(share).repeat(_SIDE, 0).repeat(_SIDE, 1))


def _webp(pictures: Sequence[Image.Image], **settings: object) -> str:
    buffer = io.BytesIO()
    pictures[0].save(buffer, "webp", **settings)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

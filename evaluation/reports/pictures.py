"""Pictures small enough to live inside a page: galaxies in one set of colours, distances as curves.

Every survey is shown in the colours of the Legacy Surveys viewer, so that a galaxy keeps its hue
and brightness wherever it was observed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from galaxy_da.extraction.loading import load_images
from galaxy_da.images.display import to_decals_colour
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.space import SurveyEncoder

__all__ = ["histogram", "thumbnails", "to_data_uris", "to_decals_colour"]


def thumbnails(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> list[str | None]:
    """Show cutouts as an encoder is given them, in the frame.

    Parameters
    ----------
    sample : Sample
        One survey's cutouts.
    rows : (n,) int array
        Row numbers; may repeat; -1 where there is no row.
    encoder : SurveyEncoder
        Of that survey.
    frame : Frame
        What is shown of the sky.

    Returns
    -------
    list of str or None
        A PNG inside a ``data:`` URI for each row; None where there is no usable cutout.
    """
    pictures: list[str | None] = [None] * len(rows)
    present = np.flatnonzero(rows >= 0)
    images, usable = load_images(sample, rows[present], encoder, frame)
    uris = to_data_uris(to_decals_colour(images, encoder.survey, encoder.bands, frame))
    for place, uri, good in zip(present, uris, usable, strict=True):
        pictures[place] = uri if good else None
    return pictures


def to_data_uris(pictures: Tensor) -> list[str]:
    """Encode (n, y, x, 3) uint8 pictures as PNG files inside ``data:`` URIs."""
    return [_to_data_uri(picture) for picture in pictures.numpy()]


def histogram(
    samples: Sequence[np.ndarray], edges: np.ndarray, width: float, height: float
) -> list[str]:
    """Draw histograms on common axes, each as an SVG polygon standing on the lower edge.

    Parameters
    ----------
    samples : sequence of (n,) float arrays
        What to count. Each has the same area, whatever its n.
    edges : (bins + 1,) float array
        Of equal bins; values beyond them are not drawn.
    width, height : float
        Of the drawing; the highest bin of all reaches the upper edge.

    Returns
    -------
    list of str
        ``points`` of each polygon, the origin in the upper left.
    """
    shares = np.stack([np.histogram(values, edges)[0] / len(values) for values in samples])
    x = np.repeat(np.linspace(0, width, len(edges)), 2)
    tops = np.pad(np.repeat(shares / max(shares.max(), 1e-12), 2, axis=1), ((0, 0), (1, 1)))
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, height * (1 - top), strict=True))
        for top in tops
    ]


def _to_data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

"""Pictures small enough to live inside a page: galaxies in one set of colours, distances as curves.

Every survey is shown in the colours of the Legacy Surveys viewer, so that a galaxy keeps its hue
and brightness wherever it was observed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from galaxy_da.images import Frame
from galaxy_da.loading import load_images
from galaxy_da.space import SurveyEncoder
from galaxy_da.stretches import apply_stretch
from galaxy_da.surveys import Survey, get_survey
from galaxy_da.tables import Sample

__all__ = ["histogram", "thumbnails", "to_data_uris", "to_decals_colour"]

_COLOURS_OF = "decals"
_SMOOTHING_PX = 1.5
_SIGMA_PER_MEDIAN = 1.4826  # of the absolute value of Gaussian noise


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


def to_decals_colour(images: Tensor, survey: Survey, bands: Sequence[str], frame: Frame) -> Tensor:
    """Show prepared images of any survey in the colours of DECaLS.

    Each plane shows the survey's band nearest in wavelength, its factor interpolated to that
    wavelength, so a single band comes out grey. Where the light is below the noise of a pixel,
    colour would be noise alone: there the picture fades to the planes' inverse-variance mean.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        As `galaxy_da.images.prepare` makes them.
    survey : Survey
        What they are of.
    bands : sequence of str
        The survey's bands, in order.
    frame : Frame
        Their frame.

    Returns
    -------
    (n, y, x, 3) uint8 tensor
        The first row is the northernmost, as pictures are drawn.
    """
    like = get_survey(_COLOURS_OF)
    stretch = like.stretch
    assert stretch is not None
    wanted_nm = [like.band(name).wavelength_nm for name in stretch.planes]
    shown = [survey.nearest_band(nm, among=tuple(bands)) for nm in wanted_nm]
    shown_nm = [band.wavelength_nm for band in shown]
    softening = images.new_tensor([frame.softening_at(nm) for nm in shown_nm])
    brightness = torch.sinh(images[:, [bands.index(band.name) for band in shown]])
    flux = brightness * softening[:, None, None] * stretch.pixel_scale_arcsec**2
    ascending = np.argsort(wanted_nm)
    scales = np.interp(
        shown_nm, np.array(wanted_nm)[ascending], np.array(stretch.scales)[ascending]
    )
    factors = flux.new_tensor(scales)[:, None, None]
    fitted = stretch.model_copy(update={"scales": tuple(scales.tolist())})
    colour = apply_stretch(_without_colour_noise(flux * factors) / factors, fitted)
    return colour.flip(2).movedim(1, -1)


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


def _without_colour_noise(planes: Tensor) -> Tensor:
    """Fade (n, 3, y, x) planes to grey where their mean is below the noise."""
    smooth = torch.from_numpy(gaussian_filter(planes.numpy(), (0, 0, *(_SMOOTHING_PX,) * 2)))
    rough = (planes - smooth).abs().flatten(2).median(2).values * _SIGMA_PER_MEDIAN
    variance = rough.square().clamp_min(1e-8)[..., None, None]
    grey = (planes / variance).sum(1, keepdim=True) / (1 / variance).sum(1, keepdim=True)
    light = smooth.mean(1, keepdim=True).clamp_min(0).square()
    return grey + light / (light + variance.mean(1, keepdim=True)) * (planes - grey)


def _to_data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

"""Read real images as scenes: choose usable ones, cut out their galaxies, and clean them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from scipy import ndimage
from torch import Tensor

from galaxy_da.errors import CutoutError, TableError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.images.resampling import resample
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import Survey

SIDE = 128  # side of a scene [pixel]
_READ_ROWS = 64
_R_NM = 642.0
_DETECTION_SIGMA, _CERTAIN_SIGMA = 2.5, 5.0
_SMOOTHING_PX, _TAPER_PX = 2.0, 4.0
_MAX_SATURATED = 0.01  # of the galaxy's pixels
_MAX_ON_BORDER = 0.03  # of the galaxy's light
_MAX_FALL = 0.07  # of the galaxy's mean brightness, across the border; a sky is flat
_MIN_PIXELS = 50
_MAX_HALF_LIGHT = 0.22  # over the width of the galaxy; more where a star beside it outshines it


@dataclass(frozen=True, kw_only=True)
class SceneImages:
    """Images of galaxies without their surroundings."""

    rows: np.ndarray  # (scenes,) rows of the sample table
    stamps: Tensor  # (scenes, bands, 128, 128) float16 brightness over total flux [1 / arcsec^2]
    pixel_arcsec: np.ndarray  # (scenes,)
    flux: np.ndarray  # (scenes, bands) total flux of the galaxy [nanomaggy]
    wavelengths_nm: np.ndarray  # (bands,) ascending
    half_light_arcsec: np.ndarray  # (scenes,) circle of half the flux in the band nearest to r


def read_scenes(sample: Sample, survey: Survey, limit: int) -> SceneImages:
    """Read the usable images among `limit` rows of a sample table, always the same random ones.

    TableError is raised if no image is usable.
    """
    inspected = np.random.default_rng(0).permutation(len(sample))[:limit]
    wanted = np.isin(np.arange(len(sample)), inspected)
    bands: tuple[str, ...] = ()
    parts: list[SceneImages] = []
    start = 0
    for batch in sample.batches(_READ_ROWS * len(sample) // max(len(inspected), 1)):
        rows = start + np.flatnonzero(wanted[start : start + batch.num_rows])
        cutouts = read_cutouts(batch.take(pa.array(rows - start)), sample.folder, survey)
        start += batch.num_rows
        bands = bands or _bands_by_wavelength(cutouts, survey)
        parts += _cut_out(rows, cutouts, survey, bands)
    if not sum(len(part.rows) for part in parts):
        raise TableError(
            f"{sample.path}: none of {len(inspected)} images can be a scene; a scene needs a "
            "resolved, unsaturated galaxy that ends well within its image"
        )
    stamps = torch.cat([part.stamps for part in parts])
    names = ("rows", "pixel_arcsec", "flux", "half_light_arcsec")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return SceneImages(stamps=stamps, wavelengths_nm=_wavelengths(survey, bands), **columns)


def _cut_out(
    rows: np.ndarray,
    cutouts: Sequence[Cutout | CutoutError],
    survey: Survey,
    bands: tuple[str, ...],
) -> Iterator[SceneImages]:
    """Cut the middle galaxies out of images, grouped by shape and bands."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        if isinstance(cutout, Cutout) and sorted(cutout.bands) == sorted(bands):
            key = (cutout.pixels.shape, cutout.bands, cutout.stretch)
            groups.setdefault(key, []).append(i)
    r_band = bands.index(survey.nearest_band(_R_NM, bands).name) if bands else 0
    for members in groups.values():
        group = [cutout for i in members if isinstance(cutout := cutouts[i], Cutout)]
        light, pixel, good = _clean(group, survey, bands)
        light, pixel = light[good], pixel[good]
        flux = light.sum((2, 3)) * pixel[:, None] ** 2
        yield SceneImages(
            rows=rows[members][good.numpy()],
            stamps=(light / flux[..., None, None]).half(),
            pixel_arcsec=pixel.numpy(),
            flux=flux.double().numpy(),
            wavelengths_nm=_wavelengths(survey, bands),
            half_light_arcsec=(_half_light(light[:, r_band]) * pixel).double().numpy(),
        )


def _clean(
    group: Sequence[Cutout], survey: Survey, bands: tuple[str, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Surface brightness of the galaxies alone, pixel scales, and a mask of the usable ones.

    The border's median is the sky. Pixels connected to the middle above the detection limit are
    kept, and smoothed and faded where they are hardly detected.
    """
    raw = to_surface_brightness(group, survey)[:, [group[0].bands.index(name) for name in bands]]
    missing = ~torch.isfinite(raw)
    full = np.stack([(c.stretch is not None) & (c.pixels == 255).any(0) for c in group])
    centre = torch.tensor([c.centre_xy for c in group])
    pixel = torch.tensor([c.pixel_scale_arcsec for c in group], dtype=torch.float32)
    sky = _border(raw).nanmedian(-1).values[..., None, None]
    light = torch.where(missing, 0.0, raw - sky)
    fall = _border(light, inset=1).median(-1).values - _border(light).median(-1).values
    detection = _signal_to_noise(light)
    inside = _around(centre, detection > _DETECTION_SIGMA)
    certain = (detection**2 / (detection**2 + _CERTAIN_SIGMA**2))[:, None]
    light = torch.lerp(_smooth(light, _TAPER_PX), light, certain) * certain
    light *= (2 * _smooth(inside.float()[:, None], _TAPER_PX)).clamp_max(1)
    good = _usable(inside, missing.any(1), torch.from_numpy(full), light, fall)
    light *= _fade(light.shape[-2])[:, None] * _fade(light.shape[-1])
    width = _width(inside, centre)
    ratio = (width / SIDE).clamp(1, max(1.0, max(light.shape[2:]) / SIDE))
    light = resample(light, SIDE, ratio, (centre[:, 0], centre[:, 1]))
    good &= _half_light(light.mean(1)) * ratio < _MAX_HALF_LIGHT * width
    return light, pixel * ratio, good


def _signal_to_noise(light: Tensor) -> Tensor:
    """(m, y, x) bands stacked and smoothed, over the noise of the border."""
    noise = _border(light).abs().median(-1).values.clamp_min(1e-6)
    stacked = _smooth((light / noise[..., None, None]).mean(1, keepdim=True), _SMOOTHING_PX)
    sigma = SIGMA_PER_MAD * _border(stacked).abs().median(-1).values.clamp_min(1e-6)
    return (stacked / sigma[..., None, None])[:, 0]


def _around(centre_xy: Tensor, above: Tensor) -> Tensor:
    """Keep the pixels that are connected to the one at (m, 2) coordinates."""
    within_image = np.zeros((3, 3, 3), int)
    within_image[1] = ndimage.generate_binary_structure(2, 1)
    labels, _ = ndimage.label(above.numpy(), within_image)
    x, y = centre_xy.round().long().T.numpy()
    label = labels[np.arange(len(labels)), y, x][:, None, None]
    return torch.from_numpy((labels == label) & (label > 0))


def _width(inside: Tensor, centre_xy: Tensor) -> Tensor:
    """(m,) sides of the squares around the centres that hold the kept pixels and their taper."""
    apart = [
        (torch.arange(inside.shape[axis]) - centre_xy[:, 2 - axis, None]).abs() for axis in (1, 2)
    ]
    reach = [(distance * inside.any(3 - axis)).amax(1) for axis, distance in enumerate(apart, 1)]
    return 2 * (torch.maximum(*reach) + 2 * _TAPER_PX) + 1


def _usable(inside: Tensor, missing: Tensor, full: Tensor, light: Tensor, fall: Tensor) -> Tensor:
    pixels = inside.sum((1, 2))
    holes = (inside & missing).flatten(1).any(1)
    saturated = (inside & full).sum((1, 2)) > _MAX_SATURATED * pixels
    total = light.sum((2, 3))
    cut_off = (_border(light).sum(2) > _MAX_ON_BORDER * total).any(1)
    larger = (fall * pixels[:, None] / total).mean(1) > _MAX_FALL
    dark = (total <= 0).any(1)
    return (pixels >= _MIN_PIXELS) & ~(holes | saturated | cut_off | larger | dark)


def _half_light(light: Tensor) -> Tensor:
    """(m,) radii about the middle that hold half of (m, side, side) light [pixel]."""
    along = torch.arange(SIDE) - (SIDE - 1) / 2
    radius, order = torch.hypot(along[:, None], along).flatten().sort()
    grown = light.flatten(1)[:, order].cumsum(1)
    return radius[(grown < grown[:, -1:] / 2).sum(1)]


def _smooth(image: Tensor, sigma: float) -> Tensor:
    """Convolve (..., y, x) images with a round Gaussian [pixel]; beyond the border lies zero.

    `scipy.ndimage.gaussian_filter` has other weights, which would change the sky of a seed.
    """

    def weights(size: int) -> Tensor:
        apart = (torch.arange(size)[:, None] - torch.arange(size)) / sigma
        kernel = torch.exp(-0.5 * apart**2) / (sigma * math.sqrt(2 * math.pi))
        return torch.where(apart.abs() < 4, kernel, 0.0)  # denormal numbers are slow

    return weights(image.shape[-2]) @ image @ weights(image.shape[-1])


def _fade(size: int) -> Tensor:
    """(size,) weights that fall to zero within the taper of either end."""
    from_end = torch.arange(size) + 0.5
    return (torch.minimum(from_end, from_end.flip(0)) / _TAPER_PX / 2).clamp_max(1)


def _border(image: Tensor, inset: int = 0) -> Tensor:
    """(..., pixels) values of a frame a twentieth of the side wide, some widths from the edge."""
    wide = max(min(image.shape[-2:]) // 20, 1)
    cut = inset * wide
    image = image[..., cut : image.shape[-2] - cut, cut : image.shape[-1] - cut]
    ring = torch.ones(image.shape[-2:], dtype=torch.bool)
    ring[wide:-wide, wide:-wide] = False
    return image[..., ring]


def _wavelengths(survey: Survey, bands: tuple[str, ...]) -> np.ndarray:
    return np.array([survey.band(name).wavelength_nm for name in bands])


def _bands_by_wavelength(
    cutouts: Sequence[Cutout | CutoutError], survey: Survey
) -> tuple[str, ...]:
    """Bands of the first image that can be read."""
    first = next((cutout for cutout in cutouts if isinstance(cutout, Cutout)), None)
    names = first.bands if first else ()
    return tuple(sorted(names, key=lambda name: survey.band(name).wavelength_nm))

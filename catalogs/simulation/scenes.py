"""Real galaxies as scenes for the simulated sky.

A well-resolved image is moved to a smaller apparent size, as FERENGI does (Barden et al. 2008,
ApJS 175, 105), so that its own PSF and noise shrink below those of the surveys that then observe
it. Each scene is cut out of its surroundings, turned, mirrored, shrunk and dimmed; other scenes
stand in for its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from astropy import units
from astropy_healpix import HEALPix
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from catalogs.simulation.galaxies import (
    MAGNITUDES,
    draw_companions,
    draw_magnitudes,
    typical_half_light,
)
from catalogs.simulation.observing import Modes, Sky
from galaxy_da.errors import CutoutError, TableError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.images.resampling import resample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import Sample
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Survey, get_survey

__all__ = ["DrawnScenes", "ScenePool"]

MAX_SCENES = 8_000
"""Most scenes a pool holds; each takes 32 KiB a band."""

SHRINK = (2.0, 5.0)
"""Range of the reduction in apparent size."""

_NEIGHBOUR_SHRINK = (2.0, 12.0)
_SIDE = 128
_CELL_NSIDE = 256
_READ_ROWS, _AT_A_TIME = 64, 32
_G_NM, _R_NM, _Z_NM = 481.0, 642.0, 925.0
_SLOPES = (-0.5, 2.5)  # limits of d ln flux / d ln wavelength beyond the bands
_TYPICAL_SLOPE = 1.0
_DETECTION_SIGMA, _CERTAIN_SIGMA = 2.5, 5.0
_SMOOTHING_PX, _TAPER_PX = 2.0, 4.0
_MAX_SATURATED = 0.01  # of the galaxy's pixels
_MAX_ON_BORDER = 0.03  # of the galaxy's light
_MAX_FALL = 0.07  # of the galaxy's mean brightness, across the border; a sky is flat
_MIN_PIXELS = 50


@dataclass(frozen=True)
class ScenePool:
    """Images good enough to be scenes, cut out and cleaned.

    Attributes
    ----------
    scene_id : (scenes,) object array
        `object_id` of the image.
    ra, dec : (scenes,) float array [ICRS deg]
    stamps : (scenes, bands, 128, 128) float16 tensor [1 / arcsec^2]
        Surface brightness over total flux.
    pixel_arcsec : (scenes,) float array
        Side of their pixels.
    wavelengths_nm : (bands,) float array
        Ascending.
    flux : (scenes, bands) float array [nanomaggy]
        Total flux of the cut-out galaxy.
    half_light_arcsec : (scenes,) float array
        Radius of the circle that holds half of it, in the band nearest to r.
    """

    scene_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    stamps: Tensor
    pixel_arcsec: np.ndarray
    wavelengths_nm: np.ndarray
    flux: np.ndarray
    half_light_arcsec: np.ndarray

    @classmethod
    def open(
        cls, path: PathOrUrl, *, limit: int = MAX_SCENES, survey: Survey | None = None
    ) -> ScenePool:
        """Read a sample table and keep the images that can be scenes.

        Images are left out where the galaxy is not detected, runs over the edge, is saturated, has
        pixels that are not finite, or is smaller than 50 pixels; and where they have other bands
        than the first.

        Parameters
        ----------
        path : path
            Sample table with images of one survey.
        limit : int
            Look at no more than so many rows, chosen at random (always the same).
        survey : Survey, optional
            What the images are of; by default the built-in survey the table names.

        Raises
        ------
        TableError
            If the table breaks its contract or no image in it will do.
        SurveyError
            If its survey is unknown, or its colour images have no documented stretch.
        """
        sample = Sample(path)
        survey = survey or get_survey(sample.survey)
        inspected = np.random.default_rng(0).permutation(len(sample))[: min(limit, MAX_SCENES)]
        wanted = np.isin(np.arange(len(sample)), inspected)
        bands: tuple[str, ...] = ()
        found: list[_Cut] = []
        start = 0
        for batch in sample.batches(_READ_ROWS * len(sample) // max(len(inspected), 1)):
            rows = start + np.flatnonzero(wanted[start : start + batch.num_rows])
            cutouts = read_cutouts(batch.take(pa.array(rows - start)), sample.folder, survey)
            start += batch.num_rows
            bands = bands or _bands_by_wavelength(cutouts, survey)
            found += _cut_out(rows, cutouts, survey, bands)
        if not sum(len(cut.rows) for cut in found):
            raise TableError(
                f"{path}: none of {len(inspected)} images can be a scene; a scene needs a "
                "resolved, unsaturated galaxy that ends well within its image"
            )
        rows = np.concatenate([cut.rows for cut in found])
        return cls(
            scene_id=np.array(sample.catalog["object_id"].take(pa.array(rows)).to_pylist(), object),
            ra=sample.catalog["ra"].to_numpy()[rows],
            dec=sample.catalog["dec"].to_numpy()[rows],
            stamps=torch.cat([cut.stamps for cut in found]),
            pixel_arcsec=np.concatenate([cut.pixel_arcsec for cut in found]),
            wavelengths_nm=np.array([survey.band(name).wavelength_nm for name in bands]),
            flux=np.concatenate([cut.flux for cut in found]),
            half_light_arcsec=np.concatenate([cut.half_light_arcsec for cut in found]),
        )

    def __len__(self) -> int:
        return len(self.scene_id)

    def draw(
        self, n: int, rng: np.random.Generator, magnitudes: tuple[float, float] = MAGNITUDES
    ) -> DrawnScenes:
        """Draw n galaxies and their neighbours from the scenes, with replacement.

        r magnitudes, within a range, and radii follow the parametric galaxies; a scene is shrunk
        towards the radius within `SHRINK`. Positions are random within the scene's HEALPix cell
        (nside 256), so that a split of the sky into such cells or larger also separates the scenes.
        """
        main = self._draw_scenes(draw_magnitudes(n, rng, magnitudes), SHRINK, rng)
        places = draw_companions(main["r_mag"], main["half_light_arcsec"], rng)
        near = self._draw_scenes(places["r_mag"], _NEIGHBOUR_SHRINK, rng)
        scene = main["scene"]
        ra, dec = _same_cell(self.ra[scene], self.dec[scene], rng)
        g, r = (self.colours[scene] @ self.node_weights([_G_NM, _R_NM]).T).T
        truth = {
            "ra": ra,
            "dec": dec,
            "scene_id": self.scene_id[scene],
            **main,
            "g_minus_r": -2.5 * np.log10(g / r),
            "n_neighbours": np.bincount(places["host"], minlength=n),
        }
        return DrawnScenes(self, pa.table(truth), pa.table({**near, **places}))

    @cached_property
    def nodes(self) -> np.ndarray:
        """(nodes,) wavelengths at which scenes are known: the bands', extended to cover g to z."""
        have = self.wavelengths_nm
        return np.unique([*have, min(_G_NM, have[0]), max(_Z_NM, have[-1])])

    @cached_property
    def node_bands(self) -> np.ndarray:
        """(nodes,) number of the band whose image stands for each node."""
        return np.asarray(np.abs(self.nodes[:, None] - self.wavelengths_nm).argmin(1))

    @cached_property
    def colours(self) -> np.ndarray:
        """(scenes, nodes) flux over that at 642 nm; beyond the bands, along the scene's colour."""
        have, nearest = self.wavelengths_nm, self.node_bands
        slope = np.full((len(self), len(self.nodes)), _TYPICAL_SLOPE)
        if len(have) > 1:
            colour = np.diff(np.log(self.flux), axis=1) / np.diff(np.log(have))
            slope = np.clip(colour[:, np.minimum(nearest, len(have) - 2)], *_SLOPES)
        flux = self.flux[:, nearest] * (self.nodes / have[nearest]) ** slope
        return np.asarray(flux / (flux @ self.node_weights([_R_NM]).T))

    def node_weights(self, wavelengths_nm: Sequence[float]) -> np.ndarray:
        """(wavelengths, nodes) weights that interpolate linearly between the nodes."""
        wanted = np.asarray(wavelengths_nm, dtype=float)
        inside = np.clip(wanted, self.nodes[0], self.nodes[-1])
        unit = np.eye(len(self.nodes))
        hats = np.stack([np.interp(inside, self.nodes, row) for row in unit], axis=-1)
        return np.asarray(hats * ((wanted / inside) ** _TYPICAL_SLOPE)[:, None])

    def _draw_scenes(
        self, r_mag: np.ndarray, shrink: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        scene = rng.integers(len(self), size=len(r_mag))
        radius = self.half_light_arcsec[scene]
        factor = np.clip(radius / typical_half_light(r_mag, rng), *shrink)
        return {
            "scene": scene,
            "r_mag": r_mag,
            "half_light_arcsec": radius / factor,
            "shrink": factor,
            "angle_deg": rng.uniform(0, 360, len(r_mag)),
            "mirrored": rng.random(len(r_mag)) < 0.5,
        }


@dataclass(frozen=True)
class DrawnScenes:
    """Real galaxies to be rendered.

    Attributes
    ----------
    pool : ScenePool
        Where their pixels come from.
    truth : pa.Table
        One row per galaxy: ``ra``, ``dec`` [ICRS deg], ``scene_id`` (`object_id` of the image),
        ``r_mag`` (the galaxy alone), ``half_light_arcsec``, ``shrink``, ``angle_deg``,
        ``mirrored``, ``g_minus_r``, ``n_neighbours``.
    neighbours : pa.Table
        Other scenes in the same patches, with ``host`` (row of `truth`), ``east_arcsec`` and
        ``north_arcsec``.
    """

    pool: ScenePool
    truth: pa.Table
    neighbours: pa.Table

    def render(self, modes: Modes) -> Sky:
        """Turn, shrink and dim the scenes and write the patches as spatial spectra.

        Parameters
        ----------
        modes : Modes
            Frequencies to fill.

        Returns
        -------
        Sky
            One component per node of the pool's wavelengths.
        """
        n, pool = self.truth.num_rows, self.pool
        column = {
            name: np.concatenate([self.truth[name].to_numpy(), self.neighbours[name].to_numpy()])
            for name in ("scene", "r_mag", "shrink", "angle_deg", "mirrored")
        }
        near = [self.neighbours[name].to_numpy() for name in ("east_arcsec", "north_arcsec")]
        offset = np.pad(np.stack(near), ((0, 0), (n, 0)))
        host = np.concatenate([np.arange(n), self.neighbours["host"].to_numpy()])
        images = torch.zeros(n, len(pool.nodes), modes.side, modes.side)
        for rows in np.array_split(np.arange(len(host)), -(-len(host) // _AT_A_TIME)):
            part = {name: values[rows] for name, values in column.items()}
            placed = _place(pool, modes, part, offset[:, rows])
            images.index_add_(0, torch.from_numpy(host[rows]), placed)
        return Sky(modes.spectrum(images), modes, lambda wanted: _tensor(pool.node_weights(wanted)))


def _place(
    pool: ScenePool, modes: Modes, column: dict[str, np.ndarray], offset: np.ndarray
) -> Tensor:
    """(m, nodes, side, side) surface brightness of scenes at (2, m) offsets on the real grid."""
    scene = column["scene"]
    stamps = pool.stamps[torch.from_numpy(scene)].float()
    rotated = _rotate(stamps, column["angle_deg"], column["mirrored"])
    shrunk = column["shrink"] / pool.pixel_arcsec[scene]  # stamp pixels per arcsec
    east, north = _tensor((_SIDE - 1) / 2 - offset * shrunk)
    flux = 10 ** (0.4 * (NANOMAGGY_ZEROPOINT - column["r_mag"])) * column["shrink"] ** 2
    planes = rotated[:, pool.node_bands]
    planes *= _tensor(flux[:, None] * pool.colours[scene])[:, :, None, None]
    return resample(planes, modes.side, _tensor(shrunk * modes.pixel_arcsec), (east, north))


@dataclass(frozen=True)
class _Cut:
    """Usable scenes from equal images; fields as in `ScenePool`."""

    rows: np.ndarray
    stamps: Tensor
    pixel_arcsec: np.ndarray
    flux: np.ndarray
    half_light_arcsec: np.ndarray


def _cut_out(
    rows: np.ndarray,
    cutouts: Sequence[Cutout | CutoutError],
    survey: Survey,
    bands: tuple[str, ...],
) -> Iterator[_Cut]:
    """Cut the middle galaxies out of images, those of one kind at a time."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        if isinstance(cutout, Cutout) and sorted(cutout.bands) == sorted(bands):
            key = (cutout.pixels.shape, cutout.bands, cutout.is_colour)
            groups.setdefault(key, []).append(i)
    r_band = bands.index(survey.nearest_band(_R_NM, bands).name) if bands else 0
    for members in groups.values():
        group = [cutout for i in members if isinstance(cutout := cutouts[i], Cutout)]
        light, pixel, good = _clean(group, survey, bands)
        light, pixel = light[good], pixel[good]
        flux = light.sum((2, 3)) * pixel[:, None] ** 2
        yield _Cut(
            rows=rows[members][good.numpy()],
            stamps=(light / flux[..., None, None]).half(),
            pixel_arcsec=pixel.numpy(),
            flux=flux.double().numpy(),
            half_light_arcsec=(_half_light(light[:, r_band]) * pixel).double().numpy(),
        )


def _clean(
    group: Sequence[Cutout], survey: Survey, bands: tuple[str, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Surface brightness of the galaxies alone, pixel scales, and which can be scenes.

    The border's median is the sky. What is connected to the middle above the detection limit is
    kept, smoothed and faded where it is hardly detected.
    """
    raw = to_surface_brightness(group, survey)[:, [group[0].bands.index(name) for name in bands]]
    missing = ~torch.isfinite(raw)
    full = np.stack([c.is_colour & (c.pixels == 255).any(0) for c in group])
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
    ratio = max(1.0, max(light.shape[2:]) / _SIDE)
    light = resample(light, _SIDE, ratio, (centre[:, 0], centre[:, 1]))
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
    along = torch.arange(_SIDE) - (_SIDE - 1) / 2
    radius, order = torch.hypot(along[:, None], along).flatten().sort()
    grown = light.flatten(1)[:, order].cumsum(1)
    return radius[(grown < grown[:, -1:] / 2).sum(1)]


def _rotate(stamps: Tensor, angle_deg: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Rotate (m, bands, side, side) stamps about the middle, and mirror some."""
    angle, sign = torch.deg2rad(_tensor(angle_deg)), torch.where(torch.as_tensor(mirrored), -1, 1)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    matrix = torch.stack([cos * sign, -sin, zero, sin * sign, cos, zero], dim=-1)
    grid = functional.affine_grid(matrix.reshape(-1, 2, 3), list(stamps.shape), False)
    return functional.grid_sample(stamps, grid, align_corners=False)


def _same_cell(
    ra: np.ndarray, dec: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random positions in the HEALPix cells of others [deg]."""
    cells = HEALPix(_CELL_NSIDE)
    cell = cells.lonlat_to_healpix(ra * units.deg, dec * units.deg)
    lon, lat = cells.healpix_to_lonlat(cell, *rng.random((2, len(ra))))
    return lon.to_value(units.deg), lat.to_value(units.deg)


def _smooth(image: Tensor, sigma: float) -> Tensor:
    """Convolve (..., y, x) images with a round Gaussian [pixel]."""

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


def _bands_by_wavelength(
    cutouts: Sequence[Cutout | CutoutError], survey: Survey
) -> tuple[str, ...]:
    """Bands of the first image that can be read."""
    first = next((cutout for cutout in cutouts if isinstance(cutout, Cutout)), None)
    names = first.bands if first else ()
    return tuple(sorted(names, key=lambda name: survey.band(name).wavelength_nm))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)

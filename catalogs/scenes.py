"""Real galaxies as scenes for the simulated sky.

A well-resolved image is moved to a smaller apparent size, as FERENGI does (Barden et al. 2008, ApJS
175, 105), so that its own PSF and noise shrink below those of the surveys that then observe it. Each
scene is cut out of its surroundings, turned, mirrored, shrunk and dimmed; other scenes stand in for
its neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from astropy import units
from astropy_healpix import HEALPix
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from catalogs.galaxies import draw_companions, draw_magnitudes, typical_half_light
from catalogs.observing import Modes, Sky
from galaxy_da.cutouts import Cutout, read_cutouts
from galaxy_da.errors import CutoutError, TableError
from galaxy_da.images import to_surface_brightness
from galaxy_da.resample import resample
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Survey, get_survey
from galaxy_da.tables import Sample

__all__ = ["DrawnScenes", "ScenePool"]

MAX_SCENES = 10_000
"""Most scenes a pool holds."""

SHRINK = (2.0, 5.0)
"""Range of the reduction in apparent size."""

_NEIGHBOUR_SHRINK = (2.0, 12.0)
_CELL_NSIDE = 256
_READ_ROWS = 64
_G_NM, _R_NM, _Z_NM = 481.0, 642.0, 925.0
_SLOPES = (-0.5, 2.5)  # limits of d ln flux / d ln wavelength beyond the bands
_TYPICAL_SLOPE = 1.0
_DETECTION_SIGMA = 3.0
_SMOOTHING_PX, _TAPER_PX = 1.5, 4.0
_MAX_SATURATED = 0.01  # of the galaxy's pixels
_MAX_ON_BORDER = 0.05  # of the border that the galaxy may cover
_MIN_PIXELS = 50


@dataclass(frozen=True)
class ScenePool:
    """Images good enough to be scenes. Their pixels are read again when they are drawn.

    Attributes
    ----------
    table : pa.Table
        Their rows of the sample table, image bytes included where it embeds them.
    folder : Path
        Where relative URIs start.
    survey : Survey
        What the images are of.
    bands : tuple of str
        Bands of the images, by wavelength.
    flux : (scenes, bands) float array [nanomaggy]
        Total flux within the cut-out galaxy.
    half_light_arcsec : (scenes,) float array
        Radius of the circle that holds half of it, in the band nearest to r.
    """

    table: pa.Table
    folder: Path
    survey: Survey
    bands: tuple[str, ...]
    flux: np.ndarray
    half_light_arcsec: np.ndarray

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, limit: int = MAX_SCENES, survey: Survey | None = None
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
        wanted = np.zeros(len(sample), bool)
        wanted[np.random.default_rng(0).permutation(len(sample))[:limit]] = True
        kept: list[pa.Table] = []
        flux: list[np.ndarray] = []
        radii: list[np.ndarray] = []
        bands: tuple[str, ...] = ()
        start = 0
        for batch in sample.batches(_READ_ROWS):
            table = batch.filter(pa.array(wanted[start : start + batch.num_rows]))
            start += batch.num_rows
            cutouts = read_cutouts(table, sample.folder, survey)
            bands = bands or _bands_by_wavelength(cutouts, survey)
            for stamps in _cut_out(cutouts, survey, bands):
                good = np.flatnonzero(stamps.usable)
                kept.append(table.take(pa.array(stamps.rows[good])))
                flux.append(stamps.total_flux()[good])
                radii.append(stamps.half_light(_nearest_to_r(survey, bands))[good])
        if not sum(map(len, flux)):
            raise TableError(
                f"{path}: none of {int(wanted.sum())} images can be a scene; a scene needs a "
                "resolved, unsaturated galaxy that ends well within its image"
            )
        return cls(
            table=pa.concat_tables(kept),
            folder=sample.folder,
            survey=survey,
            bands=bands,
            flux=np.concatenate(flux),
            half_light_arcsec=np.concatenate(radii),
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def draw(self, n: int, rng: np.random.Generator) -> DrawnScenes:
        """Draw n galaxies and their neighbours from the scenes, with replacement.

        r magnitudes and radii follow the parametric galaxies; a scene is shrunk towards the radius
        within `SHRINK`. Positions are random within the scene's HEALPix cell (nside 256), so that
        a split of the sky into such cells or larger also separates the scenes.
        """
        main = self._draw_scenes(draw_magnitudes(n, rng), SHRINK, rng)
        places = draw_companions(main["r_mag"], main["half_light_arcsec"], rng)
        near = self._draw_scenes(places["r_mag"], _NEIGHBOUR_SHRINK, rng)
        ra, dec = self._draw_positions(main["scene"], rng)
        g, r = (self._node_flux[main["scene"]] @ self.node_weights([_G_NM, _R_NM]).T).T
        truth = {
            "ra": ra,
            "dec": dec,
            "scene_id": self.table["object_id"].take(pa.array(main["scene"])).cast(pa.string()),
            **main,
            "g_minus_r": -2.5 * np.log10(g / r),
            "n_neighbours": np.bincount(places["host"], minlength=n),
        }
        return DrawnScenes(self, pa.table(truth), pa.table({**near, **places}))

    @cached_property
    def nodes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wavelengths at which scenes are known: those of the bands, extended to cover g to z.

        Returns
        -------
        (nodes,) float array [nm]
            Ascending.
        (nodes,) int array
            Number of the band that stands for each.
        (scenes, nodes) float array
            By how much it is scaled: beyond the bands, along the scene's own colour.
        """
        have = np.array([self.survey.band(name).wavelength_nm for name in self.bands])
        nodes = np.unique([*have, min(_G_NM, have[0]), max(_Z_NM, have[-1])])
        nearest = np.abs(nodes[:, None] - have).argmin(1)
        reach = np.log(nodes / have[nearest])
        slope = np.full((len(self), len(nodes)), _TYPICAL_SLOPE)
        if len(have) > 1:
            colour = np.diff(np.log(self.flux), axis=1) / np.diff(np.log(have))
            slope = np.clip(colour[:, np.minimum(nearest, len(have) - 2)], *_SLOPES)
        return nodes, nearest, np.exp(slope * reach)

    def node_weights(self, wavelengths_nm: Sequence[float]) -> np.ndarray:
        """(wavelengths, nodes) weights that interpolate linearly between the nodes."""
        nodes = self.nodes[0]
        wanted = np.asarray(wavelengths_nm, dtype=float)
        inside = np.clip(wanted, nodes[0], nodes[-1])
        hats = np.stack([np.interp(inside, nodes, unit) for unit in np.eye(len(nodes))], axis=-1)
        return np.asarray(hats * ((wanted / inside) ** _TYPICAL_SLOPE)[:, None])

    @cached_property
    def _node_flux(self) -> np.ndarray:
        _, band, gain = self.nodes
        return np.asarray(self.flux[:, band] * gain)

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

    def _draw_positions(
        self, scene: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        cells = HEALPix(_CELL_NSIDE)
        ra, dec = (self.table[name].to_numpy()[scene] * units.deg for name in ("ra", "dec"))
        dx, dy = rng.random((2, len(scene)))
        lon, lat = cells.healpix_to_lonlat(cells.lonlat_to_healpix(ra, dec), dx, dy)
        return lon.to_value(units.deg), lat.to_value(units.deg)


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

    def render(self, modes: Modes, wavelengths_nm: Sequence[float] = ()) -> Sky:
        """Turn, shrink and dim the scenes and write the patches as spatial spectra.

        Parameters
        ----------
        modes : Modes
            Frequencies to fill.
        wavelengths_nm : sequence of float
            Not needed here; any can be asked of the result.

        Returns
        -------
        Sky
            One component per node of the pool's wavelengths.
        """
        n, m = self.truth.num_rows, self.neighbours.num_rows
        column = {
            name: np.concatenate([self.truth[name].to_numpy(), self.neighbours[name].to_numpy()])
            for name in ("scene", "r_mag", "shrink", "angle_deg", "mirrored")
        }
        host = np.concatenate([np.arange(n), self.neighbours["host"].to_numpy()])
        offset = np.zeros((2, n + m))
        offset[0, n:] = self.neighbours["east_arcsec"].to_numpy()
        offset[1, n:] = self.neighbours["north_arcsec"].to_numpy()
        pool, (nodes, band, gain) = self.pool, self.pool.nodes
        at_r = pool.node_weights([_R_NM])[0]
        total = pool._node_flux[column["scene"]] @ at_r / column["shrink"] ** 2
        dimmed = 10 ** (0.4 * (NANOMAGGY_ZEROPOINT - column["r_mag"])) / total
        scale = _tensor(gain[column["scene"]] * dimmed[:, None])[:, :, None, None]
        images = torch.zeros(n, len(nodes), modes.side, modes.side)
        rows = pool.table.take(pa.array(column["scene"]))
        cutouts = read_cutouts(rows, pool.folder, pool.survey)
        for stamps in _cut_out(cutouts, pool.survey, pool.bands):
            i = stamps.rows
            turned = _turn(stamps, column["angle_deg"][i], column["mirrored"][i])
            shrunk = _tensor(column["shrink"][i]) / stamps.pixel_arcsec  # stamp pixels per arcsec
            middle = (turned.shape[-1] - 1) / 2
            east, north = (middle - _tensor(o[i]) * shrunk for o in offset)
            planes = turned[:, band] * scale[i]
            placed = resample(planes, modes.side, shrunk * modes.pixel_arcsec, (east, north))
            images.index_add_(0, torch.from_numpy(host[i]), placed)
        return Sky(modes.spectrum(images), modes, lambda wanted: _tensor(pool.node_weights(wanted)))


@dataclass(frozen=True)
class _Stamps:
    """Galaxies cut out of equal images, on square stamps."""

    rows: np.ndarray
    brightness: Tensor  # (m, bands, side, side) [nanomaggy / arcsec^2]
    pixel_arcsec: Tensor  # (m,)
    centre_xy: Tensor  # (m, 2)
    usable: np.ndarray  # (m,) bool

    def total_flux(self) -> np.ndarray:
        """(m, bands) [nanomaggy]."""
        total = self.brightness.sum((2, 3)) * self.pixel_arcsec[:, None] ** 2
        return np.asarray(total.numpy(), dtype=float)

    def half_light(self, band: int) -> np.ndarray:
        """(m,) radii of circles that hold half the light [arcsec]."""
        side = self.brightness.shape[-1]
        radius = _distance(side, self.centre_xy).flatten(1)
        order = radius.argsort(1)
        light = self.brightness[:, band].flatten(1).gather(1, order).cumsum(1)
        half = (light < light[:, -1:] / 2).sum(1, keepdim=True).clamp_max(side**2 - 1)
        inside = radius.gather(1, order).gather(1, half)[:, 0]
        return np.asarray((inside * self.pixel_arcsec).numpy(), dtype=float)


def _cut_out(
    cutouts: Sequence[Cutout | CutoutError], survey: Survey, bands: Sequence[str]
) -> Iterator[_Stamps]:
    """Cut galaxies out of their images, those of one shape at a time; unreadable ones are left out.

    The sky is subtracted; what is connected to the middle above the detection limit is kept, with
    a soft edge.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        if isinstance(cutout, Cutout) and sorted(cutout.bands) == sorted(bands):
            key = (cutout.pixels.shape, cutout.bands, cutout.is_colour)
            groups.setdefault(key, []).append(i)
    for rows in groups.values():
        group = [cutout for i in rows if isinstance(cutout := cutouts[i], Cutout)]
        order = [group[0].bands.index(name) for name in bands]
        raw = _square(to_surface_brightness(group, survey)[:, order], torch.nan)
        finite = torch.isfinite(raw)
        sky = _border(torch.where(finite, raw, torch.nan)).nanmedian(-1).values
        light = torch.where(finite, raw - sky[..., None, None], 0.0)
        inside = _detect(light)
        taper = _smooth(inside.float()[:, None], _TAPER_PX).mul_(2).clamp_max_(1)
        full = np.stack([c.is_colour & (c.pixels == 255).any(0) for c in group])
        yield _Stamps(
            rows=np.array(rows),
            brightness=light * taper,
            pixel_arcsec=torch.tensor([c.pixel_scale_arcsec for c in group]),
            centre_xy=torch.tensor([c.centre_xy for c in group]),
            usable=_usable(inside, finite, _square(torch.from_numpy(full), False), light * taper),
        )


def _detect(light: Tensor) -> Tensor:
    """(m, side, side) bool: pixels that belong to the source in the middle."""
    noise = _border(light).abs().median(-1).values.clamp_min(1e-6)
    stacked = _smooth((light / noise[..., None, None]).mean(1, keepdim=True), _SMOOTHING_PX)
    limit = _DETECTION_SIGMA * 1.4826 * _border(stacked).abs().median(-1).values
    above = (stacked > limit[..., None, None])[:, 0].numpy()
    within_image = np.zeros((3, 3, 3), int)
    within_image[1] = ndimage.generate_binary_structure(2, 1)
    labels, _ = ndimage.label(above, within_image)
    middle = labels.shape[-1] // 2
    label = labels[:, middle, middle][:, None, None]
    return torch.from_numpy((labels == label) & (label > 0))


def _usable(inside: Tensor, finite: Tensor, full: Tensor, light: Tensor) -> np.ndarray:
    pixels = inside.sum((1, 2))
    holes = (inside[:, None] & ~finite).flatten(1).any(1)
    saturated = (inside & full).sum((1, 2)) > _MAX_SATURATED * pixels
    cut_off = _border(inside[:, None].float()).mean((1, 2)) > _MAX_ON_BORDER
    dark = (light.sum((2, 3)) <= 0).any(1)
    good = (pixels >= _MIN_PIXELS) & ~holes & ~saturated & ~cut_off & ~dark
    return np.asarray(good.numpy())


def _turn(stamps: _Stamps, angle_deg: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Rotate about the galaxy, and mirror, at the images' own resolution."""
    side = stamps.brightness.shape[-1]
    angle, sign = torch.deg2rad(_tensor(angle_deg)), torch.where(torch.as_tensor(mirrored), -1, 1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    centre = (2 * stamps.centre_xy - (side - 1)) / side
    rows = (cos * sign, -sin, centre[:, 0], sin * sign, cos, centre[:, 1])
    grid = functional.affine_grid(
        torch.stack(rows, dim=-1).reshape(-1, 2, 3), list(stamps.brightness.shape), False
    )
    return functional.grid_sample(stamps.brightness, grid, align_corners=False)


def _smooth(image: Tensor, sigma: float) -> Tensor:
    reach = int(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    rows = functional.conv2d(image, kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(rows, kernel[None, None, None, :], padding=(0, reach))


def _border(image: Tensor) -> Tensor:
    """(m, bands, pixels) values of a frame a twentieth of the side wide."""
    side = image.shape[-1]
    ring = torch.ones(side, side, dtype=torch.bool)
    width = max(side // 20, 1)
    ring[width:-width, width:-width] = False
    return image[..., ring]


def _distance(side: int, centre_xy: Tensor) -> Tensor:
    along = torch.arange(side)
    x, y = along - centre_xy[:, 0, None, None], along[:, None] - centre_xy[:, 1, None, None]
    return torch.hypot(x, y)


def _square(image: Tensor, fill: float) -> Tensor:
    """Extend the shorter side at its end, so that pixel coordinates stay."""
    height, width = image.shape[-2:]
    side = max(height, width)
    return functional.pad(image, (0, side - width, 0, side - height), value=fill)


def _bands_by_wavelength(
    cutouts: Sequence[Cutout | CutoutError], survey: Survey
) -> tuple[str, ...]:
    """Bands of the first image that can be read."""
    first = next((cutout for cutout in cutouts if isinstance(cutout, Cutout)), None)
    names = first.bands if first else ()
    return tuple(sorted(names, key=lambda name: survey.band(name).wavelength_nm))


def _nearest_to_r(survey: Survey, bands: tuple[str, ...]) -> int:
    return bands.index(survey.nearest_band(_R_NM, bands).name)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)

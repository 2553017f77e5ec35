"""Real galaxies as scenes for the simulated sky.

A well-resolved image is moved to a smaller apparent size, as FERENGI does (Barden et al. 2008,
ApJS 175, 105), so that its own PSF and noise shrink below those of the surveys that then observe
it. Each scene is rotated, mirrored, shrunk and dimmed; other scenes serve as its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from astropy import units
from astropy_healpix import HEALPix
from torch import Tensor
from torch.nn import functional

from catalogs.simulation.distributions import (
    MAGNITUDES,
    draw_companions,
    draw_half_light,
    draw_magnitudes,
)
from catalogs.simulation.patches import (
    FIELD_ARCSEC,
    Frequencies,
    Sky,
    float_tensor,
    nanomaggies,
)
from catalogs.simulation.scene_images import SIDE, SceneImages, read_scenes
from galaxy_da.images.resampling import resample
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.surveys import Survey, get_survey

__all__ = ["MAX_SCENES", "SHRINK", "DrawnScenes", "ScenePool"]

MAX_SCENES = 8_000  # most scenes a pool holds; each takes 32 KiB a band

SHRINK = (2.0, 5.0)  # range of the reduction in apparent size

_NEIGHBOUR_SHRINK = (2.0, 12.0)
_CELL_NSIDE = 256
_AT_A_TIME = 32
_G_NM, _R_NM, _Z_NM = 481.0, 642.0, 925.0
_SLOPES = (-0.5, 2.5)  # limits of d ln flux / d ln wavelength beyond the bands
_TYPICAL_SLOPE = 1.0


@dataclass(frozen=True, kw_only=True)
class ScenePool(SceneImages):
    """Galaxies cut out of real images; their pixels as in `SceneImages`."""

    scene_id: np.ndarray  # (scenes,) objects, `object_id` of the images
    ra: np.ndarray  # (scenes,) [ICRS deg]
    dec: np.ndarray
    wavelengths_nm: np.ndarray  # (bands,) ascending

    @classmethod
    def open(
        cls, path: PathOrUrl, *, limit: int = MAX_SCENES, survey: Survey | None = None
    ) -> ScenePool:
        """Read a sample table of one survey and keep the images that can be scenes.

        At most `limit` rows are read, always the same random ones. An image is left out if its
        galaxy is not detected, runs over the edge, is saturated, has pixels that are not finite, or
        is smaller than 50 pixels; or if its bands are not those of the first image. The survey is
        by default the built-in one that the table names. TableError is raised if none is usable.
        """
        sample = Sample(path)
        survey = survey or get_survey(sample.survey)
        scenes, bands = read_scenes(sample, survey, min(limit, MAX_SCENES))
        rows = pa.array(scenes.rows)
        return cls(
            scene_id=np.array(sample.catalog["object_id"].take(rows).to_pylist(), object),
            ra=sample.catalog["ra"].take(rows).to_numpy(),
            dec=sample.catalog["dec"].take(rows).to_numpy(),
            wavelengths_nm=np.array([survey.band(name).wavelength_nm for name in bands]),
            **vars(scenes),
        )

    def __len__(self) -> int:
        return len(self.scene_id)

    def draw(
        self,
        n: int,
        rng: np.random.Generator,
        magnitudes: tuple[float, float] = MAGNITUDES,
        field_arcsec: float = FIELD_ARCSEC,
    ) -> DrawnScenes:
        """Draw n galaxies and their neighbours from the scenes, with replacement.

        Magnitudes and radii have the distributions of the parametric galaxies; a scene is shrunk
        towards the radius within `SHRINK`. Positions are random within the scene's HEALPix cell
        (nside 256), so that a split of the sky into such cells or larger also separates the scenes.
        """
        main = self._draw_scenes(draw_magnitudes(n, rng, magnitudes), SHRINK, rng)
        places = draw_companions(main["r_mag"], main["half_light_arcsec"], rng, field_arcsec)
        del places["in_cluster"]
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
        """(nodes,) wavelengths of the bands, extended to cover g to z."""
        have = self.wavelengths_nm
        return np.unique([*have, min(_G_NM, have[0]), max(_Z_NM, have[-1])])

    @cached_property
    def node_bands(self) -> np.ndarray:
        """(nodes,) number of the band whose image is used at each node."""
        return np.asarray(np.abs(self.nodes[:, None] - self.wavelengths_nm).argmin(1))

    @cached_property
    def colours(self) -> np.ndarray:
        """(scenes, nodes) flux over that at 642 nm, extrapolated along the scene's colour."""
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
        factor = np.clip(radius / draw_half_light(r_mag, rng), *shrink)
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
    """Real galaxies, drawn from a pool.

    `truth` has a row per galaxy: ``ra``, ``dec`` [ICRS deg], ``scene_id`` (`object_id` of the
    image), ``r_mag`` (without neighbours), ``half_light_arcsec``, ``shrink``, ``angle_deg``,
    ``mirrored``, ``g_minus_r``, ``n_neighbours``. `neighbours` are other scenes in the same
    patches, with ``host`` (row of `truth`), ``east_arcsec`` and ``north_arcsec``.
    """

    pool: ScenePool
    truth: pa.Table
    neighbours: pa.Table

    def render(self, frequencies: Frequencies) -> Sky:
        """Rotate, shrink and dim the scenes, one component per node of the wavelengths."""
        n, pool = self.truth.num_rows, self.pool
        column = {
            name: np.concatenate([self.truth[name].to_numpy(), self.neighbours[name].to_numpy()])
            for name in ("scene", "r_mag", "shrink", "angle_deg", "mirrored")
        }
        near = [self.neighbours[name].to_numpy() for name in ("east_arcsec", "north_arcsec")]
        offset = np.pad(np.stack(near), ((0, 0), (n, 0)))
        host = np.concatenate([np.arange(n), self.neighbours["host"].to_numpy()])
        images = torch.zeros(n, len(pool.nodes), frequencies.side, frequencies.side)
        for rows in np.array_split(np.arange(len(host)), -(-len(host) // _AT_A_TIME)):
            part = {name: values[rows] for name, values in column.items()}
            placed = _place(pool, frequencies, part, offset[:, rows])
            images.index_add_(0, torch.from_numpy(host[rows]), placed)
        spectra = frequencies.spectrum(images)
        return Sky(spectra, frequencies, lambda nm: float_tensor(pool.node_weights(nm)))


def _place(
    pool: ScenePool, frequencies: Frequencies, column: dict[str, np.ndarray], offset: np.ndarray
) -> Tensor:
    """(m, nodes, side, side) surface brightness of scenes at (2, m) offsets on the real grid."""
    scene = column["scene"]
    stamps = pool.stamps[torch.from_numpy(scene)].float()
    rotated = _rotate(stamps, column["angle_deg"], column["mirrored"])
    shrunk = column["shrink"] / pool.pixel_arcsec[scene]  # stamp pixels per arcsec
    east, north = float_tensor((SIDE - 1) / 2 - offset * shrunk)
    flux = nanomaggies(column["r_mag"]) * column["shrink"] ** 2
    planes = rotated[:, pool.node_bands]
    planes *= float_tensor(flux[:, None] * pool.colours[scene])[:, :, None, None]
    return resample(
        planes, frequencies.side, float_tensor(shrunk * frequencies.pixel_arcsec), (east, north)
    )


def _rotate(stamps: Tensor, angle_deg: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Rotate (m, bands, side, side) stamps about the middle, and mirror some."""
    angle = torch.deg2rad(float_tensor(angle_deg))
    sign = torch.where(torch.as_tensor(mirrored), -1, 1)
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

"""Real galaxies as scenes for the simulated sky.

A well-resolved image is moved to a smaller apparent size, as FERENGI does (Barden et al. 2008,
ApJS 175, 105), so that its own PSF and noise shrink below those of the surveys that then observe
it. Each scene is rotated, mirrored, shrunk and dimmed. Its neighbours are those of the parametric
galaxies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from astropy import units
from astropy_healpix import HEALPix
from torch import Tensor
from torch.nn import functional

from catalogs.simulation.colours import population_fluxes
from catalogs.simulation.distributions import (
    MAGNITUDES,
    draw_half_light,
    draw_magnitudes,
    draw_neighbours,
)
from catalogs.simulation.patches import (
    FIELD_ARCSEC,
    Frequencies,
    Sky,
    float_tensor,
    nanomaggies,
)
from catalogs.simulation.rendering import render_neighbours
from catalogs.simulation.scene_images import SceneImages, read_scenes
from catalogs.simulation.scene_tables import positions_by_id
from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.surveys import Survey, get_survey

MAX_SCENES = 8_000  # most scenes a pool holds by default; each takes 32 KiB a band

SHRINK = (2.0, 5.0)  # range of the reduction in apparent size

_CELL_NSIDE = 256
_NODES_NM = np.array([481.0, 642.0, 770.0, 925.0])  # g, r, i, z: a component of the sky each
_SLOPES = (-0.5, 2.5)  # limits of d ln flux / d ln wavelength beyond the bands
_TYPICAL_SLOPE = 1.0


@dataclass(frozen=True, kw_only=True)
class ScenePool:
    """Galaxies cut out of real images."""

    scene_id: np.ndarray  # (scenes,) objects, `object_id` of the images
    scene_class: np.ndarray  # (scenes,) objects, morphological classes, "" where not known
    ra: np.ndarray  # (scenes,) [ICRS deg]
    dec: np.ndarray
    images: tuple[SceneImages, ...]  # one per table
    shrink: tuple[float, float] = SHRINK

    @classmethod
    def open(
        cls,
        paths: PathOrUrl | list[PathOrUrl] | tuple[PathOrUrl, ...],
        *,
        limit: int = MAX_SCENES,
        survey: Survey | None = None,
        shrink: tuple[float, float] = SHRINK,
    ) -> ScenePool:
        """Read sample tables of one survey each and keep the images that can be scenes.

        At most `limit` rows are read, equally many of each table, always the same random ones. An
        image is left out if its galaxy is not detected, runs over the edge, is saturated, has
        pixels that are not finite, is smaller than 50 pixels, or is outshone by a star that touches
        it; or if its bands are not those of the table's first image. The survey is by default the
        built-in one that a table names. A column ``scene_class`` gives the morphological classes;
        see `draw`. A scene whose position is not known gets a random one, always the same for its
        id. TableError is raised if a table has no usable image.

        `scene_table` prepares images without positions or pixel scales.
        """
        tables = list(paths) if isinstance(paths, (list, tuple)) else [paths]
        samples = [Sample(path) for path in tables]
        if not samples:
            raise TableError("no table of scenes is given; name at least one")
        parts = [
            read_scenes(sample, survey or get_survey(sample.survey), share)
            for sample, share in zip(samples, _shares(samples, limit), strict=True)
        ]
        return cls(
            **{
                name: np.concatenate(
                    [_column(*each, name) for each in zip(samples, parts, strict=True)]
                )
                for name in ("scene_id", "scene_class", "ra", "dec")
            },
            images=tuple(parts),
            shrink=shrink,
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
        """Draw n galaxies from the scenes, with replacement, and parametric neighbours.

        A class of m scenes is drawn in proportion to the square root of m. Magnitudes and radii
        have the distributions of the parametric galaxies; a scene is shrunk towards the radius
        within `shrink`. Positions are random within the scene's HEALPix cell (nside 256), so that
        a split of the sky into such cells or larger also separates the scenes.
        """
        _, number, count = np.unique(self.scene_class, return_inverse=True, return_counts=True)
        weight = count[number] ** -0.5
        scene = rng.choice(len(self), n, p=weight / weight.sum())
        r_mag = draw_magnitudes(n, rng, magnitudes)
        wanted = draw_half_light(r_mag, rng, field_arcsec)
        radius = np.concatenate([part.half_light_arcsec for part in self.images])[scene]
        factor = np.clip(radius / wanted, *self.shrink)
        ra, dec = _same_cell(self.ra[scene], self.dec[scene], rng)
        truth = {
            "ra": ra,
            "dec": dec,
            "scene_id": self.scene_id[scene],
            "scene_class": self.scene_class[scene],
            "scene": scene,
            "r_mag": r_mag,
            "half_light_arcsec": radius / factor,
            "shrink": factor,
            "angle_deg": rng.uniform(0, 360, n),
            "mirrored": rng.random(n) < 0.5,
            "g_minus_r": np.concatenate([_g_minus_r(part) for part in self.images])[scene],
        }
        neighbours = draw_neighbours(truth, rng, field_arcsec)
        truth["n_neighbours"] = np.bincount(neighbours["host"], minlength=n)
        return DrawnScenes(self, pa.table(truth), pa.table(neighbours))


@dataclass(frozen=True)
class DrawnScenes:
    """Real galaxies, drawn from a pool.

    `truth` has a row per galaxy: ``ra``, ``dec`` [ICRS deg], ``scene_id`` (`object_id` of the
    image), ``scene_class``, ``r_mag`` (without neighbours), ``half_light_arcsec`` (circular),
    ``shrink``, ``angle_deg``, ``mirrored``, ``g_minus_r``, ``n_neighbours``. `neighbours` has the
    columns of `Galaxies.neighbours`.
    """

    pool: ScenePool
    truth: pa.Table
    neighbours: pa.Table

    def render(self, frequencies: Frequencies) -> Sky:
        """Rotate, shrink and dim the scenes, one component per node of the wavelengths."""
        n = self.truth.num_rows
        near = render_neighbours(n, self.neighbours, frequencies)
        spectra = torch.empty(n, len(_NODES_NM), *near.shape[2:], dtype=near.dtype)
        at_nodes = population_fluxes(_NODES_NM.tolist()).to(near.dtype)
        for row, galaxy in enumerate(self.truth.to_pylist()):
            torch.tensordot(at_nodes, near[row], dims=1, out=spectra[row])
            spectra[row] += _spectrum(self.pool, galaxy, frequencies)
        return Sky(spectra, frequencies, _node_weights)


def _shares(samples: Sequence[Sample], limit: int) -> list[int]:
    """Share a number of rows equally, but for the tables that have fewer."""
    sizes = sorted(len(sample) for sample in samples)
    rest, equal = limit, limit
    for i, size in enumerate(sizes):
        equal = max(rest // (len(sizes) - i), 1)
        rest -= min(size, equal)
    return [min(len(sample), equal) for sample in samples]


def _spectrum(pool: ScenePool, galaxy: dict[str, float], frequencies: Frequencies) -> Tensor:
    """(nodes, side, half + 1) spectra of one scene."""
    scene = int(galaxy["scene"])
    for part in pool.images:
        if scene < len(part.rows):
            break
        scene -= len(part.rows)
    stamp = _rotate(part.stamps[scene].float(), galaxy["angle_deg"], bool(galaxy["mirrored"]))
    planes = frequencies.transform(stamp, part.pixel_arcsec[scene] / galaxy["shrink"])
    colours, bands = _at_nodes(part)
    flux = nanomaggies(np.array(galaxy["r_mag"])) * colours[scene]
    total = planes[:, frequencies.half, 0].real
    return planes[bands] * (float_tensor(flux) / total[bands])[:, None, None]


def _rotate(stamp: Tensor, angle_deg: float, mirrored: bool) -> Tensor:
    """Rotate a (bands, side, side) stamp about the middle, and mirror it, or not."""
    angle, sign = np.radians(angle_deg), -1 if mirrored else 1
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = float_tensor(np.array([[[cos * sign, -sin, 0], [sin * sign, cos, 0]]]))
    grid = functional.affine_grid(matrix, [1, *stamp.shape], False)
    return functional.grid_sample(stamp[None], grid, align_corners=False)[0]


def _at_nodes(part: SceneImages) -> tuple[np.ndarray, np.ndarray]:
    """Return (scenes, nodes) flux over that at 642 nm, and the band whose image each node takes.

    Flux is extrapolated along the scene's colour.
    """
    have = part.wavelengths_nm
    nearest = np.abs(_NODES_NM[:, None] - have).argmin(1)
    slope = np.full((len(part.rows), len(_NODES_NM)), _TYPICAL_SLOPE)
    if len(have) > 1:
        colour = np.diff(np.log(part.flux), axis=1) / np.diff(np.log(have))
        between = np.searchsorted(have, _NODES_NM).clip(1, len(have) - 1) - 1
        slope = np.clip(colour[:, between], *_SLOPES)
    flux = part.flux[:, nearest] * (_NODES_NM / have[nearest]) ** slope
    return flux / (flux @ _weights([642.0]).T), nearest


def _g_minus_r(part: SceneImages) -> np.ndarray:
    g, r = (_at_nodes(part)[0] @ _weights([481.0, 642.0]).T).T
    return np.asarray(-2.5 * np.log10(g / r))


def _node_weights(wavelengths_nm: Sequence[float]) -> Tensor:
    return float_tensor(_weights(wavelengths_nm))


def _weights(wavelengths_nm: Sequence[float]) -> np.ndarray:
    """(wavelengths, nodes) weights that interpolate linearly between the nodes."""
    wanted = np.asarray(wavelengths_nm, dtype=float)
    inside = np.clip(wanted, _NODES_NM[0], _NODES_NM[-1])
    hats = np.stack([np.interp(inside, _NODES_NM, row) for row in np.eye(len(_NODES_NM))], axis=-1)
    return np.asarray(hats * ((wanted / inside) ** _TYPICAL_SLOPE)[:, None])


def _column(sample: Sample, part: SceneImages, name: str) -> np.ndarray:
    source = "object_id" if name == "scene_id" else name
    if source not in sample.catalog.column_names:
        return np.full(len(part.rows), "", object)
    values = sample.catalog[source].take(pa.array(part.rows))
    if name not in ("ra", "dec"):
        return np.array(values.to_pylist(), object)
    ids = sample.catalog["object_id"].take(pa.array(part.rows)).to_pylist()
    drawn = dict(zip(("ra", "dec"), positions_by_id(ids), strict=True))[name]
    return np.asarray(np.where(values.is_null(), drawn, values.to_numpy()))


def _same_cell(
    ra: np.ndarray, dec: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random positions in the HEALPix cells of others [deg]."""
    cells = HEALPix(_CELL_NSIDE)
    cell = cells.lonlat_to_healpix(ra * units.deg, dec * units.deg)
    lon, lat = cells.healpix_to_lonlat(cell, *rng.random((2, len(ra))))
    return lon.to_value(units.deg), lat.to_value(units.deg)

"""Structure of simulated galaxies, measured on ideal images.

Concentration, asymmetry and colour gradient are no parameters of a simulated galaxy. They are
measured on an image without noise or neighbours, with a PSF of 0.3 arcsec and a known centre.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from catalogs.simulation.conditions import median_conditions
from catalogs.simulation.distributions import MAGNITUDES
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.sky import CHUNK
from galaxy_da.errors import TableError
from galaxy_da.io.tables import read_metadata
from galaxy_da.surveys import Band, Survey

__all__ = ["IDEAL", "add_structure", "ideal_images", "structure"]

IDEAL = Survey(
    name="ideal",
    title="Ideal telescope without noise",
    bands=tuple(
        Band(name=name, wavelength_nm=nm, psf_fwhm_arcsec=0.3, psf_scatter=0, depth_mag=99)
        for name, nm in (("g", 481.0), ("r", 642.0))
    ),
    pixel_scale_arcsec=0.15,
    flux_unit="nanomaggy",
)
"""g and r, 0.15 arcsec pixels, PSF of 0.3 arcsec."""

_PETROSIAN = 0.2
_EXTENT = 1.5  # Petrosian radii


def add_structure(truth: pa.Table, seed: int) -> pa.Table:
    """Add ``concentration``, ``asymmetry`` and ``colour_gradient`` [mag] to a sky's truth.

    The truth is that of a simulated sky of this seed with drawn galaxies, its rows in any order;
    another one raises TableError. Its metadata give the range of magnitudes.
    """
    if not {"galaxy", "r_mag", "label"} <= set(truth.column_names):
        raise TableError(
            "ideal images need the truth table of a simulated sky of drawn galaxies; this one "
            f"has {', '.join(truth.column_names)}"
        )
    magnitudes = tuple(read_metadata(truth.schema).get("magnitudes", MAGNITUDES))
    number = truth["galaxy"].to_numpy()
    names = ("concentration", "asymmetry", "colour_gradient")
    columns = {name: np.full(len(number), np.nan) for name in names}
    for chunk in np.unique(number // CHUNK):
        here = number // CHUNK == chunk
        drawn, images = ideal_images(int(chunk), seed, magnitudes)
        rows = number[here] % CHUNK
        if not np.array_equal(drawn["r_mag"].to_numpy()[rows], truth["r_mag"].to_numpy()[here]):
            raise TableError(f"the truth table's galaxies are not those of seed {seed}")
        for name, values in structure(images, IDEAL.pixel_scale_arcsec).items():
            if name in columns:
                columns[name][here] = values[rows]
    for name, values in columns.items():
        truth = truth.append_column(name, pa.array(values))
    return truth


def ideal_images(
    chunk: int, seed: int, magnitudes: tuple[float, float] = MAGNITUDES
) -> tuple[pa.Table, np.ndarray]:
    """Draw a chunk of a simulated sky again, and observe each galaxy alone.

    Returns the truth of the `CHUNK` galaxies, and their images in g and r, (CHUNK, 2, y, x) float32
    [nanomaggy / pixel]; the galaxy is at the centre of an even number of pixels.
    """
    galaxies = draw_galaxies(CHUNK, np.random.default_rng([seed, chunk]), magnitudes)
    alone = replace(galaxies, neighbours=galaxies.neighbours.slice(0, 0))
    bands = IDEAL.bands
    images = observe(
        alone.render(frequencies_for(bands)), IDEAL, bands, median_conditions(CHUNK, bands)
    )
    return galaxies.truth, images.numpy()


def structure(images: np.ndarray, pixel_scale_arcsec: float) -> dict[str, np.ndarray]:
    """Measure noise-free galaxies about the centre of their images in g and r, (n, 2, y, x).

    Returns (n,) ``concentration`` (Bershady, Jangren & Conselice 2000, AJ 119, 2645), ``asymmetry``
    (Conselice 2003, ApJS 147, 1), both within 1.5 Petrosian radii (where the local brightness is
    0.2 of the mean within), ``colour_gradient`` [mag], ``half_light_arcsec`` (circular) and
    ``petrosian_arcsec``. Radii end at the border of the image, whose sides are even.
    """
    side = images.shape[-1]
    ramp = np.arange(side) - (side - 1) / 2
    radius = np.hypot(ramp[:, None], ramp[None, :]).ravel()
    square = np.arange(1, side // 2) ** 2.0  # squared outer radii of the rings
    ring = np.searchsorted(square, radius**2)
    rings = (ring[:, None] == np.arange(len(square))).astype(np.float32)
    flat = images.reshape(len(images), 2, -1)
    # Mean brightness times the true area of a ring avoids steps from whole pixels.
    light = (flat @ rings / rings.sum(0)) * np.pi * np.diff(square, prepend=0)
    growth = np.cumsum(light, axis=-1)
    r_growth = growth[:, 1]
    petrosian = _petrosian_square(light[:, 1], r_growth, square)
    aperture = np.minimum(_EXTENT**2 * petrosian, square[-1])
    total = _at(aperture, square, r_growth)
    r20, r50, r80 = (_reaching(share * total, square, r_growth) for share in (0.2, 0.5, 0.8))
    inside = np.stack([_at(r50, square, growth[:, band]) for band in (0, 1)])
    whole = np.stack([_at(aperture, square, growth[:, band]) for band in (0, 1)])
    colour_in, colour_out = (-2.5 * np.log10(g / r) for g, r in (inside, whole - inside))
    disc = radius**2 <= aperture[:, None]
    r_flux = flat[:, 1]
    residual = np.abs(r_flux - r_flux[:, ::-1])
    return {
        "concentration": 2.5 * np.log10(r80 / r20),
        "asymmetry": (residual * disc).sum(1) / (np.abs(r_flux) * disc).sum(1),
        "colour_gradient": colour_out - colour_in,
        "half_light_arcsec": np.sqrt(r50) * pixel_scale_arcsec,
        "petrosian_arcsec": np.sqrt(petrosian) * pixel_scale_arcsec,
    }


def _petrosian_square(light: np.ndarray, growth: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return the squared radius at which local over mean brightness falls below the limit."""
    middle = square - np.diff(square, prepend=0) / 2
    mean = (growth - light / 2) / middle
    ratio = light / np.diff(square, prepend=0) / mean
    below = ratio < _PETROSIAN
    place = np.where(below.any(1), below.argmax(1), len(square) - 1)
    row = np.arange(len(light))
    before = np.maximum(place - 1, 0)
    drop = np.maximum(ratio[row, before] - ratio[row, place], 1e-30)
    share = ((ratio[row, before] - _PETROSIAN) / drop).clip(0, 1)
    return np.asarray(middle[before] + share * (middle[place] - middle[before]))


def _at(where: np.ndarray, square: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """Interpolate each row of growth at its own squared radius."""
    place = np.searchsorted(square, where).clip(max=len(square) - 1)
    x, y = _with_origin(square, growth)
    row = np.arange(len(growth))
    share = (where - x[place]) / (x[place + 1] - x[place])
    return np.asarray(y[row, place] * (1 - share) + y[row, place + 1] * share)


def _reaching(level: np.ndarray, square: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """Return the squared radius at which each row of growth first reaches its own level."""
    x, y = _with_origin(square, growth)
    row, place = np.arange(len(growth)), np.maximum((y >= level[:, None]).argmax(1), 1)
    low, high = y[row, place - 1], y[row, place]
    share = (level - low) / np.maximum(high - low, 1e-30)
    return np.asarray(x[place - 1] + share * (x[place] - x[place - 1]))


def _with_origin(square: np.ndarray, growth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = np.zeros((len(growth), 1))
    return np.concatenate([[0.0], square]), np.concatenate([start, growth], axis=1)

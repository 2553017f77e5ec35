"""Simulate a sky with injected outliers of known kinds, to measure outlier rankings on.

Kinds of `SINGLE_SURVEY_KINDS` affect the image by one survey. Odd galaxies, of kinds otherwise
absent from the sky, appear in both surveys. Mismatched objects of the second survey carry another
galaxy's image, as after a wrong crossmatch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from benchmarks.outliers.odd_galaxies import ODD_KINDS, add_odd_light, in_components
from catalogs.simulation.artefacts import ARTEFACTS
from catalogs.simulation.colours import STAR_COLOURS, star_shares
from catalogs.simulation.conditions import Conditions, draw_conditions, frame_bands
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.patches import Frequencies, Sky, nanomaggies
from catalogs.simulation.scenes import ScenePool
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Band, Survey

ORDINARY = "ordinary"

SINGLE_SURVEY_KINDS = (*ARTEFACTS, "wrong-band", "blank", "empty", "star", "transient")
"""Kinds in the image by one survey: artefacts, bands in the wrong order, a band of zeros, sky
without a galaxy, a star in place of the galaxy, a point source beside it."""

_KINDS = (*SINGLE_SURVEY_KINDS, *ODD_KINDS, "mismatch")
_AT_A_TIME = 32
_SPARE = 12  # galaxies drawn beyond those, to leave out classes that are injected
_STAR_MAG = (15.0, 20.5)
_TRANSIENT_MAG = (17.5, 20.0)
_TRANSIENT_ARCSEC = (1.5, 7.0)  # from the galaxy
_MOFFAT_BETA = 3.5


def simulate_with_outliers(
    surveys: Sequence[Survey],
    n: int,
    each: int,
    *,
    seed: int,
    out: Path,
    scenes: Path | None = None,
) -> dict[str, Sample]:
    """Simulate a sky with outliers and write a sample table for each survey.

    Parameters
    ----------
    surveys : sequence of Survey
        Two surveys.
    n : int
        Number of galaxies.
    each : int
        Number of galaxies of each kind of outlier, even; of `SINGLE_SURVEY_KINDS` half in either
        survey.
    seed : int
        Seed of all draws.
    out : Path
        Output folder.
    scenes : Path, optional
        Sample table of real images to simulate from; parametric galaxies by default.

    Returns
    -------
    dict of str to Sample
        By survey, one row per galaxy, same order and object ids; column ``kind`` names the kind of
        outlier, or `ORDINARY`.

    Raises
    ------
    ValueError
        If there are not two surveys, or more outliers than galaxies.
    TableError
        If `scenes` has no usable image.
    """
    if len(surveys) != 2 or len(_KINDS) * each > n:
        raise ValueError(
            f"needs 2 surveys and at least {len(_KINDS) * each} galaxies but got "
            f"{len(surveys)} and {n}"
        )
    rng = np.random.default_rng(seed)
    pool = None if scenes is None else ScenePool.open(scenes, limit=2 * n)
    bands = {survey.name: frame_bands(survey) for survey in surveys}
    frequencies = frequencies_for([band for some in bands.values() for band in some])
    kinds = _assign(surveys, n, each, rng)
    states = {name: _states(bands[name], kinds[name], rng) for name in bands}
    flux: dict[str, list[Tensor]] = {name: [] for name in bands}
    truth = []
    for low in range(0, n, _AT_A_TIME):
        rows = slice(low, min(low + _AT_A_TIME, n))
        count = rows.stop - low
        sky, drawn = _ordinary_sky(count, pool, frequencies, rng)
        truth.append(drawn)
        add_odd_light(sky, drawn, kinds[surveys[0].name][rows], rng)
        for survey in surveys:
            some = states[survey.name][rows]
            observed = _replaced(sky, kinds[survey.name][rows], rng)
            image = observe(observed, survey, bands[survey.name], some, rng)
            flux[survey.name].append(
                _spoil(image, kinds[survey.name][rows], survey, some.psf_fwhm_arcsec, rng)
            )
    catalogue = pa.concat_tables(truth)
    return {
        survey.name: _write(
            out / survey.name,
            survey,
            catalogue,
            states[survey.name],
            kinds[survey.name],
            _mismatched(torch.cat(flux[survey.name]), kinds[survey.name] == "mismatch"),
        )
        for survey in surveys
    }


def _ordinary_sky(
    n: int, pool: ScenePool | None, frequencies: Frequencies, rng: np.random.Generator
) -> tuple[Sky, pa.Table]:
    """Draw galaxies of no kind that is injected, and return their patches and truth."""
    drawn = draw_galaxies(n + _SPARE, rng) if pool is None else pool.draw(n, rng)
    truth, sky = drawn.truth, drawn.render(frequencies)
    kept = np.arange(n)
    if pool is None:
        odd = np.isin(truth["label"].to_numpy(), ODD_KINDS)
        kept = np.sort(np.argsort(odd, kind="stable")[:n])
    columns = ["ra", "dec", "r_mag", "half_light_arcsec"]
    return replace(sky, spectra=sky.spectra[kept]), truth.select(columns).take(kept)


def _assign(
    surveys: Sequence[Survey], n: int, each: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the kind of each galaxy's image by either survey."""
    first, second = (np.full(n, ORDINARY, dtype=object) for _ in surveys)
    order = rng.permutation(n)
    for number, kind in enumerate(_KINDS):
        some = order[number * each : (number + 1) * each]
        if kind in ODD_KINDS:
            first[some] = second[some] = kind
        elif kind == "mismatch":
            second[some] = kind
        else:
            first[some[: each // 2]] = second[some[each // 2 :]] = kind
    return {survey.name: kinds for survey, kinds in zip(surveys, (first, second), strict=True)}


def _states(bands: Sequence[Band], kinds: np.ndarray, rng: np.random.Generator) -> Conditions:
    """Draw observing conditions with the assigned artefacts only."""
    wanted = np.where(np.isin(kinds, ARTEFACTS), kinds, np.full(len(kinds), None))
    return replace(draw_conditions(len(kinds), bands, rng), artefact=wanted)


def _replaced(sky: Sky, kinds: np.ndarray, rng: np.random.Generator) -> Sky:
    """Take galaxies away where the sky is empty, and put stars in the place of some."""
    kept = torch.from_numpy(~np.isin(kinds, ("empty", "star")))[:, None, None, None]
    changed = replace(sky, spectra=sky.spectra * kept)
    for row in np.flatnonzero(kinds == "star"):
        light = in_components(sky, star_shares(rng.uniform(*STAR_COLOURS, 1))[0])
        flux = float(nanomaggies(rng.uniform(*_STAR_MAG, 1))[0])
        changed.spectra[row] = flux * light[:, None, None]
    return changed


def _spoil(
    flux: Tensor, kinds: np.ndarray, survey: Survey, psf: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Apply changes of images by kind, except artefacts, which `observe` adds."""
    changes: Mapping[str, Callable[[Tensor, np.ndarray], Tensor]] = {
        "wrong-band": lambda images, _: images.flip(1),
        "blank": lambda images, _: _with_blank_band(images, rng),
        "transient": lambda images, rows: images + _point_sources(images, survey, psf[rows], rng),
    }
    for kind, change in changes.items():
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            flux[torch.from_numpy(rows)] = change(flux[torch.from_numpy(rows)], rows)
    return flux


def _with_blank_band(images: Tensor, rng: np.random.Generator) -> Tensor:
    dark = torch.from_numpy(rng.integers(images.shape[1], size=len(images)))
    blank = torch.nn.functional.one_hot(dark, images.shape[1]).bool()
    return images.masked_fill(blank[..., None, None], 0.0)


def _point_sources(
    images: Tensor, survey: Survey, psf: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Return one point source for each image, with equal magnitude in all bands."""
    pixel, (n, side) = survey.pixel_scale_arcsec, (len(images), images.shape[-1])
    angle, distance = rng.uniform(0, 2 * np.pi, n), rng.uniform(*_TRANSIENT_ARCSEC, n)
    ramp = (np.arange(side) - (side - 1) / 2) * pixel
    x = ramp[None, None, :] - (distance * np.cos(angle))[:, None, None]
    y = ramp[None, :, None] - (distance * np.sin(angle))[:, None, None]
    alpha = psf / (2 * np.sqrt(2 ** (1 / _MOFFAT_BETA) - 1))
    square = (x**2 + y**2)[:, None] / alpha[..., None, None] ** 2
    profile = (1 + square) ** -_MOFFAT_BETA * (_MOFFAT_BETA - 1) / np.pi
    profile *= (pixel / alpha[..., None, None]) ** 2
    total = 10 ** (0.4 * (NANOMAGGY_ZEROPOINT - rng.uniform(*_TRANSIENT_MAG, n)))
    unit_pixel = survey.flux_pixel_scale_arcsec or pixel
    per_unit = (unit_pixel / pixel) ** 2 / survey.nanomaggy_per_unit
    return torch.from_numpy(total[:, None, None, None] * profile * per_unit).to(images)


def _mismatched(flux: Tensor, rows: np.ndarray) -> Tensor:
    """Exchange the images of some objects in a cycle."""
    places = torch.from_numpy(np.flatnonzero(rows))
    flux[places] = flux[places.roll(1)]
    return flux


def _write(
    folder: Path,
    survey: Survey,
    truth: pa.Table,
    states: Conditions,
    kinds: np.ndarray,
    flux: Tensor,
) -> Sample:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "cutouts.npy", flux.numpy())
    n = truth.num_rows
    dec = truth["dec"].to_numpy()
    table = {
        "object_id": [f"{i:06d}" for i in range(n)],
        "survey": [survey.name] * n,
        "ra": truth["ra"].to_numpy() + states.east_arcsec / np.cos(np.radians(dec)) / 3600,
        "dec": dec + states.north_arcsec / 3600,
        "bands": [",".join(band.name for band in frame_bands(survey))] * n,
        "r_mag": truth["r_mag"],
        "kind": pa.array(kinds.tolist(), pa.string()),
        "cutout": [f"cutouts.npy#{i}" for i in range(n)],
    }
    write_table(pa.table(table), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")

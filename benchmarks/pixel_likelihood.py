"""Recall by a likelihood of pixels that knows PSF and noise, beside that by latents.

``python -m benchmarks.pixel_likelihood [--surveys decals sdss] [--pool N] [--queries N]`` simulates
a sky, and searches each query by a survey among observations by DECaLS, north up. Each image of the
pool predicts the query's at every spatial frequency through both true PSFs, with the error that its
noise leaves; see `_misfits`. The shift and the gain of each band are fitted, with Gaussian priors
of the errors of astrometry and calibration. The same galaxies are searched by latents too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.adaptation.settings import benchmark_survey
from benchmarks.support.commands import command_parser
from benchmarks.support.observations import as_cutouts
from benchmarks.support.tables import print_rows
from catalogs.simulation.observing import dark_sky, moffat_transfer, pixel_noise
from catalogs.simulation.patches import STAMP_ARCSEC, unit_phase
from catalogs.simulation.sky import Observation, SkySettings, sky_chunks
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

_MODES = 33  # up to 0.96 cycle / arcsec
_ASTROMETRY_ARCSEC = 0.1 * np.sqrt(2)  # of the difference of two positions
_CALIBRATION = 0.02 * np.sqrt(2) * np.log(10) / 2.5  # of the logarithm of the ratio of two gains
_SAME_BAND = 0.1  # relative difference of wavelengths; beyond it, colours spread the gain
_TAPER_ARCSEC = 5.0
_LEAST_POWER = 1.2  # of the noise; less can be chance
_REFINED, _STEPS = 50, 3  # galaxies whose shift and gains are fitted by several steps
_AT_ONCE = 250  # galaxies of the pool
_SEED = 505


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Fourier transforms of observations, at the same frequencies for every survey.

    `values` (n, bands, y, x) are complex [nanomaggy], `transfer` (n, bands, y, x) is that of the
    true PSF, and `noise` (n, bands) the variance of a value, shot noise of the galaxy included.
    """

    values: Tensor
    transfer: Tensor
    noise: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Spectra:
        return Spectra(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def bands(self, planes: Sequence[int]) -> Spectra:
        """Return some of the bands."""
        return Spectra(**{f.name: getattr(self, f.name)[:, planes] for f in fields(self)})

    @staticmethod
    def join(parts: Sequence[Spectra]) -> Spectra:
        """Join spectra of one survey."""
        return Spectra(
            **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Spectra)}
        )

    @staticmethod
    def of(flux: Tensor, pixel_arcsec: float, fwhm: Tensor, sigma: Tensor, sky: Tensor) -> Spectra:
        """Transform images.

        Parameters
        ----------
        flux : (n, bands, y, x) float32 tensor
            Flux of each pixel [nanomaggy], the galaxy in the middle.
        pixel_arcsec : float
            Side of a pixel [arcsec].
        fwhm, sigma : (n, bands) float32 tensors
            True PSF width [arcsec], and sky noise of a pixel [nanomaggy].
        sky : (bands,) float32 tensor
            Dark sky [nanomaggy / arcsec^2].
        """
        north, east = _frequencies()
        y, x = (torch.arange(side) - (side - 1) / 2 for side in flux.shape[-2:])
        window = _taper(pixel_arcsec * y)[:, None] * _taper(pixel_arcsec * x)
        rows = unit_phase(-pixel_arcsec * north * y)
        columns = unit_phase(-pixel_arcsec * east[:, None] * x)
        counts = 1 + flux.clamp_min(0) / (sky * pixel_arcsec**2)[:, None, None]
        slope = torch.hypot(*torch.gradient(window, spacing=pixel_arcsec))
        moved = (flux * slope * _ASTROMETRY_ARCSEC).square().sum((2, 3))  # light at the border
        return Spectra(
            values=rows @ (flux * window).to(rows.dtype) @ columns.T,
            transfer=moffat_transfer(fwhm[..., None, None], torch.hypot(north, east)),
            noise=sigma.square() * (counts * window.square()).sum((2, 3)) + moved,
        )


def limit_rows(
    space: LatentSpace, surveys: Sequence[Survey], pool: int, queries: int, seed: int = _SEED
) -> list[dict[str, Any]]:
    """Measure recall@1 by the likelihood and by latents.

    Parameters
    ----------
    space : LatentSpace
        Space that reads every survey by its definition.
    surveys : sequence of Survey
        Surveys of the queries; the anchor is observed again.
    pool, queries : int
        Numbers of galaxies; the first ones of the pool are searched for.
    seed : int
        Seed of the sky.

    Returns
    -------
    list of dict
        ``survey``, ``pool``, ``queries``; ``limit`` with its 95% interval; ``all`` and ``galaxy``
        latents; and ``share``, all latents over the limit.
    """
    anchor = space.survey(space.anchor)
    others = [survey for survey in surveys if survey.name != anchor.name]
    names = [f"{s.name}-repeat" if s.name == anchor.name else s.name for s in surveys]
    spectra: dict[str, list[Spectra]] = {}
    inputs: dict[str, list[Inputs]] = {}
    for chunk in sky_chunks([anchor, *others], SkySettings(seed=seed), pool):
        wanted = [anchor.name, *(names if chunk.first < queries else ())]
        for name, one in chunk.observe(wanted).items():
            state = chunk.conditions[name]
            seen = _spectra(one, state.psf_fwhm_arcsec, state.depth_mag)
            spectra.setdefault(name, []).append(seen)
            inputs.setdefault(name, []).append(_prepared(space, one))
    joined = {name: Spectra.join(parts) for name, parts in spectra.items()}
    latents = {
        name: space.encode(Inputs.join(parts), space.anchor).mean.numpy()
        for name, parts in inputs.items()
    }
    rows = []
    for name, survey in zip(names, surveys, strict=True):
        here, there, ratios = _common_bands(joined[name], joined[anchor.name], survey, space)
        n = min(queries, len(here.values))
        limit = recall_of(likelihood_ranks(here[:n], there, ratios), pool)
        ours = {
            kind: recall_of(
                match_ranks(latents[name][:n, :width], latents[anchor.name][:, :width]), pool
            ).recall_at_1
            for kind, width in (("all", None), ("galaxy", space.galaxy_latents))
        }
        rows.append(
            {
                "survey": name,
                "pool": pool,
                "queries": n,
                "limit": limit.recall_at_1,
                "low": limit.recall_at_1_low,
                "high": limit.recall_at_1_high,
                **ours,
                "share": ours["all"] / max(limit.recall_at_1, 1e-9),
            }
        )
    return rows


def likelihood_ranks(queries: Spectra, pool: Spectra, ratios: np.ndarray) -> np.ndarray:
    """Rank each query's own galaxy, its own row of the pool; 1 is the most likely.

    `ratios` (bands,) are wavelengths of the queries over those of the pool.
    """
    spread = np.hypot(
        _CALIBRATION, np.where(np.abs(ratios - 1) > _SAME_BAND, np.abs(np.log(ratios)), 0.0)
    )
    prior = torch.tensor([_ASTROMETRY_ARCSEC, _ASTROMETRY_ARCSEC, *spread], dtype=torch.float32)
    ranks = []
    for own in range(len(queries.values)):
        query = queries[own : own + 1]
        parts = range(0, len(pool.values), _AT_ONCE)
        misfits = torch.cat([_misfits(query, pool[i : i + _AT_ONCE], prior) for i in parts])
        best = torch.tensor(sorted({own, *misfits.argsort()[:_REFINED].tolist()}))
        misfits[best] = _misfits(query, pool[best], prior, steps=_STEPS)
        rivals = torch.nonzero(misfits <= misfits[own]).flatten()
        ranks.append(int((misfits[rivals] <= misfits[own]).sum()))
    return np.array(ranks, int)


def _misfits(query: Spectra, pool: Spectra, prior: Tensor, steps: int = 1) -> Tensor:
    """Return (n,) -2 log likelihoods of one query, given each of n galaxies of a pool.

    The light of a galaxy is a Gaussian field whose power is that of the query, less the noise. An
    image of the pool predicts the query's values, and the error of the prediction joins the noise.
    The shifts to the east and north [arcsec] and the log gain of each band are fitted.
    """
    north, east = _frequencies()
    count = torch.full_like(north * east, 2.0)  # each stands for its complex conjugate too
    count[:, 0] = 1.0
    count[_MODES, 0] = 0.0  # the level of the sky
    noise, other = query.noise[..., None, None], pool.noise[..., None, None]
    power, ratio = _signal_power(query), pool.transfer / query.transfer
    known = ratio.square() * power + other
    variance = noise + power * other / known
    weight = (count / variance).sqrt()
    expected, seen = ratio * power / known * pool.values * weight, query.values * weight
    each_band = torch.eye(len(prior) - 2)[:, :, None, None]
    parameters = torch.zeros(len(pool.values), len(prior))
    least = torch.full((len(pool.values),), torch.inf)
    for step in range(steps + 1):
        shift_east, shift_north, *gain = parameters[..., None, None].unbind(1)
        phase = unit_phase(shift_east * east + shift_north * north)[:, None]
        model = expected * phase * torch.stack(gain, 1).exp()
        residual = torch.view_as_real(model - seen).flatten(1)
        chi2 = residual.square().sum(1) + (parameters / prior).square().sum(1)
        least = torch.minimum(least, chi2.nan_to_num(torch.inf))
        if step < steps:
            shifts = [model * (2j * torch.pi * k) for k in (east, north)]
            jacobian = torch.cat([torch.stack(shifts, 1), model[:, None] * each_band], 1)
            slopes = torch.view_as_real(jacobian).flatten(2)
            parameters = parameters + gauss_newton(residual, slopes, parameters, prior)
    return least + (count * (variance / noise).log()).sum((1, 2, 3))


def gauss_newton(residual: Tensor, jacobian: Tensor, parameters: Tensor, prior: Tensor) -> Tensor:
    """Return the (n, k) step to the least chi^2, if the model were linear.

    `residual` (n, values) has unit noise, `jacobian` is (n, k, values), `parameters` (n, k), and
    `prior` (k,) are the standard deviations of the parameters.
    """
    slope = (jacobian @ residual[..., None])[..., 0] + parameters / prior**2
    normal = jacobian @ jacobian.mT + torch.diag(prior**-2)
    step: Tensor = torch.linalg.solve(normal, -slope)
    return step


def _signal_power(spectra: Spectra) -> Tensor:
    """Return (n, bands, y, x) mean powers about each frequency, less those of the noise."""
    power = spectra.values.abs().square()
    mean = functional.avg_pool2d(power, 5, 1, 2, count_include_pad=False)
    return (mean - _LEAST_POWER * spectra.noise[..., None, None]).clamp_min(0)


def _frequencies() -> tuple[Tensor, Tensor]:
    """Return (y, 1) and (x,) frequencies, the half that real images need [cycle / arcsec]."""
    along = torch.arange(-_MODES, _MODES + 1) / STAMP_ARCSEC
    return along[:, None], along[_MODES:]


def _taper(arcsec: Tensor) -> Tensor:
    """Return weights that fall to zero at the border, so that what lies beyond does not matter."""
    within = (STAMP_ARCSEC / 2 - arcsec.abs()).clamp(0, _TAPER_ARCSEC) / _TAPER_ARCSEC
    return torch.sin(torch.pi / 2 * within).square()


def _spectra(one: Observation, psf_fwhm_arcsec: np.ndarray, depth_mag: np.ndarray) -> Spectra:
    survey, pixel = one.survey, one.survey.pixel_scale_arcsec
    n, wavelengths = len(one.flux), [band.wavelength_nm for band in one.bands]
    sigma = pixel_noise(depth_mag, psf_fwhm_arcsec, pixel)[:n]
    return Spectra.of(
        to_surface_brightness(_cutouts(one), survey).nan_to_num(0) * pixel**2,
        pixel,
        torch.from_numpy(psf_fwhm_arcsec[:n]).float(),
        torch.from_numpy(sigma).float(),
        torch.from_numpy(dark_sky(wavelengths)).float(),
    )


def _cutouts(one: Observation) -> list[Any]:
    return list(as_cutouts(one.flux, [band.name for band in one.bands], one.survey))


def _prepared(space: LatentSpace, one: Observation) -> Inputs:
    encoder = space.by_definition(one.survey, [band.name for band in one.bands])
    return encoder.prepare(_cutouts(one), space.frame).inputs


def _common_bands(
    queries: Spectra, pool: Spectra, survey: Survey, space: LatentSpace
) -> tuple[Spectra, Spectra, np.ndarray]:
    """Return the bands that both surveys have, and the ratios of their wavelengths."""
    bands = [band for band in survey.bands if band.name in _observed(survey, space)]
    names = [band.name for band in bands]
    assigned = space.frame.assign(survey, names)
    planes = [k for k, name in enumerate(assigned) if name is not None]
    own = [names.index(str(assigned[k])) for k in planes]
    wavelengths = np.array([bands[k].wavelength_nm for k in own])
    return (
        queries.bands(own),
        pool.bands(planes),
        wavelengths / np.array(space.frame.wavelengths_nm)[planes],
    )


def _observed(survey: Survey, space: LatentSpace) -> set[str | None]:
    return set(space.frame.assign(survey, survey.band_names))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = command_parser("pixel_likelihood", __doc__)
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--surveys", nargs="+", default=["decals", "sdss", "hsc", "kids2"])
    parser.add_argument("--pool", type=int, default=2000, help="galaxies to search")
    parser.add_argument("--queries", type=int, default=400, help="galaxies to search for")
    parser.add_argument("--seed", type=int, default=_SEED, help="seed of the sky")
    given = parser.parse_args(arguments)
    surveys = [benchmark_survey(name) for name in given.surveys]
    rows = limit_rows(LatentSpace.load(given.space), surveys, given.pool, given.queries, given.seed)
    print_rows("Recall@1 by pixels, the limit, and by latents, by definition", rows)


if __name__ == "__main__":
    main()

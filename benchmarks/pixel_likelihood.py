"""Recall by a likelihood of pixels that knows PSF and noise: the physical limit of the latents.

``python -m benchmarks.pixel_likelihood [--surveys decals sdss] [--pool N] [--queries N]`` simulates
a sky, and searches each query by a survey among observations by DECaLS, north up. Images in bands
of nearly one wavelength are smoothed to a common PSF, by the true PSF of each. Their fluxes are
scaled so that the difference of two images has unit variance: with the variance A + B f of the
difference at a flux f, that scale is 2 sqrt(A + B f) / B (Anscombe 1948, Biometrika 35, 246).
Spatial frequencies are weighed by the noise that smoothing left. The shift and the gain of each
band have Gaussian priors of the errors of astrometry and calibration, and are marginalised with
the likelihood linear in them. The same galaxies are searched by latents, by definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.adaptation.settings import benchmark_survey
from benchmarks.support.commands import command_parser
from benchmarks.support.observations import as_cutouts
from benchmarks.support.tables import print_rows
from catalogs.simulation.observing import dark_sky, moffat_transfer, pixel_noise
from catalogs.simulation.sky import Observation, SkySettings, sky_chunks
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.images.resampling import resample
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["Stamps", "likelihood_ranks", "limit_rows", "marginal_chi2"]

_PIXEL_ARCSEC, _PIXELS = 0.524, 64
_ASTROMETRY_PX = 0.1 * np.sqrt(2) / _PIXEL_ARCSEC  # of the difference of two positions
_CALIBRATION = 0.02 * np.sqrt(2) * np.log(10) / 2.5  # of the logarithm of the ratio of two gains
_SAME_BAND = 0.1  # relative difference of wavelengths; beyond it, colours spread the gain
_FEWEST_POSITIVE = 0.1  # of the variance of the sky: a floor for negative fluxes
_SEED = 505


@dataclass(frozen=True, kw_only=True)
class Stamps:
    """Observations on common pixels.

    `brightness` (n, bands, y, x) is in nanomaggy / arcsec^2, `psf_fwhm_arcsec` and `noise` (n,
    bands) are the true PSF width and the sky noise of a pixel, `sky` (bands,) is the dark sky.
    """

    brightness: Tensor
    psf_fwhm_arcsec: Tensor
    noise: Tensor
    sky: Tensor

    def bands(self, planes: Sequence[int]) -> Stamps:
        """Return some of the bands."""
        return Stamps(
            brightness=self.brightness[:, planes],
            psf_fwhm_arcsec=self.psf_fwhm_arcsec[:, planes],
            noise=self.noise[:, planes],
            sky=self.sky[planes],
        )

    @staticmethod
    def join(parts: Sequence[Stamps]) -> Stamps:
        """Join stamps of one survey."""
        return Stamps(
            brightness=torch.cat([part.brightness for part in parts]),
            psf_fwhm_arcsec=torch.cat([part.psf_fwhm_arcsec for part in parts]),
            noise=torch.cat([part.noise for part in parts]),
            sky=parts[0].sky,
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
    found: dict[str, list[Stamps]] = {}
    inputs: dict[str, list[Inputs]] = {}
    for chunk in sky_chunks([anchor, *others], SkySettings(seed=seed), pool):
        wanted = [anchor.name, *(names if chunk.first < queries else ())]
        for name, one in chunk.observe(wanted).items():
            state = chunk.conditions[name]
            found.setdefault(name, []).append(_stamps(one, state.psf_fwhm_arcsec, state.depth_mag))
            inputs.setdefault(name, []).append(_prepared(space, one))
    stamps = {name: Stamps.join(parts) for name, parts in found.items()}
    latents = {
        name: space.encode(Inputs.join(parts), space.anchor).mean.numpy()
        for name, parts in inputs.items()
    }
    rows = []
    for name, survey in zip(names, surveys, strict=True):
        here, there, ratios = _common_bands(stamps[name], stamps[anchor.name], survey, space)
        n = min(queries, len(here.brightness))
        ranks = likelihood_ranks(here, there, ratios)[:n]
        limit = recall_of(ranks, pool)
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


def likelihood_ranks(queries: Stamps, pool: Stamps, ratios: np.ndarray) -> np.ndarray:
    """Rank each query's own galaxy, its own row of the pool; 1 is the most likely.

    `ratios` (bands,) are wavelengths of the queries over those of the pool.
    """
    common = torch.maximum(
        queries.psf_fwhm_arcsec.quantile(0.9, 0), pool.psf_fwhm_arcsec.quantile(0.9, 0)
    )
    a = queries.noise.square().mean(0) + pool.noise.square().mean(0)
    b = queries.noise.square().mean(0) / queries.sky + pool.noise.square().mean(0) / pool.sky
    weight = _noise_weight(queries, pool, common)
    here, there = (_stabilised(_smoothed(side, common), a, b) for side in (queries, pool))
    spread = np.hypot(
        _CALIBRATION, np.where(np.abs(ratios - 1) > _SAME_BAND, np.abs(np.log(ratios)), 0.0)
    )
    prior = torch.tensor([_ASTROMETRY_PX, _ASTROMETRY_PX, *spread], dtype=torch.float32)
    galaxies = _weighed(there, weight)
    return np.array(
        [_rank(i, image, galaxies, weight, prior, (a, b)) for i, image in enumerate(here)], int
    )


def _rank(
    own: int,
    image: Tensor,
    pool: Tensor,
    weight: Tensor,
    prior: Tensor,
    noise: tuple[Tensor, Tensor],
) -> int:
    """Rank one galaxy by chi^2, less what a shift and gains of its bands explain."""
    jacobian = _weighed(_derivatives(image, *noise), weight)  # (parameters, pixels)
    residual = _weighed(image[None], weight) - pool
    chi2 = marginal_chi2(residual, jacobian, prior)
    return int((chi2 <= chi2[own]).sum())


def marginal_chi2(residual: Tensor, jacobian: Tensor, prior: Tensor) -> Tensor:
    """Return the (n,) chi^2 of residuals of unit noise whose parameters are marginalised.

    `residual` is (n, pixels), `jacobian` (parameters, pixels), and `prior` (parameters,) are the
    standard deviations of the parameters. The determinant is the same for all.
    """
    projected = residual @ jacobian.T
    normal = jacobian @ jacobian.T + torch.diag(prior**-2)
    explained = (projected * torch.linalg.solve(normal, projected.T).T).sum(1)
    chi2: Tensor = residual.square().sum(1) - explained
    return chi2


def _derivatives(image: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return (2 + bands, bands, y, x) derivatives by shifts along x and y, and by log gains."""
    y, x = torch.gradient(image, dim=(1, 2))
    scale = b[:, None, None] / 2
    root = image * scale
    flux = (root.square() - a[:, None, None]) / b[:, None, None]
    gains = flux / root.clamp_min(1e-6)  # dy / df = 1 / sqrt(A + B f)
    by_band = torch.diag_embed(torch.ones(len(image)))[:, :, None, None] * gains
    return torch.cat([torch.stack([x, y]), by_band])


def _stabilised(flux: Tensor, a: Tensor, b: Tensor) -> Tensor:
    a, b = a[:, None, None], b[:, None, None]
    return 2 * torch.maximum(a + b * flux, _FEWEST_POSITIVE * a).sqrt() / b


def _frequencies() -> Tensor:
    """Return (y, x) frequencies of the real Fourier transform [cycle / arcsec]."""
    along = torch.fft.fftfreq(_PIXELS, _PIXEL_ARCSEC)
    across = torch.fft.rfftfreq(_PIXELS, _PIXEL_ARCSEC)
    return torch.hypot(along[:, None], across)


def _transfer(own: Tensor, common: Tensor) -> Tensor:
    """Return (..., bands, y, x) factors that widen the PSF; one that is wider already stays."""
    k = _frequencies()
    wide, narrow = (moffat_transfer(f[..., None, None], k) for f in (common, own))
    return (wide / narrow).clamp_max(1.0)


def _smoothed(stamps: Stamps, common: Tensor) -> Tensor:
    spectra = torch.fft.rfft2(stamps.brightness) * _transfer(stamps.psf_fwhm_arcsec, common)
    images: Tensor = torch.fft.irfft2(spectra, s=(_PIXELS, _PIXELS))
    return images


def _noise_weight(queries: Stamps, pool: Stamps, common: Tensor) -> Tensor:
    """Return (bands, y, x) factors that whiten the noise of the difference, at median PSFs."""
    powers = [
        side.noise.square().mean(0)[:, None, None]
        * _transfer(side.psf_fwhm_arcsec.median(0).values, common).square()
        for side in (queries, pool)
    ]
    total = queries.noise.square().mean(0) + pool.noise.square().mean(0)
    return ((powers[0] + powers[1]) / total[:, None, None]).clamp_min(1e-4).rsqrt()


def _weighed(images: Tensor, weight: Tensor) -> Tensor:
    """Whiten (n, bands, y, x) images, without their mean, and flatten them."""
    spectra = torch.fft.rfft2(images) * weight
    spectra[..., 0, 0] = 0  # the level of the sky
    whitened: Tensor = torch.fft.irfft2(spectra, s=(_PIXELS, _PIXELS))
    return whitened.flatten(1)


def _stamps(one: Observation, psf_fwhm_arcsec: np.ndarray, depth_mag: np.ndarray) -> Stamps:
    """Bring an observation onto the common pixels."""
    survey, pixel = one.survey, one.survey.pixel_scale_arcsec
    brightness = to_surface_brightness(_cutouts(one), survey)
    native = pixel_noise(depth_mag, psf_fwhm_arcsec, pixel)  # nanomaggy
    wavelengths = [band.wavelength_nm for band in one.bands]
    n = len(brightness)
    return Stamps(
        brightness=resample(brightness, _PIXELS, _PIXEL_ARCSEC / pixel),
        psf_fwhm_arcsec=torch.from_numpy(psf_fwhm_arcsec[:n]).float(),
        noise=torch.from_numpy(native[:n] / (pixel * _PIXEL_ARCSEC)).float(),
        sky=torch.from_numpy(dark_sky(wavelengths)).float(),
    )


def _cutouts(one: Observation) -> list[Any]:
    return list(as_cutouts(one.flux, [band.name for band in one.bands], one.survey))


def _prepared(space: LatentSpace, one: Observation) -> Inputs:
    encoder = space.by_definition(one.survey, [band.name for band in one.bands])
    return encoder.prepare(_cutouts(one), space.frame).inputs


def _common_bands(
    queries: Stamps, pool: Stamps, survey: Survey, space: LatentSpace
) -> tuple[Stamps, Stamps, np.ndarray]:
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

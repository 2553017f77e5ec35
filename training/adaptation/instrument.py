"""Fit of a survey's instrument through the frozen network of the anchor.

Six numbers of each band are fitted: zeropoint, sky level, PSF, depth, noise and wavelength. They
correct the survey's definition, as an `InstrumentCorrection` before the network. Priors keep those
at zero of which the images say nothing. The latents come near the anchor's of the same galaxies.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.func import functional_call

from galaxy_da.images.instrument import describe
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.models.devices import best_device
from galaxy_da.models.networks import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.images import PairedImages
from training.parallel.processes import Share, everyones

_COMMON = (0.3, 0.0, 0.3, 0.3, 0.3, 0.0)
_SINGLE = (0.08, 0.3, 0.08, 0.15, 0.15, 0.04)
"""Prior standard deviations of what all bands share, and of each: sky over the softening, the
others as logarithms. Images say little of a single band's PSF."""

_MOST_IMAGES = 400
_MOST_STEPS, _MOST_EVALUATIONS = 25, 30
_LEAST_VARIANCE = 1e-6
_LIMIT = 4.0  # standard deviations
_BATCH = 256


def fit_to_pairs(pairs: PairedImages) -> list[list[float]]:
    """Fit the instrument to at most 400 pairs, each process with its share of images.

    The objective is the likelihood of Gaussian differences of unknown variance in each latent. A
    contrast of the pairs would reward numbers that spread the latents. Returns six numbers of each
    band of the frame: logarithm of the gain, sky over the softening, and logarithms of the factors
    on PSF, depth noise, measured noise and wavelength.
    """
    rows = np.linspace(0, len(pairs) - 1, min(len(pairs), _MOST_IMAGES)).astype(int)
    some, space, network = pairs.take(rows), pairs.space, pairs.encoder.network
    inputs = some.target
    share, device = Share.of(len(inputs)), best_device()
    frozen = network.to(device)
    layer = _empty_correction(space).to(device)
    own = [batch.to(device) for batch in inputs[share.own].split(_BATCH)]
    bands = len(space.frame.bands)
    covariances = [
        a**2 * np.ones((bands, bands)) + b**2 * np.eye(bands)
        for a, b in zip(_COMMON, _SINGLE, strict=True)
    ]
    priors = torch.from_numpy(np.linalg.cholesky(covariances)).float()
    size = (len(priors), bands)

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        units = torch.from_numpy(flat).float().reshape(size).requires_grad_(True)
        values = {k: v.to(device) for k, v in _parameters(space, _scaled(units, priors)).items()}
        means = [frozen(functional_call(layer, values, (batch,))).mean for batch in own]
        loss = _disagreement(share.whole(torch.cat(means)), some.mean) + units.square().sum() / 2
        (gradient,) = torch.autograd.grad(loss, units)
        # Each process has the sum of the gradients through all, of its own images.
        found = np.mean(everyones([float(loss.detach()), *gradient.flatten().tolist()]), axis=0)
        return float(found[0]), found[1:]

    best = minimize(
        loss_and_gradient,
        np.zeros(size).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_LIMIT, _LIMIT)] * math.prod(size),
        options={"maxiter": _MOST_STEPS, "maxfun": _MOST_EVALUATIONS},
    ).x
    network.cpu()
    units = torch.from_numpy(best).float().reshape(size)
    fitted: list[list[float]] = _scaled(units, priors).tolist()
    return fitted


def corrected(space: LatentSpace, network: Encoder, numbers: list[list[float]]) -> Encoder:
    """Return a copy of a network that corrects its inputs by fitted numbers."""
    layer = _empty_correction(space)
    layer.load_state_dict(_parameters(space, torch.tensor(numbers)))
    return network.corrected(layer.requires_grad_(False))


def instrument_record(
    space: LatentSpace, encoder: SurveyEncoder, numbers: list[list[float]]
) -> dict[str, dict[str, float]]:
    """Return the fitted numbers of each band in physical units.

    They make the latents agree. They are no measurement of the instrument where the network hardly
    minds it, as that of `decals` hardly minds the zeropoint. ``zeropoint_mag`` is added to that of
    the definition [mag], ``sky`` subtracted [nanomaggy / arcsec^2], ``depth_mag`` and
    ``wavelength_nm`` added [mag, nm]; ``psf_factor`` and ``noise_factor`` are on the PSF and on the
    measured noise.
    """
    record = {}
    for name, (gain, sky, psf, depth, noise, wavelength) in zip(
        encoder.bands, np.transpose(numbers).tolist(), strict=True
    ):
        if name is None:
            continue
        own = encoder.survey.band(name).wavelength_nm
        record[name] = {
            "zeropoint_mag": _magnitudes(gain),
            "sky": sky * space.frame.softening_at(own),
            "psf_factor": math.exp(psf),
            "noise_factor": math.exp(noise),
            "depth_mag": _magnitudes(depth),
            "wavelength_nm": own * math.expm1(wavelength),
        }
    return record


def _disagreement(mean: Tensor, anchor: Tensor) -> Tensor:
    """Negative log likelihood [nat] of (n, latents) beside the anchor's, but for a constant."""
    variance = (mean - anchor.to(mean.device)).square().mean(0)
    return (len(anchor) / 2 * variance.clamp_min(_LEAST_VARIANCE).log().sum()).cpu()


def _scaled(units: Tensor, priors: Tensor) -> Tensor:
    """Return (6, bands) numbers from independent ones of unit variance."""
    return torch.einsum("qij,qj->qi", priors, units)


def _magnitudes(log_factor: float) -> float:
    return -2.5 * log_factor / math.log(10)


def _empty_correction(space: LatentSpace) -> InstrumentCorrection:
    a = space.architecture
    return InstrumentCorrection(a.bands, a.grids, a.conditions)


def _parameters(space: LatentSpace, numbers: Tensor) -> dict[str, Tensor]:
    """Parameters of an `InstrumentCorrection` from (6, bands) numbers, with gradients."""
    gain, sky, psf, depth, noise, wavelength = numbers
    # A wider PSF means less noise at the same depth; the noise is measured before the gain.
    logs = torch.stack([psf, depth - psf, noise + gain, wavelength])
    change = _numbers_of(logs.exp()) - _numbers_of(torch.ones_like(logs))
    return {"log_gain": gain, "sky": sky, "conditions": change[: space.architecture.conditions]}


def _numbers_of(factors: Tensor) -> Tensor:
    """Conditions of an instrument of unit properties times (4, bands) factors."""
    one = factors.new_ones(1)
    psf, depth, noise, wavelength = factors[:, None]
    return describe(psf, depth, noise, wavelength, one, one > 0)[0]

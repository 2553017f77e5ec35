"""Match PSF and noise in the image plane, then use the frozen anchor's encoder.

The prepared asinh images go back to surface brightness, are brought to the anchor's PSF and noise,
and return. PSFs are taken as Gaussian with the widths of the survey definitions, so that the
matching kernel is a Gaussian whose variance is the difference (quadrature). A sharper target is
convolved with it. A blurrier one is deconvolved as far as its noise allows: the Wiener weight, from
the image's own power averaged in rings, decides between the deconvolved and the seen, so that faint
galaxies keep their flux. White noise fills what the target lacks, frequency by frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from galaxy_da.images import Frame
from galaxy_da.surveys import Survey
from training.baselines.interface import AdaptationData, Fitted

__all__ = ["PsfMatching", "PsfNoiseMatch", "background_noise"]

_FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))
_MARGIN = 16
"""Pixels mirrored around an image so that its edges do not wrap."""
_BATCH = 256
_TINY = 1e-12


@dataclass(frozen=True)
class PsfMatching:
    """The un-adapted encoder on images of matched PSF and noise.

    Against the frozen encoder only images change, so it needs no pairs and no training.

    References
    ----------
    Wiener (1949); kernels for matching PSFs in Boucaud et al. (2016), A&A 596, A63.
    """

    name: ClassVar[str] = "psf-noise-matching"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Measure both surveys' noise; their PSFs are in their definitions."""
        match = PsfNoiseMatch.between(data)
        return Fitted(
            anchor=data.encode_anchor,
            target=lambda images: data.encode_target(match(images)),
            record={
                "variance_px2": match.variance_px2.tolist(),
                "anchor_noise": match.anchor_noise.tolist(),
                "target_noise": match.target_noise.tolist(),
            },
        )


@dataclass(frozen=True, kw_only=True)
class PsfNoiseMatch:
    """From the target's PSF and noise to the anchor's, in prepared images.

    Attributes
    ----------
    softening : (planes,) float tensor
        Of the frame at the target's bands [nanomaggy / arcsec^2].
    variance_px2 : (planes,) float tensor
        Variance of the matching Gaussian; negative where the target is the blurrier [pixel^2].
    anchor_noise, target_noise : (planes,) float tensor
        Standard deviation of a background pixel [nanomaggy / arcsec^2].
    seed : int
        Of the added noise.
    """

    softening: Tensor
    variance_px2: Tensor
    anchor_noise: Tensor
    target_noise: Tensor
    seed: int = 0

    @classmethod
    def between(cls, data: AdaptationData) -> PsfNoiseMatch:
        """Take PSFs from the survey definitions and noise from the images."""
        frame, target = data.space.frame, data.encoder.survey
        anchor = data.space.encoder(data.space.anchor).survey
        bands = [target.band(name) for name in data.encoder.bands]
        twins = [anchor.nearest_band(band.wavelength_nm, frame.bands).name for band in bands]
        noise = background_noise(
            torch.sinh(data.anchor_images) * _softening(frame, anchor, frame.bands)
        )
        softening = _softening(frame, target, data.encoder.bands)
        widths = torch.tensor(
            [
                (anchor.band(twin).psf_fwhm_arcsec, band.psf_fwhm_arcsec)
                for twin, band in zip(twins, bands, strict=True)
            ]
        )
        sigma = widths * _FWHM_TO_SIGMA / frame.pixel_scale_arcsec
        return cls(
            softening=softening.flatten(),
            variance_px2=sigma[:, 0].square() - sigma[:, 1].square(),
            anchor_noise=noise[[frame.bands.index(twin) for twin in twins]],
            target_noise=background_noise(torch.sinh(data.target_images) * softening),
            seed=data.seed,
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Match prepared target images.

        Parameters
        ----------
        images : (n, planes, y, x) float tensor
            asinh of surface brightness over softening. Not modified.

        Returns
        -------
        (n, planes, y, x) float32 tensor
        """
        draws = torch.Generator().manual_seed(self.seed)
        matched = [self._match(batch, draws) for batch in torch.split(images, _BATCH)]
        return torch.cat([torch.empty_like(images[:0]), *matched])

    def _match(self, images: Tensor, draws: torch.Generator) -> Tensor:
        softening = self.softening[:, None, None]
        padded = torch.nn.functional.pad(torch.sinh(images) * softening, [_MARGIN] * 4, "reflect")
        shape = padded.shape[-2:]
        frequency = _frequencies(shape)
        observed = torch.fft.rfft2(padded, norm="ortho")
        noise = self.target_noise.square()[:, None, None]
        variance = self.variance_px2[:, None, None]
        gaussian = torch.exp(-2 * math.pi**2 * variance.abs() * frequency.square())
        signal = (_ring_mean(observed.abs().square(), frequency) - noise).clamp_min(0)
        gain = signal / (signal * gaussian.square() + noise).clamp_min(_TINY)
        sharpened = 1 + gain * gaussian * (1 - gaussian)
        transfer = torch.where(variance >= 0, gaussian, sharpened)
        lacking = self.anchor_noise.square()[:, None, None] - noise * transfer.square()
        white = torch.fft.rfft2(torch.randn(padded.shape, generator=draws), norm="ortho")
        spectrum = observed * transfer + white * lacking.clamp_min(0).sqrt()
        linear = torch.fft.irfft2(spectrum, s=shape, norm="ortho")
        inner = linear[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        return torch.asinh(inner / softening)


def background_noise(images: Tensor) -> Tensor:
    """Noise of a background pixel, robust to sources and to gradients.

    Parameters
    ----------
    images : (n, planes, y, x) float tensor
        Linear flux or surface brightness.

    Returns
    -------
    (planes,) tensor
        1.4826 times the median absolute deviation in each image's outer eighth, its median over
        images; in the units of `images`.
    """
    side = images.shape[-1]
    edge = torch.ones(images.shape[-2:], dtype=torch.bool)
    edge[side // 8 : -(side // 8), side // 8 : -(side // 8)] = False
    outer = images[..., edge]
    deviation = (outer - outer.median(-1, keepdim=True).values).abs().median(-1).values
    return 1.4826 * deviation.median(0).values


def _softening(frame: Frame, survey: Survey, bands: tuple[str, ...]) -> Tensor:
    """(planes, 1, 1) softening at a survey's bands."""
    values = [frame.softening_at(survey.band(name).wavelength_nm) for name in bands]
    return torch.tensor(values)[:, None, None]


def _frequencies(shape: torch.Size) -> Tensor:
    """Radial frequency of the half plane [cycles / pixel]."""
    return torch.hypot(torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None, :])


def _ring_mean(power: Tensor, frequency: Tensor) -> Tensor:
    """Mean power in rings one Fourier pixel wide, back on the half plane."""
    ring = (frequency * power.shape[-2]).round().long().flatten()
    rings = int(ring.max()) + 1
    total = power.new_zeros(*power.shape[:-2], rings).index_add_(-1, ring, power.flatten(-2))
    return (total / torch.bincount(ring, minlength=rings))[..., ring].view_as(power)

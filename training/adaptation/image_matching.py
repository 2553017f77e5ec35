"""Match the PSF and noise of one survey's prepared images to those of another survey.

Prepared asinh images are converted to surface brightness, matched, and converted back. PSFs are
taken as Gaussian with the widths of the survey definitions. The matching kernel is then a Gaussian,
and its variance is the difference of the variances. A sharper image is convolved with it. A
blurrier one is deconvolved as far as its noise allows: a Wiener weight, from the image's own power
averaged in rings, interpolates between the deconvolved and the original image, so that faint
galaxies keep their flux. Noise is added frequency by frequency up to that of the other survey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from galaxy_da.images.noise import mad_std
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["ImageMatch", "background_noise", "excess_variance"]

_FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))
_BATCH = 256
_TINY = 1e-12
_SAME_NOISE = 0.9
"""Least ratio of the new noise to the old at which matched images count as no deeper."""
_SHARPER_PX2 = 0.1
"""Least excess variance of the anchor's PSF at which a survey counts as sharper [pixel^2]."""


@dataclass(frozen=True, kw_only=True)
class ImageMatch:
    """Conversion of prepared images from one survey's PSF and noise to another's.

    Attributes
    ----------
    source : (planes,) int tensor
        Plane of the input that becomes each plane of the output.
    softening_from, softening_to : (planes,) float tensors
        Softening of the frame at the bands of input and output [nanomaggy / arcsec^2].
    variance_px2 : (planes,) float tensor
        Variance of the matching Gaussian; negative if the input has the wider PSF [pixel^2].
    noise_from, noise_to : (planes,) float tensors
        Standard deviation of a background pixel in input and output [nanomaggy / arcsec^2].

    References
    ----------
    Wiener (1949); kernels for matching PSFs in Boucaud et al. (2016), A&A 596, A63.
    """

    source: Tensor
    softening_from: Tensor
    softening_to: Tensor
    variance_px2: Tensor
    noise_from: Tensor
    noise_to: Tensor

    @classmethod
    def to_anchor(
        cls, space: LatentSpace, encoder: SurveyEncoder, anchor: Tensor, target: Tensor
    ) -> Self:
        """Match a target's images to the anchor's, band by band of the target.

        Parameters
        ----------
        space : LatentSpace
            Gives the frame and the anchor survey.
        encoder : SurveyEncoder
            Survey and bands of the target.
        anchor, target : (n, bands, y, x) and (m, planes, y, x) float tensors
            Prepared images for the measurement of the noise.
        """
        own, other = _Side.of(space, encoder, target), _Side.of_anchor(space, anchor)
        nearest = other.take(_nearest_planes(space, encoder))
        return cls._between(torch.arange(len(encoder.bands)), own, nearest, own.softening)

    @classmethod
    def to_target(
        cls, space: LatentSpace, encoder: SurveyEncoder, anchor: Tensor, target: Tensor
    ) -> Self:
        """Match the anchor's images to a target's; parameters are those of `to_anchor`.

        Each of the target's bands is made from the anchor's nearest one. In bands where the target
        is sharper, the PSF is left as it is.
        """
        planes, other = _nearest_planes(space, encoder), _Side.of(space, encoder, target)
        own = _Side.of_anchor(space, anchor).take(planes)
        match = cls._between(planes, own, other, other.softening)
        return replace(match, variance_px2=match.variance_px2.clamp_min(0))

    @classmethod
    def _between(cls, source: Tensor, own: _Side, other: _Side, softening_to: Tensor) -> Self:
        return cls(
            source=source,
            softening_from=own.softening,
            softening_to=softening_to,
            variance_px2=other.sigma_px.square() - own.sigma_px.square(),
            noise_from=own.noise,
            noise_to=other.noise,
        )

    @property
    def degrades(self) -> bool:
        """True if the output is no deeper than the input, in every band."""
        return bool((self.noise_to >= _SAME_NOISE * self.noise_from).all())

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """Match prepared images.

        Parameters
        ----------
        images : (n, bands, y, x) float tensor
            asinh of surface brightness over softening. Not modified.
        draws : torch.Generator
            Source of the added noise.

        Returns
        -------
        (n, planes, y, x) float32 tensor
        """
        matched = [
            self.add_noise(
                *self.convolve(batch), self.white_noise(len(batch), images.shape[-2:], draws)
            )
            for batch in torch.split(images, _BATCH)
        ]
        return torch.cat([torch.empty_like(images[:0, self.source]), *matched])

    def convolve(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give images the other PSF, without new noise; edges are periodic.

        Parameters
        ----------
        images : (n, bands, y, x) float tensor
            As for a call.

        Returns
        -------
        convolved : (n, planes, y, x) float tensor
            Surface brightness [nanomaggy / arcsec^2].
        missing : (1 or n, planes, y, x // 2 + 1) float tensor
            Amplitude of the noise still to add, by spatial frequency.
        """
        brightness = torch.sinh(images[:, self.source]) * self.softening_from[:, None, None]
        frequency = _frequencies(brightness.shape[-2:])
        spectrum = torch.fft.rfft2(brightness, norm="ortho")
        noise = self.noise_from.square()[:, None, None]
        variance = self.variance_px2[:, None, None]
        transfer = torch.exp(-2 * math.pi**2 * variance.abs() * frequency.square())[None]
        if (variance < 0).any():
            signal = (_ring_mean(spectrum.abs().square(), frequency) - noise).clamp_min(0)
            gain = signal / (signal * transfer.square() + noise).clamp_min(_TINY)
            sharpened = 1 + gain * transfer * (1 - transfer)
            transfer = torch.where(variance >= 0, transfer, sharpened)
        shape = brightness.shape[-2:]
        convolved = torch.fft.irfft2(spectrum * transfer, s=shape, norm="ortho")
        missing = self.noise_to.square()[:, None, None] - noise * transfer.square()
        return convolved, missing.clamp_min(0).sqrt()

    def white_noise(self, n: int, side: torch.Size, draws: torch.Generator) -> Tensor:
        """Draw white noise of unit variance for `add_noise`, (n, planes, *side)."""
        return torch.randn((n, len(self.source), *side), generator=draws)

    def add_noise(self, convolved: Tensor, missing: Tensor, white: Tensor) -> Tensor:
        """Add noise of the missing amplitude to convolved images, and prepare them."""
        spectrum = torch.fft.rfft2(white, norm="ortho")
        noise = torch.fft.irfft2(spectrum * missing, s=convolved.shape[-2:], norm="ortho")
        return torch.asinh((convolved + noise) / self.softening_to[:, None, None])


def excess_variance(space: LatentSpace, encoder: SurveyEncoder) -> Tensor:
    """Excess variance of the anchor's PSF over a target's.

    Parameters
    ----------
    space, encoder
        As for `ImageMatch.to_anchor`.

    Returns
    -------
    (planes,) tensor
        Variance of the matching Gaussian; 0 for bands in which the target is not clearly sharper
        [pixel^2].
    """
    wide = _sigma_px(space, space.encoder(space.anchor))[_nearest_planes(space, encoder)]
    excess = wide.square() - _sigma_px(space, encoder).square()
    return torch.where(excess > _SHARPER_PX2, excess, 0)


def background_noise(images: Tensor) -> Tensor:
    """Measure the noise of a background pixel, robust to sources and gradients.

    Parameters
    ----------
    images : (n, planes, y, x) float tensor
        Linear flux or surface brightness.

    Returns
    -------
    (planes,) tensor
        Median over images of the robust standard deviation in the outer eighth, in the units of
        `images`.
    """
    side = images.shape[-1]
    edge = torch.ones(images.shape[-2:], dtype=torch.bool)
    edge[side // 8 : -(side // 8), side // 8 : -(side // 8)] = False
    return mad_std(images[..., edge]).median(0).values


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Softening, PSF and noise of one survey, by plane."""

    softening: Tensor
    sigma_px: Tensor
    noise: Tensor

    @classmethod
    def of_anchor(cls, space: LatentSpace, images: Tensor) -> Self:
        return cls.of(space, space.encoder(space.anchor), images)

    @classmethod
    def of(cls, space: LatentSpace, encoder: SurveyEncoder, images: Tensor) -> Self:
        frame, survey = space.frame, encoder.survey
        bands = [survey.band(name) for name in encoder.bands]
        softening = torch.tensor([frame.softening_at(band.wavelength_nm) for band in bands])
        return cls(
            softening=softening,
            sigma_px=_sigma_px(space, encoder),
            noise=background_noise(torch.sinh(images) * softening[:, None, None]),
        )

    def take(self, planes: Tensor) -> Self:
        return type(self)(
            softening=self.softening[planes],
            sigma_px=self.sigma_px[planes],
            noise=self.noise[planes],
        )


def _sigma_px(space: LatentSpace, encoder: SurveyEncoder) -> Tensor:
    """(planes,) standard deviation of the survey's PSF in each band [pixel]."""
    fwhm = [encoder.survey.band(name).psf_fwhm_arcsec for name in encoder.bands]
    return torch.tensor(fwhm) * _FWHM_TO_SIGMA / space.frame.pixel_scale_arcsec


def _nearest_planes(space: LatentSpace, encoder: SurveyEncoder) -> Tensor:
    """(planes,) index of the anchor's band nearest to each of the target's."""
    anchor = space.encoder(space.anchor)
    bands = [encoder.survey.band(name) for name in encoder.bands]
    nearest = [anchor.survey.nearest_band(band.wavelength_nm, anchor.bands).name for band in bands]
    return torch.tensor([anchor.bands.index(name) for name in nearest])


def _frequencies(shape: torch.Size) -> Tensor:
    """Radial frequency of the half plane [cycles / pixel]."""
    return torch.hypot(torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None, :])


def _ring_mean(power: Tensor, frequency: Tensor) -> Tensor:
    """Mean power in rings one Fourier pixel wide, back on the half plane."""
    ring = (frequency * power.shape[-2]).round().long().flatten()
    rings = int(ring.max()) + 1
    total = power.new_zeros(*power.shape[:-2], rings).index_add_(-1, ring, power.flatten(-2))
    return (total / torch.bincount(ring, minlength=rings))[..., ring].view_as(power)

"""Degrade prepared images of the anchor survey to the PSF and noise of a target survey.

Prepared asinh images are converted to surface brightness, matched, and converted back. PSFs are
taken as Gaussian with the widths of the survey definitions. The matching kernel is then a Gaussian,
and its variance is the difference of the variances; where the target is sharper, the PSF is left as
it is. Noise is added frequency by frequency up to that of the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from galaxy_da.images.noise import mad_std
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["ImageMatch", "background_noise", "excess_variance"]

_FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))
_BATCH = 256
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
    """

    source: Tensor
    softening_from: Tensor
    softening_to: Tensor
    variance_px2: Tensor
    noise_from: Tensor
    noise_to: Tensor

    @classmethod
    def to_target(
        cls, space: LatentSpace, encoder: SurveyEncoder, anchor: Tensor, target: Tensor
    ) -> Self:
        """Match the anchor's nearest band to each band of the target; measure noise on images."""
        own, planes = space.encoder(space.anchor), _nearest_planes(space, encoder)
        softening, other = _softening(space, own), _softening(space, encoder)
        before, after = (_sigma_px(space, side).square() for side in (own, encoder))
        return cls(
            source=planes,
            softening_from=softening[planes],
            softening_to=other,
            variance_px2=after - before[planes],
            noise_from=background_noise(torch.sinh(anchor) * softening[:, None, None])[planes],
            noise_to=background_noise(torch.sinh(target) * other[:, None, None]),
        )

    @property
    def degrades(self) -> bool:
        """True if the output is no deeper than the input, in every band."""
        return bool((self.noise_to >= _SAME_NOISE * self.noise_from).all())

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """Match (n, bands, y, x) prepared images; the noise is drawn from `draws`."""
        matched = [
            self.add_noise(
                *self.convolve(batch), self.white_noise(len(batch), images.shape[-2:], draws)
            )
            for batch in torch.split(images, _BATCH)
        ]
        return torch.cat([torch.empty_like(images[:0, self.source]), *matched])

    def convolve(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give images the other PSF, without new noise; edges are periodic.

        Returns
        -------
        convolved : (n, planes, y, x) float tensor
            Surface brightness [nanomaggy / arcsec^2].
        missing : (1 or n, planes, y, x // 2 + 1) float tensor
            Amplitude of the noise still to add, by spatial frequency.
        """
        brightness = torch.sinh(images[:, self.source]) * self.softening_from[:, None, None]
        spectrum = torch.fft.rfft2(brightness, norm="ortho")
        transfer = self.transfer(spectrum, _frequencies(brightness.shape[-2:]))
        shape = brightness.shape[-2:]
        convolved = torch.fft.irfft2(spectrum * transfer, s=shape, norm="ortho")
        noise = self.noise_from.square()[:, None, None]
        missing = self.noise_to.square()[:, None, None] - noise * transfer.square()
        return convolved, missing.clamp_min(0).sqrt()

    def transfer(self, spectrum: Tensor, frequency: Tensor) -> Tensor:
        """Factor of a (n, planes, y, x // 2 + 1) spectrum by radial frequency [cycles / pixel]."""
        variance = self.variance_px2.clamp_min(0)[:, None, None]
        return torch.exp(-2 * math.pi**2 * variance * frequency.square())[None]

    def white_noise(self, n: int, side: torch.Size, draws: torch.Generator) -> Tensor:
        """Draw white noise of unit variance for `add_noise`, (n, planes, *side)."""
        return torch.randn((n, len(self.source), *side), generator=draws)

    def add_noise(self, convolved: Tensor, missing: Tensor, white: Tensor) -> Tensor:
        """Add noise of the missing amplitude to convolved images, and prepare them."""
        spectrum = torch.fft.rfft2(white, norm="ortho")
        noise = torch.fft.irfft2(spectrum * missing, s=convolved.shape[-2:], norm="ortho")
        return torch.asinh((convolved + noise) / self.softening_to[:, None, None])


def excess_variance(space: LatentSpace, encoder: SurveyEncoder) -> Tensor:
    """(planes,) excess of the anchor's PSF variance where a target is clearly sharper [pixel^2]."""
    wide = _sigma_px(space, space.encoder(space.anchor))[_nearest_planes(space, encoder)]
    excess = wide.square() - _sigma_px(space, encoder).square()
    return torch.where(excess > _SHARPER_PX2, excess, 0)


def background_noise(images: Tensor) -> Tensor:
    """(planes,) noise of a background pixel in (n, planes, y, x) linear images.

    It is the median over images of the robust standard deviation in the outer eighth.
    """
    side = images.shape[-1]
    edge = torch.ones(images.shape[-2:], dtype=torch.bool)
    edge[side // 8 : -(side // 8), side // 8 : -(side // 8)] = False
    return mad_std(images[..., edge]).median(0).values


def _softening(space: LatentSpace, encoder: SurveyEncoder) -> Tensor:
    """(planes,) softening of the frame at the encoder's bands [nanomaggy / arcsec^2]."""
    bands = [encoder.survey.band(name) for name in encoder.bands]
    return torch.tensor([space.frame.softening_at(band.wavelength_nm) for band in bands])


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
    """Radial frequency of the half plane of a real image's spectrum [cycles / pixel]."""
    return torch.hypot(torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None, :])

"""Draw random instruments, so that a network meets every kind of survey in training.

No survey that measures the result is copied: bands, PSF, depth, pixels and stretch are drawn from
ranges that hold those of the last decades.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from galaxy_da.images.preparation import Frame
from galaxy_da.surveys import Band, Stretch, Survey

_PICTURES, _SHARP, _ANCHOR = 0.25, 0.12, 0.12
"""Shares of instruments: colour pictures, space telescopes, and the anchor survey itself."""

_BAND_SETS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.40, (481.0, 642.0, 925.0)),  # g r z
    (0.27, (475.0, 620.0, 760.0)),  # g r i
    (0.10, (475.0, 625.0)),
    (0.05, (620.0, 765.0, 895.0)),  # r i z
    (0.03, (360.0, 475.0, 620.0)),  # u g r
    (0.05, (640.0,)),
    (0.05, (800.0,)),
    (0.05, (1020.0, 1250.0, 2150.0)),  # Y J Ks
)
"""Shares and wavelengths [nm] of the sets of bands that are drawn."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """Properties of an instrument that no definition states."""

    jpeg_quality: int = 90
    noise_blur_px: float = 0.0  # standard deviation of the smoothing of the noise [pixel]
    halo_share: float = 0.0  # share of the PSF's light in its wide wings
    halo_fwhm: float = 5.0  # width of the wings over that of the core
    sky_residual: float = 0.1  # standard deviation of the sky level over a frame pixel's noise


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A survey, its bands in the planes of the frame, and how its images come out."""

    survey: Survey
    planes: tuple[str | None, ...]
    stretch: Stretch | None = None  # of colour pictures
    picture_pixel_arcsec: float = 0.3  # pixel to which pictures are interpolated
    details: Details = Details()

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands of the planes that are not missing."""
        return tuple(self.survey.band(name) for name in self.planes if name is not None)


def anchor_instrument(survey: Survey, frame: Frame, rng: np.random.Generator) -> Instrument:
    """Return the anchor survey with random details: flux, or its own colour pictures."""
    stretch = survey.stretch if rng.random() < _PICTURES else None
    stretch = _varied(stretch, rng) if isinstance(stretch, Stretch) else None
    return Instrument(
        survey=survey,
        planes=frame.bands,
        stretch=stretch,
        picture_pixel_arcsec=survey.pixel_scale_arcsec,
        details=_draw_details(rng),
    )


def draw_instrument(
    survey: Survey, frame: Frame, rng: np.random.Generator, sharpest_arcsec: float = 0.0
) -> Instrument:
    """Draw an instrument; sometimes it is the anchor's `survey` itself.

    No PSF is narrower than `sharpest_arcsec`; fine details of large patches would cost too much.
    """
    kind = rng.random()
    if kind < _ANCHOR:
        return anchor_instrument(survey, frame, rng)
    sharp = kind < _ANCHOR + _SHARP and not sharpest_arcsec
    picture = not sharp and rng.random() < _PICTURES
    wavelengths = _draw_wavelengths(rng, 3 if picture else 0)
    bands = _draw_bands(wavelengths, sharp, sharpest_arcsec, rng)
    pixel = rng.uniform(0.05, 0.15) if sharp else math.exp(rng.uniform(*np.log([0.18, 0.65])))
    drawn = Survey(
        name="drawn",
        title="Drawn instrument",
        bands=bands,
        pixel_scale_arcsec=float(pixel),
        flux_unit="nanomaggy",
    )
    return Instrument(
        survey=drawn,
        planes=frame.assign(drawn, drawn.band_names),
        stretch=_draw_stretch(drawn, rng) if picture else None,
        picture_pixel_arcsec=float(pixel * rng.choice([1.0, rng.uniform(0.5, 1.0)])),
        details=_draw_details(rng),
    )


def _draw_wavelengths(rng: np.random.Generator, least: int) -> np.ndarray:
    shares = np.array([share if len(nm) >= least else 0.0 for share, nm in _BAND_SETS])
    chosen = _BAND_SETS[rng.choice(len(shares), p=shares / shares.sum())][1]
    shift = rng.normal(0, 0.02) + rng.normal(0, 0.025, len(chosen))
    return np.sort(np.array(chosen) * np.exp(shift))


def _draw_bands(
    nm: np.ndarray, sharp: bool, sharpest: float, rng: np.random.Generator
) -> tuple[Band, ...]:
    """PSF and depth of each band; depth falls towards the red, as sky brightness rises."""
    low, high = (0.1, 0.35) if sharp else (0.55, 2.6)
    fwhm = math.exp(rng.uniform(math.log(low), math.log(high))) * np.exp(
        rng.normal(0, 0.08, len(nm)) - 0.15 * np.log(nm / 640)
    )
    fwhm = np.maximum(fwhm, sharpest)
    depth = rng.uniform(20.3, 26.3) - 2.2 * np.log(nm / 640).clip(-0.5, 0.5)
    depth = depth + rng.normal(0, 0.3, len(nm))
    return tuple(
        Band(
            name=f"b{i}",
            wavelength_nm=float(nm[i]),
            psf_fwhm_arcsec=float(fwhm[i]),
            psf_scatter=0.1,
            depth_mag=float(depth[i]),
            depth_scatter=0.18,
        )
        for i in range(len(nm))
    )


def _draw_stretch(survey: Survey, rng: np.random.Generator) -> Stretch:
    """Draw a stretch that shows a galaxy as bright as surveys' pictures do."""
    red, green, blue = survey.band_names[::-1]
    gain, softness = math.exp(rng.uniform(*np.log([2.0, 6.0]))), rng.uniform(6, 20)
    colour = np.exp(rng.uniform(0.1, 0.5) * np.array([-1, 0, 1]) + rng.normal(0, 0.1, 3))
    return Stretch(
        planes=(red, green, blue),
        scales=tuple((gain * colour).tolist()),
        offset=float(rng.choice([0.0, 0.03])),
        q=softness,
        divisor=float(softness * rng.uniform(0.3, 1.0)),
        pixel_scale_arcsec=survey.pixel_scale_arcsec,
    )


def _varied(stretch: Stretch, rng: np.random.Generator) -> Stretch:
    return stretch.model_copy(update={"q": stretch.q * math.exp(rng.normal(0, 0.05))})


def _draw_details(rng: np.random.Generator) -> Details:
    return Details(
        jpeg_quality=int(rng.integers(75, 97)),
        noise_blur_px=float(rng.choice([0.0, rng.uniform(0.3, 1.4)])),
        halo_share=float(rng.uniform(0, 0.06)),
        halo_fwhm=float(rng.uniform(3, 8)),
        sky_residual=float(rng.uniform(0, 0.25)),
    )

"""Galaxies, colours and decoder that the sections of the page share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.anchor.choosing import brighter, diverse
from benchmarks.anchor.mosaics import colours, mosaic, still
from benchmarks.anchor.outliers import mahalanobis_distance
from benchmarks.measures.image_quality import aperture_flux
from benchmarks.measures.reconstruction import EncodedSample, active_latents, kl_per_latent
from training.pretraining.sky_residuals import beyond_galaxy

__all__ = ["PageContext", "Picture"]

_BRIGHT = 0.3
_ORDINARY = 0.95  # quantile of either outlier score above which a galaxy is not shown
_ZOOM = 1 / 2
_ZEROPOINT = 22.5  # AB, of a nanomaggy


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture with its texts.

    Attributes
    ----------
    uri : str
        A ``data:`` URI.
    alt : str
        Text in place of the picture.
    size : (int, int)
        Width and height [pixel].
    caption : str
        Text below the picture.
    rest : str
        Still picture for readers who prefer reduced motion; empty for a still picture.
    """

    uri: str
    alt: str
    size: tuple[int, int]
    caption: str = ""
    rest: str = ""


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """An encoded sample, with the pictures and measures that several sections need.

    Attributes
    ----------
    encoded : EncodedSample
        Galaxies of the page.
    seed : int
        Seed of every random choice.
    """

    encoded: EncodedSample
    seed: int = 0

    @cached_property
    def kl(self) -> np.ndarray:
        """(latents,) KL divergence from the prior [nat]."""
        return kl_per_latent(self.encoded.mean, self.encoded.variance)

    @cached_property
    def active(self) -> np.ndarray:
        """(latents,) bool, true for latents in use."""
        return active_latents(self.encoded.mean)

    @cached_property
    def flux(self) -> np.ndarray:
        """(n, bands) flux within 5 arcsec [nanomaggy]."""
        return aperture_flux(self.encoded.images, self.encoded.space.frame)

    @cached_property
    def magnitude(self) -> np.ndarray:
        """(n,) AB magnitude of `flux` in the middle band, NaN where the flux is not positive."""
        flux = self.flux[:, self.middle]
        return _ZEROPOINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))

    @cached_property
    def colour(self) -> np.ndarray:
        """(n,) bluest minus reddest band [mag], NaN where either flux is not positive."""
        flux = np.where(self.flux > 0, self.flux, np.nan)
        return np.asarray(-2.5 * np.log10(flux[:, 0] / flux[:, -1]))

    @property
    def middle(self) -> int:
        """Number of the middle band."""
        return len(self.encoded.space.frame.bands) // 2

    @cached_property
    def observed_pictures(self) -> np.ndarray:
        """(n, y, x, 3) uint8 pictures of the observed images."""
        return colours(self.encoded.space, self.encoded.images)

    @cached_property
    def bright(self) -> np.ndarray:
        """Rows of the brighter galaxies, brightest first, to show.

        Outliers are left out, as are images with large residuals outside the galaxy, such as trails
        and bright stars.
        """
        e = self.encoded
        residual = (e.decoded - e.images).numpy()[..., beyond_galaxy(e.space.frame)]
        scores = mahalanobis_distance(e.mean), np.square(residual).sum((1, 2))
        ordinary = np.all([score <= np.quantile(score, _ORDINARY) for score in scores], axis=0)
        return brighter(np.where(ordinary, self.flux[:, self.middle], -np.inf), _BRIGHT)

    @property
    def zoom_arcsec(self) -> float:
        """Side of the pictures that `zoomed` returns [arcsec]."""
        return _ZOOM * self.encoded.space.frame.field_of_view_arcsec

    def zoomed(self, pictures: np.ndarray) -> np.ndarray:
        """Return the central part of (n, y, x, 3) pictures."""
        edge = round((1 - _ZOOM) / 2 * pictures.shape[1])
        return pictures[:, edge : -edge or None, edge : -edge or None]

    def diverse_rows(self, count: int) -> np.ndarray:
        """Return rows of brighter galaxies that differ from each other."""
        return diverse(self.encoded.galaxy, self.bright, count)

    def decoded(self, latents: np.ndarray) -> np.ndarray:
        """Decode (n, latents) points into (n, y, x, 3) uint8 pictures."""
        return colours(self.encoded.space, self.encoded.space.decode(latents))

    def observed(self, row: int, caption: str = "") -> Picture:
        """Show the observed image of one galaxy."""
        return self.single(self.observed_pictures[row], f"{self.encoded.ids[row]}", caption)

    def single(self, picture: np.ndarray, alt: str, caption: str = "") -> Picture:
        """Show one (y, x, 3) picture."""
        height, width, _ = picture.shape
        return Picture(uri=still(picture), alt=alt, size=(width, height), caption=caption)

    def sheet(self, pictures: np.ndarray, columns: int, alt: str, *, gap: int = 2) -> Picture:
        """Show (n, y, x, 3) pictures as one mosaic."""
        return self.single(mosaic(pictures, columns, gap), alt)

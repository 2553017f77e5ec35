"""What the sections of the page share: galaxies, their colours, and a decoder that draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.anchor.choosing import brighter, diverse
from benchmarks.anchor.mosaics import colours, mosaic, still
from benchmarks.anchor.outliers import remoteness
from benchmarks.measures.image_quality import aperture_flux
from benchmarks.measures.reconstruction import EncodedSample, active_latents, kl_per_latent
from training.pretraining.sky_residuals import beyond_galaxy

__all__ = ["Picture", "Stage"]

_BRIGHT = 0.3
_ORDINARY = 0.95  # nearer to the middle than this share of all: the rest are the outliers'
_ZOOM = 1 / 2
_ZEROPOINT = 22.5  # AB, of a nanomaggy


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture and what is said of it.

    Attributes
    ----------
    uri : str
        A ``data:`` URI.
    alt : str
        In place of it.
    size : (int, int)
        Its width and height [pixels].
    caption : str
        Below it.
    rest : str
        What to show those who asked for less motion; empty where the picture does not move.
    """

    uri: str
    alt: str
    size: tuple[int, int]
    caption: str = ""
    rest: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A sample through the anchor, ready to be shown.

    Attributes
    ----------
    encoded : EncodedSample
        The galaxies.
    seed : int
        Of every random choice.
    """

    encoded: EncodedSample
    seed: int = 0

    @cached_property
    def kl(self) -> np.ndarray:
        """(latents,) divergence from the prior [nat]."""
        return kl_per_latent(self.encoded.mean, self.encoded.variance)

    @cached_property
    def active(self) -> np.ndarray:
        """(latents,) bool: which are in use."""
        return active_latents(self.encoded.mean)

    @cached_property
    def flux(self) -> np.ndarray:
        """(n, bands) flux within 5 arcsec [nanomaggy]."""
        return aperture_flux(self.encoded.images, self.encoded.space.frame)

    @cached_property
    def magnitude(self) -> np.ndarray:
        """(n,) AB magnitude of that flux in the middle band, NaN where it is not positive."""
        flux = self.flux[:, self.middle]
        return _ZEROPOINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))

    @cached_property
    def colour(self) -> np.ndarray:
        """(n,) bluest less reddest band [mag], NaN where either has no light."""
        flux = np.where(self.flux > 0, self.flux, np.nan)
        return np.asarray(-2.5 * np.log10(flux[:, 0] / flux[:, -1]))

    @property
    def middle(self) -> int:
        """Number of the middle band."""
        return len(self.encoded.space.frame.bands) // 2

    @cached_property
    def seen(self) -> np.ndarray:
        """(n, y, x, 3) uint8: the galaxies as observed."""
        return colours(self.encoded.space, self.encoded.images)

    @cached_property
    def bright(self) -> np.ndarray:
        """Rows of the brighter galaxies, brightest first, for pictures.

        Outliers are left out, and images redrawn badly beside the galaxy: trails, bright stars.
        """
        e = self.encoded
        left = (e.decoded - e.images).numpy()[..., beyond_galaxy(e.space.frame)]
        odd = remoteness(e.mean), np.square(left).sum((1, 2))
        ordinary = np.all([score <= np.quantile(score, _ORDINARY) for score in odd], axis=0)
        return brighter(np.where(ordinary, self.flux[:, self.middle], -np.inf), _BRIGHT)

    @property
    def zoom_arcsec(self) -> float:
        """Side of what `zoomed` leaves [arcsec]."""
        return _ZOOM * self.encoded.space.frame.field_of_view_arcsec

    def zoomed(self, pictures: np.ndarray) -> np.ndarray:
        """Cut the middle out of (n, y, x, 3) pictures."""
        edge = round((1 - _ZOOM) / 2 * pictures.shape[1])
        return pictures[:, edge : -edge or None, edge : -edge or None]

    def unlike(self, count: int) -> np.ndarray:
        """Rows of brighter galaxies that differ from each other."""
        return diverse(self.encoded.galaxy, self.bright, count)

    def redraw(self, latents: np.ndarray) -> np.ndarray:
        """Decode (n, latents) points into (n, y, x, 3) uint8 pictures."""
        return colours(self.encoded.space, self.encoded.space.decode(latents))

    def observed(self, row: int, caption: str = "") -> Picture:
        """Show one galaxy as it was observed."""
        return self.single(self.seen[row], f"{self.encoded.ids[row]}", caption)

    def single(self, picture: np.ndarray, alt: str, caption: str = "") -> Picture:
        """Show one (y, x, 3) picture."""
        height, width, _ = picture.shape
        return Picture(uri=still(picture), alt=alt, size=(width, height), caption=caption)

    def sheet(self, pictures: np.ndarray, columns: int, alt: str, *, gap: int = 2) -> Picture:
        """Show (n, y, x, 3) pictures as one."""
        return self.single(mosaic(pictures, columns, gap), alt)

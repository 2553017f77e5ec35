"""Cut galaxies out of one coadded tile, whose files are mapped into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_da.errors import CutoutError, first_line
from galaxy_da.images.bands import agreed_bands, check_agree, match_bands
from galaxy_da.images.calibration import (
    SAME_UNIT,
    flux_factors,
    follows_area,
    is_photometric,
    linearise,
)
from galaxy_da.images.cutout import Cutout
from galaxy_da.images.cutouts import check_core
from galaxy_da.images.fits import check_length, open_images, select_planes
from galaxy_da.images.fits_source import FitsSource
from galaxy_da.images.hdu_roles import Role
from galaxy_da.images.placement import Placement, placements
from galaxy_da.images.quiet import quiet
from galaxy_da.images.tile_files import TileFiles
from galaxy_da.images.wcs import celestial_wcs, is_wcs_card, pixel_scale_arcsec
from galaxy_da.surveys import Survey

_SCALING_CARDS = ("BSCALE", "BZERO", "BLANK")  # of pixels that cannot be mapped as they are
_COMPRESSED = (b"\x1f\x8b", b"BZh")
_DATES = ("DATE", "MJD")


@dataclass(frozen=True, kw_only=True)
class Section:
    """Pixels of a tile around one galaxy, on the tile's own grid.

    Attributes
    ----------
    pixels : (planes, y, x) float32 array
        Flux in the survey's unit, NaN where masked. Smaller than asked for at an edge.
    bands : tuple of str
        The survey's band of each plane.
    noise : (planes,) float array or None
        Standard deviation of a pixel, where the tile states it: the median over the section.
    place : Placement
        Place of the galaxy among the tile's pixels.
    origin_xy : (x, y) int
        Pixel of the tile that is the first of the section.
    square_xy : (x, y) int
        The same of the whole square, which may begin outside the tile.
    side_px : int
        Side of the whole square.
    wcs : WCS
        Celestial WCS of the tile.
    photometric : bool
        False if an image says that its fluxes are not.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    noise: np.ndarray | None
    place: Placement
    origin_xy: tuple[int, int]
    square_xy: tuple[int, int]
    side_px: int
    wcs: Any
    photometric: bool = True

    def square(self) -> np.ndarray:
        """Return the pixels of the whole square, NaN outside the tile."""
        planes, height, width = self.pixels.shape
        if (height, width) == (self.side_px, self.side_px):
            return self.pixels
        whole = np.full((planes, self.side_px, self.side_px), np.nan, np.float32)
        x, y = np.subtract(self.origin_xy, self.square_xy)
        whole[:, y : y + height, x : x + width] = self.pixels
        return whole

    def cutout(self, psf_fwhm_arcsec: float | None = None) -> Cutout:
        """Return the section north up. At the edge of a tile it is smaller."""
        (x, y), (x0, y0) = self.place.centre_xy, self.origin_xy
        check_core(self.pixels, (x - x0, y - y0))
        upright, centre_xy = self.place.north_up(self.pixels, (x - x0, y - y0))
        if upright is not self.pixels and self.pixels.shape[1:] != (self.side_px, self.side_px):
            x0, y0 = self.square_xy  # turned about the galaxy, which is not in the middle
            upright, centre_xy = self.place.north_up(self.square(), (x - x0, y - y0))
            upright, centre_xy = _trimmed(upright, centre_xy)
        return Cutout(
            pixels=upright,
            bands=self.bands,
            pixel_scale_arcsec=self.place.pixel_scale_arcsec,
            centre_xy=centre_xy,
            noise=None if self.noise is None else tuple(self.noise.tolist()),
            psf_fwhm_arcsec=psf_fwhm_arcsec,
            has_wcs=True,
            photometric=self.photometric,
        )


class Tile:
    """Images of a tile. Their files are mapped, or read once where they are compressed.

    Parameters
    ----------
    files : TileFiles
        Files of the tile.
    survey : Survey
        Survey of the tile.

    Raises
    ------
    CutoutError
        If a file cannot be read, calibrated or placed on the sky.
    """

    def __init__(self, files: TileFiles, survey: Survey) -> None:
        grids: dict[tuple[Any, ...], _Grid] = {}
        with ExitStack() as stack:
            masks: list[Any] = []
            for band, path in files.planes:
                hdus = stack.enter_context(open_hdus(path))
                for role, hdu in select_planes(hdus, survey, path.name):
                    if band and role.band:
                        check_agree(
                            [band], [role.band], "the file name says band", "the plane says", survey
                        )
                    own = Role(kind=role.kind, band=band or role.band, is_named=False)
                    masks.append((own, hdu))
            for band, path in files.images.items():
                others = [item for item in masks if not band or item[0].band in (None, band)]
                hdus = stack.enter_context(open_hdus(path))
                for source in _sources(path, hdus, survey, others):
                    key = source.values.shape[1:], *_grid_cards(source.header)
                    if key not in grids:
                        grids[key] = _Grid(path.name, source)
                    named, scale = [band] if band else None, grids[key].scale
                    grids[key].layers.append(_Layer(source, named, survey, scale))
        self._grids = list(grids.values())

    def sections(
        self, ra: np.ndarray, dec: np.ndarray, side_arcsec: float
    ) -> list[list[Section] | CutoutError]:
        """Cut squares around (n,) ICRS positions [deg].

        Returns
        -------
        list of list of Section, or CutoutError
            For each position, one section for each grid of pixels that bands of the tile have.
        """
        places = [placements(grid.wcs, grid.shape, ra, dec) for grid in self._grids]
        found: list[list[Section] | CutoutError] = []
        for row in zip(*places, strict=True):
            try:
                found.append(
                    [
                        grid.section(place, side_arcsec)
                        for grid, place in zip(self._grids, row, strict=True)
                    ]
                )
            except CutoutError as error:
                found.append(error)
        return found


class _Grid:
    """Images of a tile on one grid of pixels."""

    def __init__(self, name: str, source: FitsSource) -> None:
        self.layers: list[_Layer] = []
        self.shape: tuple[int, ...] = source.values.shape[1:]
        wcs = celestial_wcs(source.header)
        if wcs is None:
            raise CutoutError(f"{name}: the image has no celestial WCS")
        self.wcs, self.scale = wcs, pixel_scale_arcsec(wcs)

    @cached_property
    def bands(self) -> tuple[str, ...]:
        bands: tuple[str, ...] = sum((layer.bands for layer in self.layers), ())
        if len(set(bands)) < len(bands):
            raise CutoutError(f"images repeat a band: {', '.join(bands)}")
        return bands

    @cached_property
    def has_noise(self) -> bool:
        return any(layer.has_noise for layer in self.layers)

    def section(self, place: Placement | CutoutError, side_arcsec: float) -> Section:
        if isinstance(place, CutoutError):
            raise place
        side = max(1, round(side_arcsec / place.pixel_scale_arcsec))
        starts = [math.ceil(value - side / 2) for value in place.centre_xy[::-1]]
        window = tuple(
            slice(max(0, start), min(length, start + side))
            for start, length in zip(starts, self.shape, strict=True)
        )
        bands = self.bands
        shape = tuple(part.stop - part.start for part in window)
        pixels, noise = np.empty((len(bands), *shape), np.float32), np.full(len(bands), np.nan)
        low = 0
        for layer in self.layers:
            high = low + len(layer.bands)
            noise[low:high] = layer.read(window, place.pixel_scale_arcsec, pixels[low:high])
            low = high
        return Section(
            pixels=pixels,
            bands=bands,
            noise=noise if self.has_noise else None,
            place=place,
            origin_xy=(window[1].start, window[0].start),
            square_xy=(starts[1], starts[0]),
            side_px=side,
            wcs=self.wcs,
            photometric=all(layer.photometric for layer in self.layers),
        )


class _Layer:
    """Planes of one image, with the factors to the survey's unit worked out once.

    `scale` is that of the tile's pixels [arcsec], as stated zeropoints need it.
    """

    def __init__(
        self, source: FitsSource, named: Sequence[str] | None, survey: Survey, scale: float
    ) -> None:
        planes, self._source = len(source.values), source
        matched = match_bands(agreed_bands(named, source.bands, survey), planes, survey)
        kept = [plane for plane, band in enumerate(matched) if band is not None]
        self.bands = tuple(band for band in matched if band is not None)
        self._kept = None if len(kept) == planes else kept
        self._rows = slice(None) if self._kept is None else self._kept
        self._is_scaled = "BSOFTEN" in source.header
        self.photometric = is_photometric(source.header)
        area = follows_area(source.header, survey)
        factors = flux_factors(source.header, survey, scale, planes)
        self._factors = _Factors(factors, np.full(planes, area), scale)
        self._is_in_unit = not area and bool((abs(factors - 1) < SAME_UNIT).all())
        self.has_noise, headers = source.has_noise, source.noise_headers
        if self.has_noise:
            try:
                own = [flux_factors(header, survey, scale, planes) for header in headers]
            except CutoutError as error:
                raise CutoutError(f"noise: {error}") from error
            areas = np.array([follows_area(header, survey) for header in headers])
            self._noise_factors = _Factors(np.diag(own), areas, scale)

    def read(self, window: Any, scale: float, out: np.ndarray) -> np.ndarray | float:
        """Write the calibrated pixels of a window, and return the noise of each plane."""
        is_plain = self._kept is None and not self._is_scaled
        image = self._source.read(window, out if is_plain else None)
        if not is_plain:
            out[:] = linearise(image.pixels, image.header)[self._rows]
        if not self._is_in_unit:
            out *= self._factors.at(scale)[self._rows, None, None].astype(np.float32)
        if image.noise is None:
            return np.nan
        return np.asarray((image.noise * self._noise_factors.at(scale))[self._rows])


def _trimmed(
    pixels: np.ndarray, centre_xy: tuple[float, float]
) -> tuple[np.ndarray, tuple[float, float]]:
    """Leave out the rows and columns at the borders of (planes, y, x) pixels that are all NaN."""
    seen = np.isfinite(pixels).any(0)
    if not seen.any():
        return pixels, centre_xy
    (low, high), (left, right) = (
        (k[0], k[-1] + 1) for k in map(np.flatnonzero, (seen.any(1), seen.any(0)))
    )
    return pixels[:, low:high, left:right], (centre_xy[0] - left, centre_xy[1] - low)


class _Factors:
    """Factors of (planes,) planes at a pixel scale [arcsec], some of them as the area of a pixel.

    `reference` is the scale of the factors given.
    """

    def __init__(self, factors: np.ndarray, follows_area: np.ndarray, reference: float) -> None:
        self._factors, self._follows, self._reference = factors, follows_area, reference

    def at(self, scale: float) -> np.ndarray:
        area = (scale / self._reference) ** 2
        return np.asarray(self._factors * np.where(self._follows, area, 1.0))


def _grid_cards(header: Any) -> list[str]:
    """Return what a header says of the grid of pixels: images of one grid differ in dates."""
    return sorted(
        f"{card.keyword} {card.value!r}"
        for card in header.cards
        if is_wcs_card(card.keyword) and not card.keyword.startswith(_DATES)
    )


def _sources(path: Path, hdus: Any, survey: Survey, others: Any) -> list[FitsSource]:
    try:
        with quiet():
            with path.open("rb") as file:
                compressed = file.read(3).startswith(_COMPRESSED)
            if not compressed:
                check_length(hdus, path.stat().st_size)
            return open_images(hdus, survey, others)
    except CutoutError as error:
        raise CutoutError(f"{path.name}: {error}", error.status) from error
    except Exception as error:  # astropy raises many kinds for damaged files
        raise CutoutError(f"{path.name}: cannot be read ({first_line(error)})") from error


def open_hdus(path: Path) -> Any:
    """Open a FITS file with its pixels mapped, where they are neither scaled nor compressed."""
    from astropy.io import fits

    try:
        with quiet():
            hdus = fits.open(path, memmap=True)
            if any(card in hdu.header for hdu in hdus for card in _SCALING_CARDS):
                hdus.close()
                hdus = fits.open(path, memmap=False)
            return hdus
    except Exception as error:  # astropy raises many kinds for damaged files
        raise CutoutError(f"{path.name}: cannot be read ({first_line(error)})") from error

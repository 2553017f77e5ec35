"""Cutouts of local mosaics: one coadd per band, cut by WCS, never read whole.

For surveys that publish tiles without a cutout service, and for local data. The files are
memory-mapped (compressed ones are read by section). Bands share one pixel grid, as coadds of a tile
do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from catalogs.archives.limits import Limits
from catalogs.archives.source import BandSource, BoolArray, FloatArray
from catalogs.archives.stamps import Stamp, check_flux, in_survey_flux, write_cube
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.images.fits import select_hdus
from galaxy_da.images.fits_source import without_blank
from galaxy_da.images.hdu_roles import Role
from galaxy_da.images.masks import bad_pixels
from galaxy_da.images.wcs import celestial_wcs, pixels_of, sky_of
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import find_survey

if TYPE_CHECKING:
    from catalogs.archives.http import Http, Query

__all__ = ["LocalMosaic"]

_KEPT_CARDS = ("GAIN",)
_SCALING_CARDS = ("BSCALE", "BZERO", "BLANK")  # of pixels that cannot be mapped as they are


@dataclass(frozen=True, kw_only=True)
class LocalMosaic(BandSource):
    """A mosaic of one survey in FITS files, one per band."""

    service: str = "local"
    limits: ClassVar[Limits] = Limits(requests_per_second=100_000, concurrency=4)
    files: str  # path with {band} in it, as tiles/K1_{band}.fits
    bands: tuple[str, ...] | str = ()  # by default those with a file
    size_px: int = 160  # pixels of the mosaic

    def __post_init__(self) -> None:
        survey = find_survey(self.survey)
        if not self.bands:
            present = tuple(name for name in survey.band_names if self._path(name).is_file())
            object.__setattr__(self, "bands", present)
        super().__post_init__()
        missing = [str(self._path(name)) for name in self.bands if not self._path(name).is_file()]
        if missing:
            raise CatalogError(
                f"{', '.join(missing)}: no such mosaic; name the files with "
                f"{{band}} for {', '.join(survey.band_names)}"
            )
        shapes = {}
        for name in self.bands:
            with _image(self._path(name), self.survey) as (hdu, _):
                shapes[name] = hdu.shape
        if len(set(shapes.values())) > 1:
            raise CatalogError(f"{self.files}: bands have different sizes, {shapes}")

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        stamps = {name: self._path(name).stat() for name in self.bands}
        return {
            "files": str(Path(self.files).resolve()),
            "size_px": self.size_px,
            **{f"{name}_bytes": stat.st_size for name, stat in stamps.items()},
            **{f"{name}_changed_ns": stat.st_mtime_ns for name, stat in stamps.items()},
        }

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray:
        """Return a mask of the positions [ICRS deg] on the mosaic."""
        wcs, (height, width) = self._grid
        x, y = pixels_of(wcs, ra, dec)
        on = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        ra0, dec0 = sky_of(wcs, width / 2, height / 2)
        # a projection repeats itself on the far side of the sky
        near = separation_arcsec(ra0, dec0, ra, dec) < 90 * 3600
        return np.asarray(on & near, dtype=np.bool_)

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Cut one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.files} at {ra:.5f}, {dec:.5f}"
        if not self.covers(np.array([ra]), np.array([dec]))[0]:
            raise CutoutError(f"{label}: not on the mosaic", status="outside_footprint")
        survey = find_survey(self.survey)
        scaled = {b: in_survey_flux(self._cut(b, ra, dec), survey, label) for b in self.bands}
        check_flux(np.concatenate([stamp.pixels for stamp in scaled.values()]), label)
        header = scaled[self.bands[0]].header
        cards = {name: header[name] for name in _KEPT_CARDS if name in header}
        cards |= calibration_cards(survey)
        return write_cube(scaled, label, cards)

    def _path(self, band: str) -> Path:
        return Path(self.files.format(band=band))

    @cached_property
    def _grid(self) -> tuple[Any, tuple[int, int]]:
        """The celestial WCS and the (y, x) size of the first band."""
        path = self._path(self.bands[0])
        with _image(path, self.survey) as (hdu, _):
            try:
                wcs = celestial_wcs(hdu.header)
            except CutoutError as error:
                raise CatalogError(f"{path}: {error}") from error
            if wcs is None:
                raise CatalogError(f"{path}: the image has no celestial WCS")
            return wcs, hdu.shape

    def _cut(self, band: str, ra: float, dec: float) -> Stamp:
        from astropy.nddata.utils import overlap_slices

        wcs, size = self._grid
        x, y = pixels_of(wcs, ra, dec)
        shape = (self.size_px, self.size_px)
        source, target = overlap_slices(size, shape, (float(y), float(x)), mode="partial")
        pixels = np.full(shape, np.nan, dtype=np.float32)
        with _image(self._path(band), self.survey) as (hdu, masks):
            pixels[target] = without_blank(np.asarray(hdu.section[source]), hdu.header)
            header = hdu.header.copy()
            for role, mask in masks:
                bad = bad_pixels(np.asarray(mask.section[source])[None], role.kind, mask.header)[0]
                pixels[target] = np.where(bad, np.nan, pixels[target])
        header["CRPIX1"] += target[1].start - source[1].start
        header["CRPIX2"] += target[0].start - source[0].start
        return Stamp(pixels[None], header)


@contextmanager
def _image(path: Path, survey: str) -> Iterator[tuple[Any, list[tuple[Role, Any]]]]:
    """Open the image of a FITS file and its masks, their pixels left on disk."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True) as hdus:
            scaled = any(card in hdu.header for hdu in hdus for card in _SCALING_CARDS)
    except OSError as error:
        raise CatalogError(f"{path}: is not a FITS file ({error})") from error
    with fits.open(path, memmap=not scaled) as hdus:
        try:
            chosen, masks = select_hdus(hdus, find_survey(survey))
        except CutoutError as error:
            raise CatalogError(f"{path}: {error}") from error
        image = chosen[0][1]
        if len(chosen) > 1 or len(image.shape) != 2:
            raise CatalogError(f"{path}: holds no single image of two axes")
        yield image, [(role, hdu) for role, hdu in masks if hdu.shape == image.shape]

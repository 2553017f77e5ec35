"""Cutouts of local coadds, by the reader of tiles that `extract --mosaic` uses.

For surveys that publish tiles without a cutout service, and for local data.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from catalogs.archives.limits import Limits
from catalogs.archives.source import BoolArray, CutoutSource, FloatArray, definition_hash
from catalogs.archives.stamps import check_flux
from galaxy_da.errors import CutoutError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.images.tile import Section
from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import find_survey

if TYPE_CHECKING:
    from catalogs.archives.http import Http, Query


@dataclass(frozen=True, kw_only=True)
class LocalMosaic(CutoutSource):
    """Coadded tiles of one survey in FITS files; `files` and `planes` are as of `Mosaic`."""

    service: str = "local"
    limits: ClassVar[Limits] = Limits(requests_per_second=100_000, concurrency=2)
    files: str
    planes: tuple[str, ...] | str = ()
    side_arcsec: float = 40.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._mosaic.tiles  # refuses names without files

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        return {
            "files": self._mosaic.files,
            "planes": ",".join(self._mosaic.planes),
            "side_arcsec": self.side_arcsec,
            "survey_definition": definition_hash(self.survey),
            "tiles": self._mosaic.state(),
        }

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray:
        """Return a mask of the positions [ICRS deg] on a tile."""
        return np.asarray(self._mosaic.assign(ra, dec) >= 0, dtype=np.bool_)

    def order(self, ra: FloatArray, dec: FloatArray) -> np.ndarray:
        """Return the order by tile, so that each is opened once."""
        return np.argsort(self._mosaic.assign(ra, dec), kind="stable")

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Cut one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.files} at {ra:.5f}, {dec:.5f}"
        [number] = self._mosaic.assign(np.array([ra]), np.array([dec]))
        [found] = self._mosaic.sections(int(number), [{"ra": ra, "dec": dec}])
        if isinstance(found, CutoutError):
            raise CutoutError(f"{label}: {found}", found.status)
        if len(found) > 1:
            bands = " and ".join(",".join(section.bands) for section in found)
            raise CutoutError(f"{label}: bands {bands} lie on different pixels", "failed_quality")
        check_flux(found[0].pixels, label)
        return self._file(found[0])

    @cached_property
    def _mosaic(self) -> Mosaic:
        planes = (self.planes,) if isinstance(self.planes, str) else self.planes
        return Mosaic(
            files=self.files,
            planes=planes,
            survey=find_survey(self.survey),
            side_arcsec=self.side_arcsec,
        )

    def _file(self, section: Section) -> bytes:
        """Write a FITS cube with the WCS, and the noise that the tile states."""
        from astropy.io import fits

        header = section.wcs.to_header(relax=True)
        for axis, start in enumerate(section.square_xy, 1):
            header[f"CRPIX{axis}"] = header.get(f"CRPIX{axis}", 0.0) - start
        for number, band in enumerate(section.bands):
            header[f"BAND{number}"] = band
        header.update(calibration_cards(find_survey(self.survey)))
        if not section.photometric:
            header["PHOTOMET"] = False
        pixels = section.square()
        hdus = [fits.PrimaryHDU(pixels, header)]
        noise = () if section.noise is None else zip(section.bands, section.noise, strict=True)
        for band, sigma in noise:
            if np.isfinite(sigma):
                plane = np.full(pixels.shape[1:], sigma, np.float32)
                hdus.append(fits.CompImageHDU(plane, name=f"SIGMA_{band}", quantize_level=0,
                                              compression_type="GZIP_1"))  # fmt: skip
        buffer = io.BytesIO()
        fits.HDUList(hdus).writeto(buffer)
        return buffer.getvalue()

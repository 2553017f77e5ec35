"""Cutouts of any HiPS through the CDS hips2fits service (astroquery).

**Not photometric.** A HiPS is a survey resampled onto HEALPix tiles, and hips2fits resamples it
once more: fluxes are interpolated, noise is correlated, and zeropoints are those of the HiPS. Use
it for display, or if no archive cuts the survey; every file has the card ``PHOTOMET = F``. Colour
HiPS are not offered, because their stretch cannot be inverted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import ArchiveSource, band_names
from catalogs.archives.stamps import Stamp, check_flux, read_fits, write_cube
from galaxy_da.surveys import find_survey

__all__ = ["URL", "Hips"]

URL = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"

_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Hips(ArchiveSource):
    """One FITS HiPS per band, resampled to the survey's own pixels.

    `hips` is an identifier with ``{band}`` in it, as ``CDS/P/DES-DR2/{band}``; by default that of
    the HiPS whose coverage is the survey's footprint.
    """

    survey: str  # built-in name or TOML file
    hips: str = ""
    size_px: int = 160  # pixels of the survey
    bands: tuple[str, ...] | str = ()  # by default all
    url: str = URL
    service: ClassVar[str] = "cds-hips2fits"
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        survey = find_survey(self.survey)
        if not self.hips and survey.footprint:
            object.__setattr__(self, "hips", survey.footprint.rsplit("/", 1)[0] + "/{band}")
        object.__setattr__(self, "bands", band_names(self.bands, survey) or survey.band_names)
        if not self.hips or ("{band}" not in self.hips and len(self.bands) > 1):
            raise ValueError(
                f"{self.survey}: name the HiPS of each band, as CDS/P/DES-DR2/{{band}}; got "
                f"{self.hips!r}"
            )
        if self.size_px < 1:
            raise ValueError(f"size_px must be positive but is {self.size_px}")

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        return {**super().identity(), "photometric": 0}

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} {self.hips} at {ra:.5f}, {dec:.5f}"
        stamps = {}
        for band in self.bands:
            with http_errors(f"{label} {band}", refused=(400, 404)):
                data = http.call(partial(self._query, self.hips.format(band=band), ra, dec))
            stamp = read_fits(data, f"{label} {band}", find_survey(self.survey))
            stamps[band] = Stamp(stamp.pixels[:1], stamp.header)
            check_flux(stamps[band].pixels, f"{label} {band}", planes=1, side=self.size_px)
        return write_cube(stamps, label, {"PHOTOMET": False, "HIPS": self.hips})

    def _query(self, hips: str, ra: float, dec: float) -> bytes:
        import astropy.units as u
        from astropy.coordinates import Angle, Latitude, Longitude
        from astroquery.hips2fits import hips2fitsClass

        client = hips2fitsClass()
        client.server, client.timeout = self.url, _TIMEOUT_S
        side_arcsec = self.size_px * find_survey(self.survey).pixel_scale_arcsec
        reply = client.query_async(
            hips=hips, width=self.size_px, height=self.size_px, projection="TAN",
            ra=Longitude(ra * u.deg), dec=Latitude(dec * u.deg), fov=Angle(side_arcsec * u.arcsec),
            coordsys="icrs", rotation_angle=Angle(0 * u.deg), format="fits", min_cut=0.5,
            max_cut=99.5, stretch="linear", cmap="Greys_r",
        )  # fmt: skip
        reply.raise_for_status()
        return bytes(reply.content)

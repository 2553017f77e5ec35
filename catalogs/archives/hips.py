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
from catalogs.archives.http import Http
from catalogs.archives.source import BandSource
from catalogs.archives.stamps import Place, Stamp, check_flux, read_fits, write_cube
from galaxy_da.surveys import find_survey

URL = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"

_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Hips(BandSource):
    """One FITS HiPS per band, resampled to the survey's own pixels.

    `hips` is an identifier with ``{band}`` in it, as ``CDS/P/DES-DR2/{band}``; by default that of
    the HiPS whose coverage is the survey's footprint.
    """

    service: str = "cds-hips2fits"
    hips: str = ""
    size_px: int = 160  # pixels of the survey
    url: str = URL
    product: ClassVar[dict[str, str | int]] = {"photometric": 0}

    def __post_init__(self) -> None:
        super().__post_init__()
        footprint = find_survey(self.survey).footprint
        if not self.hips and footprint:
            object.__setattr__(self, "hips", footprint.rsplit("/", 1)[0] + "/{band}")
        if not self.hips or ("{band}" not in self.hips and len(self.bands) > 1):
            raise ValueError(
                f"{self.survey}: name the HiPS of each band, as CDS/P/DES-DR2/{{band}}; got "
                f"{self.hips!r}"
            )

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} {self.hips} at {ra:.5f}, {dec:.5f}"
        stamps = {
            band: self._stamp(band, None, Place(ra, dec, f"{label} {band}"), http)
            for band in self.bands
        }
        return write_cube(stamps, label, {"PHOTOMET": False, "HIPS": self.hips})

    def _stamp(self, band: str, images: None, place: Place, http: Http) -> Stamp:
        with http_errors(place.label, refused=(400, 404)):
            data = http.call(partial(self._query, self.hips.format(band=band), place))
        stamp = read_fits(data, place.label, find_survey(self.survey))
        check_flux(stamp.pixels[:1], place.label, planes=1, side=self.size_px)
        return Stamp(stamp.pixels[:1], stamp.header)

    def _query(self, hips: str, place: Place) -> bytes:
        import astropy.units as u
        from astropy.coordinates import Angle, Latitude, Longitude
        from astroquery.hips2fits import hips2fitsClass

        client = hips2fitsClass()
        client.server, client.timeout = self.url, _TIMEOUT_S
        side_arcsec = self.size_px * find_survey(self.survey).pixel_scale_arcsec
        reply = client.query_async(
            hips=hips, width=self.size_px, height=self.size_px, projection="TAN",
            ra=Longitude(place.ra * u.deg), dec=Latitude(place.dec * u.deg),
            fov=Angle(side_arcsec * u.arcsec), coordsys="icrs", rotation_angle=Angle(0 * u.deg),
            format="fits", min_cut=0.5, max_cut=99.5, stretch="linear", cmap="Greys_r",
        )  # fmt: skip
        reply.raise_for_status()
        return bytes(reply.content)

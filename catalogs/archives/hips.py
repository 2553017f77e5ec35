"""Cutouts of any HiPS through the CDS hips2fits service (astroquery).

**Not photometric.** A HiPS is a survey resampled onto HEALPix tiles, and hips2fits resamples it
once more: fluxes are interpolated, noise is correlated, zeropoints are those of whoever made the
HiPS. Use it to look, or where no archive cuts; every file says ``PHOTOMET = F``. Colour HiPS are
not offered: their stretch is the HiPS maker's, so that no flux can be had back from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from catalogs.archives.footprints import Footprinted
from catalogs.archives.limits import Limits
from catalogs.archives.stamps import Stamp, check_flux, read_fits, write_cube
from galaxy_da.errors import CatalogError
from galaxy_da.surveys import get_survey

if TYPE_CHECKING:
    from catalogs.archives.http import Http

__all__ = ["URL", "Hips"]

URL = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"

_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Hips(Footprinted):
    """One FITS HiPS per band, resampled to the survey's own pixels.

    Attributes
    ----------
    survey : str
        What the HiPS is of: a built-in name or a TOML file.
    hips : str
        Identifier with ``{band}`` in it, ``CDS/P/DES-DR2/{band}``; by default beside the colour
        HiPS whose coverage is the survey's footprint.
    size_px : int
        Side of a cutout [pixels of the survey].
    bands : tuple of str, or str
        The survey's bands to get; by default all.
    url : str
        Address of hips2fits.

    Raises
    ------
    ValueError
        If no HiPS is given or known.
    """

    survey: str
    hips: str = ""
    size_px: int = 160
    bands: tuple[str, ...] | str = ()
    url: str = URL
    service: ClassVar[str] = "cds-hips2fits"
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        survey = get_survey(self.survey)
        if not self.hips and survey.footprint:
            object.__setattr__(self, "hips", survey.footprint.rsplit("/", 1)[0] + "/{band}")
        asked = (self.bands,) if isinstance(self.bands, str) else tuple(self.bands)
        object.__setattr__(self, "bands", asked or survey.band_names)
        for band in self.bands:
            survey.band(band)
        if not self.hips or ("{band}" not in self.hips and len(self.bands) > 1):
            raise ValueError(
                f"{self.survey}: name the HiPS of each band, as CDS/P/DES-DR2/{{band}}; got "
                f"{self.hips!r}"
            )
        if self.size_px < 1:
            raise ValueError(f"size_px must be positive but is {self.size_px}")

    def identity(self) -> Mapping[str, str | int | float]:
        """Return what decides a cutout's bytes besides its position."""
        return {
            "url": self.url,
            "hips": self.hips,
            "size_px": self.size_px,
            "bands": ",".join(self.bands),
            "photometric": 0,
        }

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Get one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        what = f"{self.service} {self.hips} at {ra:.5f}, {dec:.5f}"
        stamps = {}
        for band in self.bands:
            stamp = read_fits(self._get(ra, dec, band, http, what), f"{what} {band}")
            stamps[band] = Stamp(stamp.pixels[:1], stamp.header)
            check_flux(stamps[band].pixels, f"{what} {band}", planes=1, side=self.size_px)
        return write_cube(stamps, what, {"PHOTOMET": False, "HIPS": self.hips})

    def _get(self, ra: float, dec: float, band: str, http: Http, what: str) -> bytes:
        import astropy.units as u
        from astropy.coordinates import Angle, Latitude, Longitude
        from astroquery.hips2fits import hips2fitsClass

        from catalogs.archives.http import HttpError

        client = hips2fitsClass()
        client.server, client.timeout = self.url, _TIMEOUT_S
        scale = get_survey(self.survey).pixel_scale_arcsec

        def ask() -> bytes:
            reply = client.query_async(
                hips=self.hips.format(band=band),
                width=self.size_px,
                height=self.size_px,
                projection="TAN",
                ra=Longitude(ra * u.deg),
                dec=Latitude(dec * u.deg),
                fov=Angle(self.size_px * scale * u.arcsec),
                coordsys="icrs",
                rotation_angle=Angle(0 * u.deg),
                format="fits",
                min_cut=0.5,
                max_cut=99.5,
                stretch="linear",
                cmap="Greys_r",
            )
            reply.raise_for_status()
            return bytes(reply.content)

        try:
            return http.call(ask)
        except HttpError as error:
            if error.code in (400, 404):
                raise CatalogError(f"{what}: {band} is not to be had ({error})") from error
            raise

"""Read the celestial WCS of a header, and convert between pixels and ICRS positions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, first_line
from galaxy_da.images.quiet import quiet

if TYPE_CHECKING:
    from astropy.io.fits import Header

_CELESTIAL = re.compile(r"(RA|DEC|[GES]LON|[GES]LAT)(-|$)", re.IGNORECASE)
_MOST_AXES = 9
_WCS_CARD = re.compile(
    r"WCSAXES|NAXIS\d?|LONPOLE|LATPOLE|RADE(CSYS|SYS)|EQUINOX|EPOCH|MJD-?OBS|MJD-AVG|DATE-(OBS|AVG)|"
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)\d|(CD|PC|PV|PS)\d_\d+|PC\d{6}|"
    r"[AB]P?_(ORDER|DMAX|\d+_\d+)|(CPDIS|CPERR|CQDIS|DP|DQ|D2IMDIS|D2IMERR)\d.*"
)
_DISTORTION = re.compile(r"PV\d|[AB]P?_|C[PQ]|D")
_FRAMES = ("", "ICRS", "FK5", "FK4", "FK4-NO-E")
_EQUINOX = re.compile(r"([JB]?)\s*(\d{4}(?:\.\d*)?)?", re.IGNORECASE)
_WITH_EQUINOX = re.compile(
    r"(ICRS|FK5|FK4(?:-NO-E)?)?[\s/,(_-]*" + _EQUINOX.pattern + r"\)?", re.IGNORECASE
)
_SCALE_CARDS = ("CD1_1", "CD1_2", "CDELT1", "PC1_1", "AMDX1", "PIXSCALE", "PIXELSCL")
"""Cards that state the scale of a pixel."""


def celestial_wcs(header: Header) -> Any | None:
    """Return the celestial WCS of an image, None if the header states none.

    Raises
    ------
    CutoutError
        If the header states one that astropy cannot read.
    """
    types = [str(header.get(f"CTYPE{axis + 1}", "")).strip() for axis in range(_MOST_AXES)]
    on_sky = [axis for axis, kind in enumerate(types) if _CELESTIAL.match(kind)]
    if not on_sky:
        stated = next((card for card in _SCALE_CARDS if card in header), None)
        if stated is not None:
            raise CutoutError(
                f"the header has {stated} but CTYPE1 and CTYPE2 name no sky coordinates "
                f"({types[0] or 'nothing'}, {types[1] or 'nothing'}); add RA---TAN and DEC--TAN, "
                "or remove the card to use the survey's pixel scale"
            )
        return None
    if not any(card in header for card in _SCALE_CARDS):
        raise CutoutError("the WCS of the header has no CD, PC or CDELT card: its scale is unknown")
    if on_sky != [0, 1] or any("-" not in types[axis] for axis in on_sky):
        stated = ", ".join(kind or "nothing" for kind in types[: max(on_sky[-1] + 1, 2)])
        raise CutoutError(
            "the first two axes must be a pair of sky coordinates with a projection, as RA---TAN "
            f"and DEC--TAN, but CTYPE says {stated}"
        )
    if any(kind.endswith(("TNX", "ZPX")) for kind in types[:2]):
        raise CutoutError(
            f"the projection {types[0][-3:]} has distortions in WAT cards, which are not read; "
            "reproject the image, or convert the header to TPV"
        )
    try:
        with quiet():
            wcs = _read_wcs(header)
            wcs.wcs.set()
    except CutoutError:
        raise
    except Exception as error:  # wcslib and astropy raise many kinds
        reasons = [line for line in str(error).splitlines() if not line.startswith("ERROR")]
        reason = reasons[-1].strip() if reasons else first_line(error)
        raise CutoutError(f"the WCS of the header cannot be read ({reason})") from error
    if not wcs.has_celestial:
        raise CutoutError(f"the axes {types[0]}, {types[1]} are no pair of sky coordinates")
    return wcs


def _read_wcs(header: Header) -> Any:
    """Read a WCS from its cards alone; without distortions or parameters by wcslib at once.

    `astropy.wcs.WCS` looks through the whole header several times, which takes thirty times longer.
    """
    from astropy.wcs import WCS, Wcsprm

    cards = [card for card in header.cards if is_wcs_card(card.keyword)]
    if mended := _frame_cards(header) | _tpv_cards(header):
        own = type(header)(cards)
        own.update(mended)
        cards = list(own.cards)
    if any(_DISTORTION.match(card.keyword) for card in cards):
        return WCS(type(header)(cards), naxis=2)
    text = "".join(card.image for card in cards)
    wcs = WCS(naxis=2)
    wcs.wcs = Wcsprm(header=text.encode("ascii"), relax=True).sub(2)
    wcs.wcs.fix()
    return wcs


def _frame_cards(header: Header) -> dict[str, str | float]:
    """Return RADESYS and EQUINOX as wcslib reads them, where they are written as ``J2000``."""
    name = next((card for card in ("RADESYS", "RADECSYS") if card in header), "RADESYS")
    card = next((card for card in ("EQUINOX", "EPOCH") if card in header), "EQUINOX")
    system, equinox = str(header.get(name, "")).strip(), header.get(card, 0.0)
    if system in _FRAMES and not isinstance(equinox, str):
        return {}
    stated = _WITH_EQUINOX.fullmatch(system)
    year = _EQUINOX.fullmatch(equinox.strip() if isinstance(equinox, str) else "")
    if year is None:
        raise CutoutError(f"{card} says {equinox!r}, which is no equinox; expected one as 2000.0")
    if stated is None:  # refused as unknown with the frame
        return {}
    letter, years = stated[2] or year[1] or "", year[2] or stated[3]
    frame = (stated[1] or {"J": "FK5", "B": "FK4"}.get(letter.upper(), "")).upper()
    return ({"RADESYS": frame} if frame else {}) | ({"EQUINOX": float(years)} if years else {})


def _tpv_cards(header: Header) -> dict[str, str | float]:
    """Return the linear terms of TPV that a header leaves out, which are one by convention."""
    axes = (axis for axis in (1, 2) if str(header.get(f"CTYPE{axis}", "")).strip().endswith("TPV"))
    return {f"PV{axis}_1": 1.0 for axis in axes if f"PV{axis}_1" not in header}


def is_wcs_card(keyword: str) -> bool:
    """Test if a card belongs to the main WCS of an image."""
    return _WCS_CARD.fullmatch(keyword) is not None


def pixel_scale_arcsec(wcs: Any) -> float:
    """Return the side of a square with the area of a pixel at the reference point [arcsec]."""
    from astropy.wcs.utils import proj_plane_pixel_area

    return float(3600 * np.sqrt(proj_plane_pixel_area(wcs)))


def pixels_of(wcs: Any, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel coordinates of ICRS positions [deg]; NaN where there are none."""
    ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
    lon, lat = ra, dec
    if not _is_icrs(wcs):
        from astropy.coordinates import SkyCoord

        own = SkyCoord(ra, dec, unit="deg").transform_to(_frame(wcs)).spherical
        lon, lat = own.lon.deg, own.lat.deg
    world = [lon, lat] if wcs.wcs.lng < wcs.wcs.lat else [lat, lon]
    try:
        if wcs.has_distortion:
            x, y = wcs.all_world2pix(*(np.ravel(v) for v in world), 0, quiet=True)
        else:  # what astropy calls in the end, in a fifth of the time
            pairs = np.stack([np.ravel(v) for v in world], 1)
            x, y = wcs.wcs.s2p(pairs, 0)["pixcrd"].T
    except Exception:  # no convergence, or off the projection
        x = y = np.full(ra.size, np.nan)
    return np.reshape(x, ra.shape), np.reshape(y, ra.shape)


def sky_of(wcs: Any, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the ICRS positions [deg] of pixel coordinates."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    if wcs.has_distortion:
        world = wcs.all_pix2world(x, y, 0)
    else:
        pairs = np.stack([np.ravel(x), np.ravel(y)], 1)
        world = wcs.wcs.p2s(pairs, 0)["world"].T.reshape(2, *x.shape)
    lon, lat = world[wcs.wcs.lng], world[wcs.wcs.lat]
    if _is_icrs(wcs):
        return lon, lat
    from astropy.coordinates import SkyCoord

    own = _frame(wcs)
    sky = SkyCoord(lon, lat, unit="deg", frame=own).icrs
    return sky.ra.deg, sky.dec.deg


def _is_icrs(wcs: Any) -> bool:
    """Test if a WCS is in ICRS or J2000, which differ by up to 0.04 arcsec."""
    kinds = wcs.wcs.ctype[wcs.wcs.lng]
    if not kinds.startswith("RA"):
        return False
    system = wcs.wcs.radesys
    return system == "ICRS" or (
        system in ("FK5", "") and (np.isnan(wcs.wcs.equinox) or wcs.wcs.equinox == 2000)
    )


def _frame(wcs: Any) -> Any:
    """Return the astropy frame of a WCS."""
    from astropy.coordinates import BarycentricMeanEcliptic, Supergalactic
    from astropy.wcs.utils import wcs_to_celestial_frame

    kind = wcs.wcs.ctype[wcs.wcs.lng][:4]
    if kind == "SLON":
        return Supergalactic()
    if kind == "ELON":
        equinox = 2000.0 if np.isnan(wcs.wcs.equinox) else wcs.wcs.equinox
        return BarycentricMeanEcliptic(equinox=f"J{equinox}")
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError as error:
        raise CutoutError(
            f"the frame of the WCS ({', '.join(wcs.wcs.ctype)} {wcs.wcs.radesys}".rstrip()
            + ") is unknown"
        ) from error

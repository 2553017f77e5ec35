"""Place images on the sky: pixel scale, centre and orientation from the WCS of a header.

All of them are taken at the galaxy. Far from the reference point of a projection, or under
distortions, the matrix of the header says something else (Calabretta & Greisen 2002, A&A 395,
1077).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, first_line
from galaxy_da.images.quiet import quiet

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = [
    "Placement",
    "celestial_wcs",
    "is_wcs_card",
    "locate",
    "pixels_of",
    "placement",
    "regrid",
    "sky_of",
]

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
_MOST_OBLONG = 10.0
"""Largest ratio of a pixel's axes; above it, the header is wrong."""

_SAME_PLACE_PX = 0.1
_MOST_SUBPIXELS = 16
_SAME_ORIENTATION = 0.009
"""Largest change of a pixel's axes that is ignored: half a degree, or 0.9% of shear or stretch."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Position, scale and orientation of an image at its galaxy.

    Attributes
    ----------
    centre_xy : (x, y) float
        Pixel coordinates of the galaxy; the centre of the first pixel is (0, 0).
    pixel_scale_arcsec : float
        Square root of the area of a pixel at the galaxy [arcsec].
    jacobian : (2, 2) float array
        Arcsec towards east and north (rows) per pixel in x and y (columns).
    """

    centre_xy: tuple[float, float]
    pixel_scale_arcsec: float
    jacobian: np.ndarray

    def north_up(self, pixels: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """Return pixels north up and east left, and the galaxy's place among them.

        An image that is rotated, mirrored, sheared or of oblong pixels is interpolated onto an
        upright square of the same width with the galaxy in the middle, NaN outside the image.

        Parameters
        ----------
        pixels : (planes, y, x) float array
            Flux per pixel. Not modified.
        """
        upright = np.array([[-self.pixel_scale_arcsec, 0.0], [0.0, self.pixel_scale_arcsec]])
        matrix = np.linalg.solve(self.jacobian, upright)  # upright pixel offsets to this file's
        if np.abs(matrix - np.eye(2)).max() < _SAME_ORIENTATION:
            return pixels, self.centre_xy
        lengths = np.hypot(*self.jacobian) / self.pixel_scale_arcsec  # of steps in x and y
        side = int(np.ceil(max(pixels.shape[:0:-1] * lengths) - _SAME_ORIENTATION))
        middle = (side - 1) / 2
        rows_columns = matrix[::-1, ::-1]
        offset = np.array(self.centre_xy[::-1]) - rows_columns @ np.full(2, middle)
        return _interpolate(pixels, rows_columns, offset, (side, side)), (middle, middle)


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


def locate(
    header: Header, shape: tuple[int, int], position: tuple[float, float] | None = None
) -> Placement | None:
    """Find the place, scale and orientation of an image at its galaxy.

    Parameters
    ----------
    header : Header
        Header of the image.
    shape : (y, x) int
        Size of the image.
    position : (ra, dec) float, optional
        Position of the galaxy [ICRS deg]; by default the middle of the image.

    Returns
    -------
    Placement or None
        None without a celestial WCS.

    Raises
    ------
    CutoutError
        If the WCS cannot be read, or the position lies outside the image.
    """
    wcs = celestial_wcs(header)
    return None if wcs is None else placement(wcs, shape, position)


def placement(
    wcs: Any, shape: tuple[int, ...], position: tuple[float, float] | None = None
) -> Placement:
    """Return the placement of `locate` by a WCS of `celestial_wcs`."""
    height, width = shape
    x, y = (width - 1) / 2, (height - 1) / 2
    if position is not None:
        x, y = (float(v) for v in pixels_of(wcs, *position))
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise CutoutError(
                f"ra {position[0]:.5f}, dec {position[1]:.5f} lies at pixel ({x:.0f}, {y:.0f}) of "
                f"a {width} x {height} stamp by its WCS: another galaxy's file, or a wrong header",
                status="no_data",
            )
    jacobian, sky = _jacobian(wcs, x, y)
    if not np.isfinite(jacobian).all():
        raise CutoutError("the WCS places the pixels at the galaxy nowhere on the sky")
    axes = np.linalg.svd(jacobian, compute_uv=False)
    area = axes[0] * axes[1]
    if not axes[1] > axes[0] / _MOST_OBLONG:
        raise CutoutError(
            f"the WCS gives the pixels at the galaxy axes of {axes[0]:.3g} and {axes[1]:.3g} "
            "arcsec; correct its matrix or CDELT"
        )
    if position is not None and not _is_near(sky, position, _SAME_PLACE_PX * axes[0]):
        raise CutoutError(
            "the WCS cannot be inverted at the galaxy: its pixels lead back to another position"
        )
    return Placement(centre_xy=(x, y), pixel_scale_arcsec=float(np.sqrt(area)), jacobian=jacobian)


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


def regrid(
    pixels: np.ndarray,
    centre_xy: tuple[float, float],
    shape: tuple[int, ...],
    new_centre_xy: tuple[float, float],
    ratio: float,
) -> np.ndarray:
    """Interpolate pixel values onto another upright grid, NaN outside the old one.

    The centres are the pixel coordinates of one position on both grids; `ratio` is the side of a
    new pixel over that of an old one. Values are not scaled by the area of a pixel.
    """
    offset = np.array(centre_xy[::-1]) - ratio * np.array(new_centre_xy[::-1])
    return _interpolate(pixels, ratio * np.eye(2), offset, shape)


def _is_near(sky: np.ndarray, position: tuple[float, float], arcsec: float) -> bool:
    """Test if two positions [radians] and [deg] are closer than a distance."""
    from astropy.coordinates import angular_separation

    return bool(np.degrees(angular_separation(*sky, *np.radians(position))) * 3600 < arcsec)


def _jacobian(wcs: Any, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Return arcsec towards east and north per pixel in x and y, and the position [radians].

    The derivatives are central differences over one pixel.
    """
    ra, dec = sky_of(wcs, [x, x + 0.5, x - 0.5, x, x], [y, y, y, y + 0.5, y - 0.5])
    ra, dec = np.radians(ra), np.radians(dec)
    east = np.cos(dec[1:]) * np.sin(ra[1:] - ra[0])
    north = np.sin(dec[1:]) * np.cos(dec[0]) - np.cos(dec[1:]) * np.sin(dec[0]) * np.cos(
        ra[1:] - ra[0]
    )
    offsets = np.degrees(np.stack([east, north])) * 3600
    return offsets[:, [0, 2]] - offsets[:, [1, 3]], np.array([ra[0], dec[0]])


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


def _interpolate(
    pixels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Interpolate linearly, at several places of a new pixel that is wider than an old one."""
    from scipy.ndimage import affine_transform

    widest = np.linalg.norm(matrix, 2)
    n = int(np.clip(np.ceil(widest - _SAME_ORIENTATION), 1, _MOST_SUBPIXELS))
    matrix = matrix / n
    first = offset + matrix @ np.full(2, (1 - n) / 2)
    height, width = shape
    return np.stack(
        [
            affine_transform(plane, matrix, first, (height * n, width * n), order=1, cval=np.nan)
            .reshape(height, n, width, n)
            .mean((1, 3))
            for plane in pixels
        ]
    )

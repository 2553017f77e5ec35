"""Convert positions of any unit, frame and epoch to ICRS degrees."""

from __future__ import annotations

import re
import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    Angle,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    Galactic,
    SkyCoord,
    Supergalactic,
    UnitSphericalCosLatDifferential,
    UnitSphericalRepresentation,
)
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from erfa import ErfaWarning  # type: ignore[import-untyped]

FRAMES = ("icrs", "fk5", "fk4", "galactic", "ecliptic", "supergalactic")
"""Names of frames; fk5, fk4 and ecliptic can be followed by an equinox (``fk5 J1975``)."""

_WITH_EQUINOX = {
    "fk5": (FK5, "j2000"),
    "fk4": (FK4, "b1950"),
    "ecliptic": (BarycentricMeanEcliptic, "j2000"),
}
_WITHOUT = {"icrs": ICRS, "galactic": Galactic, "supergalactic": Supergalactic}
_UNIT_ALIASES = {"radians": u.rad, "degrees": u.deg, "d:m:s": u.deg} | dict.fromkeys(
    ("h", "hr", "hour", "hours", "h:m:s"), u.hourangle
)


def frame_named(name: str) -> BaseCoordinateFrame:
    """Return a frame from its name, one of `FRAMES` in any case; ValueError if it is not known.

    Names of VOTable (``eq_FK5``, ``ecl_FK5``) are known too. An equinox may follow: ``fk5 J1975``.
    ``J2000`` alone is FK5, ``B1950`` is FK4.
    """
    words = re.sub(r"[\s,:/]+", " ", name.strip().lower())
    words = re.sub(r"^(?=[jb]\d)", lambda _: "fk5 " if words[0] == "j" else "fk4 ", words)
    word, _, equinox = words.partition(" ")
    word = {"ecl_fk5": "ecliptic", "gal": "galactic", "super_galactic": "supergalactic"}.get(
        word, word.removeprefix("eq_")
    )
    if word in _WITHOUT and not equinox:
        return _WITHOUT[word]()
    if word in _WITH_EQUINOX:
        frame, default = _WITH_EQUINOX[word]
        try:
            return frame(equinox=_equinox(equinox or default, besselian=word == "fk4"))
        except ValueError as error:
            raise ValueError(f"frame {name!r}: {error}") from error
    raise ValueError(
        f"frame {name!r} is not known; it can be {', '.join(FRAMES)}, with an equinox where it "
        "has one, as in 'fk5 J1975'"
    )


def equatorial_frame(equinox: str) -> str:
    """Return the frame of right ascensions of an equinox: FK4 before 1984, else FK5."""
    text = equinox.strip().lower()
    name = "fk4" if _equinox(text, besselian=False).jyear < 1984 else "fk5"
    return f"{name} {text}"


def is_equatorial(frame: str) -> bool:
    """Return whether the longitude of a frame is a right ascension."""
    return isinstance(frame_named(frame), ICRS | FK5 | FK4)


def to_icrs(lon: np.ndarray, lat: np.ndarray, frame: str) -> tuple[np.ndarray, np.ndarray]:
    """Transform positions of a frame [deg] into right ascension and declination [ICRS deg]."""
    sky = SkyCoord(lon, lat, unit="deg", frame=frame_named(frame)).icrs
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def to_epoch(
    position: tuple[np.ndarray, np.ndarray],
    motion: tuple[np.ndarray, np.ndarray],
    frame: str,
    reference_epoch: np.ndarray,
    epoch: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Move positions along their proper motion to an epoch, and return ra and dec [ICRS deg].

    `position` is longitude and latitude in `frame` [deg]; `motion` is that in longitude, times
    cos(latitude), and in latitude [mas / yr], NaN for none; epochs are Julian years.
    """
    moves = UnitSphericalCosLatDifferential(
        *(np.nan_to_num(speed) * u.mas / u.yr for speed in motion)
    )
    lon, lat = (angle * u.deg for angle in position)
    points = UnitSphericalRepresentation(lon, lat, differentials={"s": moves})
    icrs = SkyCoord(frame_named(frame).realize_frame(points)).transform_to(ICRS())
    speed = {"pm_ra_cosdec": icrs.pm_ra_cosdec, "pm_dec": icrs.pm_dec}
    sky = SkyCoord(icrs.ra, icrs.dec, **speed, obstime=Time(reference_epoch, format="jyear"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ErfaWarning)  # no distance: assumed infinite
        warnings.simplefilter("ignore", AstropyUserWarning)
        moved = sky.apply_space_motion(new_obstime=Time(epoch, format="jyear"))
    return np.asarray(moved.ra.deg), np.asarray(moved.dec.deg)


def angle_unit(text: str) -> u.UnitBase:
    """Return the unit of an angle from its name in a file; ValueError if it is none."""
    name = text.strip("\"' ")
    try:
        unit = _UNIT_ALIASES.get(name.lower()) or u.Unit(name)
        unit.to(u.deg)
    except (ValueError, TypeError, u.UnitsError) as error:
        raise ValueError(
            f"the unit {text!r}, which is no angle; expected deg, hourangle or rad"
        ) from error
    return unit


def sexagesimal_to_deg(text: np.ndarray, unit: u.UnitBase) -> np.ndarray:
    """Return angles (n,) written like ``12:34:56.7`` [deg]; ValueError if a text is no angle.

    `unit` is that of the first number, unless the text states it (``12h34m56.7s``).
    """
    try:
        return np.asarray(Angle(text.tolist(), unit).degree)
    except (ValueError, TypeError, u.UnitsError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _equinox(text: str, *, besselian: bool) -> Time:
    """Return the time of an equinox: J2000, B1950.0, or a bare year."""
    found = re.fullmatch(r"([jb]?)\s*(\d{4}(?:\.\d+)?)", text)
    if not found:
        raise ValueError(f"{text!r} is no equinox; expected one like J2000")
    besselian = found[1] == "b" if found[1] else besselian
    return Time(float(found[2]), format="byear" if besselian else "jyear")

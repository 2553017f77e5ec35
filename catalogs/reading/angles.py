"""Read columns of angles: numbers, numbers as text, and sexagesimal text."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units as u

from catalogs.reading.frames import angle_unit, sexagesimal_to_deg
from catalogs.reading.loaded import is_number, is_text
from galaxy_da.errors import CatalogError

_FEWEST = 10  # values that show a unit
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def is_sexagesimal(column: pa.ChunkedArray) -> bool:
    """Test if a column is text with more angles such as ``10:00:00`` than plain numbers."""
    if not is_text(column.type):
        return False
    texts = column.cast(pa.string())
    has_digits = pc.sum(pc.match_substring_regex(texts, "[0-9]")).as_py() or 0
    return bool(has_digits > 2 * (pc.sum(_are_numbers(texts)).as_py() or 0))


def read_angles(
    table: pa.Table, source: str, unit: str | None, where: str, notes: list[str], *, is_ra: bool
) -> np.ndarray:
    """Return a coordinate [deg], NaN where it is empty or no angle; `notes` get remarks.

    CatalogError is raised if the unit is no angle, or the column holds neither numbers nor text.
    """
    column = table[source]
    try:
        known = angle_unit(unit or "deg")
    except ValueError as error:
        raise CatalogError(f"{where}: {source} has {error}") from error
    if is_text(column.type):
        values = _read_text(column, known, is_ra=is_ra)
    elif is_number(column.type):
        values = np.asarray(column.cast(pa.float64()).to_numpy())
        values = values if known == u.deg else values * known.to(u.deg)
    else:
        raise CatalogError(
            f"{where}: {'ra' if is_ra else 'dec'} must be numbers or text but {source} holds "
            f"{column.type}"
        )
    if pa.types.is_float32(column.type):
        notes.append(f"{source} is single precision, good to 0.1 arcsec at best")
    if is_ra and unit is None:
        inside = (values >= 0) & (values <= 360)
        low = values.min(where=inside, initial=360.0)
        high = values.max(where=inside, initial=0.0)
        if low < high - 12 and high <= 24:
            notes.append(
                f"{source} has no unit and spans {low:g} to {high:g}: hours? "
                "then read it with unit=hourangle"
            )
        elif inside.sum() >= _FEWEST and low < 0.1 and 6 < high <= 2 * np.pi:
            notes.append(f"{source} has no unit and spans a circle in radians: unit=rad?")
    return np.asarray(values)


def _read_text(column: pa.ChunkedArray, unit: u.UnitBase, *, is_ra: bool) -> np.ndarray:
    """Return angles [deg]; of right ascensions only those written as most are.

    Numbers among sexagesimal right ascensions could be degrees or hours.
    """
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    numbers, sexagesimal = _are_numbers(texts), is_sexagesimal(column)
    values = np.full(len(texts), np.nan)
    if not (sexagesimal and is_ra):
        plain = pc.if_else(numbers, texts, None).cast(pa.float64())
        values = np.asarray(plain.to_numpy()) * unit.to(u.deg)
    if sexagesimal or not is_ra:
        chosen = pc.and_(pc.match_substring_regex(texts, "[0-9]"), pc.invert(numbers))
        mask = np.asarray(pc.fill_null(chosen, False))
        values = np.where(mask, np.nan, values)
        words = np.asarray(texts.filter(pa.array(mask)).to_pylist(), dtype=str)
        try:
            values[mask] = sexagesimal_to_deg(words, unit)
        except ValueError:
            values[mask] = [_angle(word, unit) for word in words]
    return values


def _are_numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.match_substring_regex(texts, _NUMBER), False)


def _angle(word: str, unit: u.UnitBase) -> float:
    try:
        return float(sexagesimal_to_deg(np.array([word]), unit)[0])
    except ValueError:
        return math.nan

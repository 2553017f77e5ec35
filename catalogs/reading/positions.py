"""Positions and position errors of a catalogue, from any unit, frame and epoch."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units as u

from catalogs.reading.angles import is_sexagesimal, read_angles
from catalogs.reading.columns import (
    PositionColumns,
    find_column,
    find_motion,
    find_positions,
    spelled,
    unit_in_name,
)
from catalogs.reading.frames import (
    angle_unit,
    equatorial_frame,
    frame_named,
    is_equatorial,
    to_epoch,
    to_icrs,
)
from catalogs.reading.loaded import Loaded, field_note, is_number, is_text
from catalogs.reading.options import YEARS, CatalogOptions
from galaxy_da.errors import CatalogError
from galaxy_da.io.positions import look_swapped

_ABSURD_SHARE = 0.05  # of rows: fewer are bad rows, not a wrong unit
_Units: TypeAlias = dict[str, str | None]
_FRAME_COLUMNS = ("radesys", "radecsys", "frame", "coordsys", "coord_frame")


class Positions(NamedTuple):
    """Positions of a catalogue and their origin."""

    ra: np.ndarray  # (n,) [ICRS deg], NaN for a row without a usable one
    dec: np.ndarray
    columns: PositionColumns  # of the file
    units: _Units  # of the columns, None where nothing states them
    frame: str  # of the columns


def read_positions(
    file: Loaded, options: CatalogOptions, where: str, notes: list[str]
) -> Positions:
    """Read the positions of a loaded file; `where` names it in messages, `notes` get more lines.

    CatalogError is raised if a column is missing or could be one of several, a unit or frame
    cannot be used, or no row has a usable position or epoch.
    """
    raw, ra, dec = file.table, options.ra, options.dec
    if file.form == "HATS" and ra is None and dec is None:
        ra, dec = file.header.get("hats_col_ra"), file.header.get("hats_col_dec")
    columns = find_positions(raw.column_names, ra, dec, where)
    frame = options.frame or _frame(file, columns, where)
    units = _units(raw, columns, options.unit, frame)
    lon, lat = (
        read_angles(raw, name, units[name], where, notes, is_ra=name == columns.lon)
        for name in (columns.lon, columns.lat)
    )
    _refuse_absurd(lon, lat, columns, units, where)
    good = _usable(lon, lat, columns, where, notes)
    lon, lat = _masked(good, lon, 0.0), _masked(good, lat, 0.0)
    motion = None if options.epoch is None else find_motion(raw.column_names, where)
    if options.epoch is not None and motion is None:
        notes.append(f"there are no proper motions: positions are not moved to {options.epoch:g}")
    if motion is not None and options.epoch is not None:
        speeds = [_in_unit(raw, name, u.mas / u.yr, where, notes) for name in motion]
        still = np.asarray(np.isnan(speeds).any(axis=0))
        if still.any():
            notes.append(f"{still.sum()} of {len(still)} rows have no proper motion and stay")
        known = (np.where(still, 0.0, speeds[0]), np.where(still, 0.0, speeds[1]))
        start = _reference_epoch(raw, options.reference_epoch, columns, where, notes)
        good &= np.isfinite(start)
        start = np.where(good, start, options.epoch)
        if is_equatorial(frame):
            lon, lat = to_epoch((lon, lat), known, frame, start, options.epoch)
        else:  # pmra and pmdec follow right ascension and declination, as in Gaia's table
            icrs = to_icrs(lon, lat, frame)
            lon, lat = to_epoch(icrs, known, "icrs", start, options.epoch)
            notes.append(f"{' and '.join(motion)} are taken to follow ICRS, not {frame}")
    elif frame != "icrs":
        lon, lat = to_icrs(lon, lat, frame)
    lon = _from_zero(_masked(good, lon, np.nan), columns.lon, notes)
    return Positions(lon, _masked(~np.isnan(lon), lat, np.nan), columns, units, frame)


def read_position_errors(
    table: pa.Table, sources: list[str], unit: str | None, where: str, notes: list[str]
) -> np.ndarray:
    """Read position errors per axis [arcsec]: a column, or the mean square of two, NaN for none.

    Their unit is `unit`, else what the file states, else the end of the column's name (``_mas``).
    CatalogError is raised if it is unknown or no angle, or no row has a usable error.
    """
    names = [find_column(table.column_names, "position_error", s, where) for s in sources]
    for name in names:
        if not (unit or field_note(table.schema.field(name), "unit") or unit_in_name(name)):
            raise CatalogError(
                f"{where}: {name} has no unit; position errors can be in mas, as Gaia's, or in "
                "arcsec: say which by position_error_unit=UNIT (--error-unit)"
            )
    parts = [_in_unit(table, name, u.arcsec, where, stated=unit) for name in names]
    error = np.sqrt(np.mean(np.square(parts), axis=0))
    bad = np.asarray(~np.isfinite(error) | (np.min(parts, axis=0, initial=0.0) < 0))
    told = (
        f"position_error {'+'.join(sources)} is empty or negative in {bad.sum()} of {len(bad)} rows"
    )
    if len(bad) and bad.all():
        raise CatalogError(f"{where}: {told}; match without errors")
    if bad.any():
        notes.append(f"{told}, which match nothing within sigmas")
    return np.where(bad, np.nan, error)


def _frame(file: Loaded, columns: PositionColumns, where: str) -> str:
    """Return the frame by the columns' notes, the columns' names, the rows or the header."""
    fields = [file.table.schema.field(name) for name in (columns.lon, columns.lat)]
    notes = [field_note(field, "frame") for field in fields]
    if notes[0] != notes[1]:
        raise CatalogError(
            f"{where}: {columns.lon} is in frame {notes[0] or 'unknown'} but {columns.lat} in "
            f"{notes[1] or 'unknown'}; name two columns of one frame by ra=NAME and dec=NAME"
        )
    header = file.header.get("RADESYS") or file.header.get("RADECSYS")
    equinox = str(file.header.get("EQUINOX") or "").strip()
    name = notes[0] or columns.frame or _row_frame(file.table, where) or header or "icrs"
    try:
        if name is header and str(header).strip().lower() in ("fk4", "fk5") and equinox:
            name = f"{str(header).strip()} {equinox}"
        elif name == "icrs" and not header and equinox:
            name = equatorial_frame(equinox)
        frame_named(str(name))
    except ValueError as error:
        raise CatalogError(f"{where}: {error}; say which by frame=NAME") from error
    return str(name).strip().lower()


def _row_frame(table: pa.Table, where: str) -> str | None:
    """Return the frame that a column names for each row; all must be the same."""
    for name in table.column_names:
        if name.lower() in _FRAME_COLUMNS and is_text(table[name].type):
            frames = sorted({str(value).strip() for value in pc.unique(table[name]).to_pylist()})
            if len(frames) > 1:
                raise CatalogError(
                    f"{where}: rows are in {len(frames)} frames ({', '.join(frames)}) by column "
                    f"{name}; split the table by it and read each with its frame=NAME"
                )
            return frames[0] if frames else None
    return None


def _units(table: pa.Table, columns: PositionColumns, unit: str | None, frame: str) -> _Units:
    """Return the unit of both coordinates, None where nothing states it."""
    if unit is not None:
        lat = "deg" if angle_unit(unit) == u.hourangle else unit
        return {columns.lon: unit, columns.lat: lat}
    units = {}
    for name in columns[:2]:
        units[name] = field_note(table.schema.field(name), "unit") or unit_in_name(name)
        if units[name] is None and is_sexagesimal(table[name]):
            hours = name == columns.lon and is_equatorial(frame)
            units[name] = "hourangle" if hours else "deg"
    return units


def _refuse_absurd(
    lon: np.ndarray, lat: np.ndarray, columns: PositionColumns, units: _Units, where: str
) -> None:
    """Refuse positions [deg] of which several show swapped columns or another unit."""
    for name, values, largest in ((columns.lon, lon, 360.0), (columns.lat, lat, 90.0)):
        unit = units[name] or "deg"
        factor = float(angle_unit(unit).to(u.deg))
        if factor <= 1:
            continue
        sizes = np.abs(values)
        beyond = (sizes > largest) & (sizes <= largest * factor)
        if beyond.any() and beyond.sum() >= _ABSURD_SHARE * len(values):
            raise CatalogError(
                f"{where}: {name} has the unit {unit!r} but reaches "
                f"{sizes[beyond].max() / factor:g}, which only degrees do; read it with unit=deg"
            )
    if look_swapped(lon, lat):
        raise CatalogError(
            f"{where}: {columns.lat} reaches {lat[lat <= 360].max():g} while {columns.lon} "
            f"stays within {np.nanmin(lon):g} to {np.nanmax(lon):g}; expected degrees in "
            f"[-90, 90]: ra and dec look swapped; read with ra={columns.lat} and dec={columns.lon}"
        )


def _usable(
    lon: np.ndarray, lat: np.ndarray, columns: PositionColumns, where: str, notes: list[str]
) -> np.ndarray:
    """Return a mask of the positions [deg] that lie on the sphere; count the others in `notes`."""
    good: np.ndarray = (np.abs(lon) <= 360) & (np.abs(lat) <= 90)
    if good.all():
        return good
    row = int(np.argmin(good))
    name, value = columns.lon, lon[row]
    if abs(value) <= 360:
        name, value = columns.lat, lat[row]
    shown = "empty or no angle" if np.isnan(value) else f"{value:g} deg"
    told = (
        f"{(~good).sum()} of {len(good)} rows have no usable position (the first is row {row}: "
        f"{name} is {shown})"
    )
    if not good.any():
        raise CatalogError(f"{where}: {told}; name other columns by ra=NAME and dec=NAME")
    notes.append(f"{told}; they are kept, and match nothing")
    return good


def _masked(good: np.ndarray, values: np.ndarray, other: float) -> np.ndarray:
    """Replace values that are not good; copy nothing if all are."""
    return values if good.all() else np.where(good, values, other)


def _from_zero(lon: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Add 360 deg to right ascensions below 0, where all lie within -180 to 180 deg.

    Beside larger ones, those below 0 are taken for marks of missing values, and become NaN.
    """
    below = np.asarray(lon < 0)
    if not below.any():
        return lon
    if np.nanmin(lon) < -180 or np.nanmax(lon) > 180:
        notes.append(
            f"{name} of {below.sum()} of {len(lon)} rows is below 0 (the first is row "
            f"{np.argmax(below)}: {lon[below][0]:g}) but reaches {np.nanmax(lon):g}; expected "
            "degrees in [0, 360], or all in [-180, 180]; these rows are kept, and match nothing"
        )
        return np.where(below, np.nan, lon)
    notes.append(f"{below.sum()} of {len(lon)} right ascensions are below 0: 360 deg are added")
    return np.where(below, np.where(lon + 360 < 360, lon + 360, 0.0), lon)


def _reference_epoch(
    table: pa.Table, year: float | None, columns: PositionColumns, where: str, notes: list[str]
) -> np.ndarray:
    """Return the epoch of each position [Julian year], NaN for a bad one."""
    name = spelled(table.column_names, "reference_epoch")
    note = field_note(table.schema.field(columns.lon), "epoch")
    if year is not None:
        years = np.full(len(table), year)
    elif name is not None and is_number(table[name].type):
        years = np.asarray(table[name].cast(pa.float64()).to_numpy())
    elif note is not None:
        years = np.full(len(table), float(note.lstrip("Jj")))
    else:
        raise CatalogError(
            f"{where}: positions have proper motions but no epoch to move them from; give "
            "reference_epoch=YEAR"
        )
    bad = np.asarray(~((years >= YEARS[0]) & (years <= YEARS[1])))
    if bad.any():
        told = (
            f"{name or 'the epoch'} of row {np.argmax(bad)} is {years[np.argmax(bad)]:g}; expected "
            f"Julian years such as 2016.0; {bad.sum()} of {len(bad)} rows are bad"
        )
        if bad.all():
            raise CatalogError(f"{where}: {told}; give reference_epoch=YEAR")
        notes.append(f"{told}; they are kept, and match nothing")
    return np.where(bad, np.nan, years)


def _in_unit(
    table: pa.Table,
    name: str,
    unit: u.UnitBase,
    where: str,
    notes: list[str] | None = None,
    stated: str | None = None,
) -> np.ndarray:
    """Return a column of numbers in a unit; `notes` tell if it is assumed."""
    if not is_number(table[name].type):
        raise CatalogError(f"{where}: {name} must hold numbers but holds {table[name].type}")
    values = np.asarray(table[name].cast(pa.float64()).to_numpy())
    stated = stated or field_note(table.schema.field(name), "unit") or unit_in_name(name)
    if stated is None:
        if notes is not None:
            notes.append(f"{name} has no unit and is taken to be in {unit}")
        return values
    try:
        return np.asarray(values * u.Unit(stated).to(unit))
    except (ValueError, TypeError, u.UnitsError) as error:
        raise CatalogError(
            f"{where}: {name} has the unit {stated!r}, which is no {unit.physical_type}; expected "
            f"one like {unit}"
        ) from error

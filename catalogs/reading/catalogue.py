"""Catalogues from files of many kinds, as one kind of table.

Whatever the file, the table starts with ``object_id`` (string), ``ra`` and ``dec`` (float64, ICRS
deg) and keeps every column of the file after them. Which columns those three came from, in what
unit, frame and epoch, and what was noticed on the way, stands in the table's metadata under
``catalog``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units as u
from astropy.io import fits

from catalogs.reading.columns import (
    POSITION_ERROR,
    ROW_NUMBER,
    PositionColumns,
    find_ids,
    find_motion,
    find_positions,
    make_ids,
    prepend,
    require,
    spelled,
)
from catalogs.reading.formats import CatalogFile, field_note, is_number, is_text, load_file
from catalogs.reading.frames import angle_unit, frame_named, sexagesimal_to_deg, to_epoch, to_icrs
from galaxy_da.errors import CatalogError
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, resolve
from galaxy_da.io.tables import check_positions, check_unique, read_metadata, with_metadata

__all__ = ["ROW_NUMBER", "read_catalog"]

_YEARS = (1800.0, 2200.0)  # what an epoch may be [Julian year]
_FRAME_COLUMNS = ("radesys", "radecsys", "frame", "coordsys", "coord_frame")
_CUTOUTS_ASKED = 5  # cutouts whose headers are looked into


def read_catalog(
    path: PathOrUrl,
    *,
    ra: str | None = None,
    dec: str | None = None,
    object_id: str | None = None,
    unit: str | None = None,
    frame: str | None = None,
    epoch: float | None = None,
    reference_epoch: float | None = None,
    position_error: str | None = None,
) -> pa.Table:
    """Read a catalogue.

    Parameters
    ----------
    path : path or URL
        FITS (``.fits``, ``.fit``), VOTable (``.vot``, ``.votable``, ``.xml``), ECSV or CSV, these
        also with ``.gz``, Parquet, or a HATS folder, read whole. Of several tables in a file the
        first is read.
    ra, dec, object_id : str, optional
        The columns to use. By default a column of that very name, else the one spelled in a usual
        way (`catalogs.reading.columns.SPELLINGS`, whatever the case); where there is no right
        ascension,
        Galactic, ecliptic or B1950 columns. Legacy Survey tables get ``release_brickid_objid``;
        without an id column rows are numbered from 0.
    unit : str, optional
        Unit of right ascension, in place of what the file says: ``deg``, ``hourangle``, ``rad``.
        Declination has the same, but degrees beside hours.
    frame : str, optional
        Frame of the positions, in place of what the file says; one of
        `catalogs.reading.frames.FRAMES`.
    epoch : float, optional
        Move positions along their proper motion to this epoch [Julian year].
    reference_epoch : float, optional
        Epoch of the positions [Julian year], in place of what the file says.
    position_error : str, optional
        Column of the standard error of positions along one axis, or two joined by ``+``, of those
        along right ascension and declination. In arcsec where it has no unit.

    Returns
    -------
    pa.Table
        ``object_id``, ``ra``, ``dec`` [ICRS deg], ``position_error_arcsec`` where asked for, then
        every column of the file; but the ``image`` column of a sample table is not loaded. Units
        and frames come from the file: column units (degrees where there are none) or sexagesimal
        text; ``RADESYS`` and ``EQUINOX``, VOTable's ``COOSYS``, or the frame of a `SkyCoord`
        column; ICRS where nothing is said. A column of the file whose name is taken by a converted
        one is kept as ``NAME_input``. Units are in the field metadata.

    Raises
    ------
    ValueError
        If the frame, unit or an epoch asked for is none.
    CatalogError
        If there is no such file, it cannot be read, a column is missing or could be one of several,
        or an id, position, unit, frame or epoch cannot be used.
    TableError
        If an id is repeated within its survey.
    StorageError
        If the store it is in fails.
    """
    path, where = location(path), str(path)
    for year in (epoch, reference_epoch):
        if year is not None and not _YEARS[0] <= year <= _YEARS[1]:
            raise ValueError(f"an epoch must be a Julian year such as 2016.0 but is {year}")
    if unit is not None:
        angle_unit(unit)
    if frame is not None:
        frame_named(frame)
    file = load_file(path, lambda names: find_ids(names, object_id, where))
    raw, notes = file.table, list(file.warnings)
    names = raw.column_names
    if file.form == "HATS" and ra is None and dec is None:
        ra, dec = file.header.get("hats_col_ra"), file.header.get("hats_col_dec")
    ids = find_ids(names, object_id, where)
    columns = find_positions(names, ra, dec, where)
    frame = frame or _frame(file, columns, where)
    units = _units(raw, columns, unit, frame)
    lon, lat = (
        _degrees(raw, name, units[name], where, notes, is_ra=name == columns.lon)
        for name in (columns.lon, columns.lat)
    )
    _refuse_absurd(lon, lat, columns, units, where)
    moved = None
    if epoch is not None:
        moved = _moved(raw, (lon, lat), frame, epoch, reference_epoch, columns, where, notes)
    elif frame != "icrs":
        lon, lat = to_icrs(lon, lat, frame)
    lon, lat = moved or (lon, lat)
    made = {
        "object_id": make_ids(raw, ids, where),
        "ra": pa.chunked_array([lon], pa.float64()),
        "dec": pa.chunked_array([lat], pa.float64()),
    }
    sources = {"object_id": ids, "ra": [columns.lon], "dec": [columns.lat]}
    if position_error is not None:
        sources[POSITION_ERROR] = position_error.split("+")
        made[POSITION_ERROR] = _errors(raw, sources[POSITION_ERROR], where)
    check_positions(made["ra"].to_numpy(), made["dec"].to_numpy(), where)
    table = prepend(made, raw, sources, notes)
    keys = ("survey", "object_id") if "survey" in table.column_names else ("object_id",)
    check_unique(table, keys, where)
    catalog = {
        "file": path.name,
        "format": file.form,
        "columns": {name: "_".join(found) or ROW_NUMBER for name, found in sources.items()},
        "units": {"ra": units[columns.lon] or "deg", "dec": units[columns.lat] or "deg"},
        "frame": frame,
        "epoch": epoch,
        "surveys": _surveys(file, path),
        "notes": notes,
    }
    return with_metadata(table, {**read_metadata(raw.schema), "catalog": catalog})


def _frame(file: CatalogFile, columns: PositionColumns, where: str) -> str:
    """Return the frame of the positions by their names, the column's notes, rows or header."""
    fields = [file.table.schema.field(name) for name in (columns.lon, columns.lat)]
    said = [field_note(field, "frame") for field in fields]
    if said[0] != said[1]:
        raise CatalogError(
            f"{where}: {columns.lon} is in frame {said[0] or 'unknown'} but {columns.lat} in "
            f"{said[1] or 'unknown'}; name two columns of one frame by ra=NAME and dec=NAME"
        )
    header = file.header.get("RADESYS") or file.header.get("RADECSYS")
    equinox = file.header.get("EQUINOX")
    if equinox and not header:
        header = "FK4" if float(equinox) < 1984 else "FK5"
    if header and equinox and str(header).strip().lower() in ("fk4", "fk5"):
        header = f"{str(header).strip()} {equinox}"
    found = said[0] or columns.frame or _row_frame(file.table, where) or header or "icrs"
    try:
        frame_named(str(found))
    except ValueError as error:
        raise CatalogError(f"{where}: {error}; say which by frame=NAME") from error
    return str(found).strip().lower()


def _row_frame(table: pa.Table, where: str) -> str | None:
    """Return the frame that a column names for each row; it must be the same for all."""
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


def _units(
    table: pa.Table, columns: PositionColumns, unit: str | None, frame: str
) -> dict[str, str | None]:
    """Return the unit of both coordinates, None where nothing says it."""
    if unit is None:
        units = {name: field_note(table.schema.field(name), "unit") for name in columns[:2]}
    else:
        lat = "deg" if angle_unit(unit) == u.hourangle else unit
        units = {columns.lon: unit, columns.lat: lat}
    for name in columns[:2]:
        if units[name] is None and _is_sexagesimal(table[name]):
            equatorial = frame.split()[0].removeprefix("eq_") in ("icrs", "fk5", "fk4")
            units[name] = "hourangle" if name == columns.lon and equatorial else "deg"
    return units


def _is_sexagesimal(column: pa.ChunkedArray) -> bool:
    """Whether a column holds text that is not plain numbers."""
    if not is_text(column.type):
        return False
    try:
        column.cast(pa.float64())
    except pa.ArrowInvalid:
        return True
    return False


def _degrees(
    table: pa.Table, source: str, unit: str | None, where: str, notes: list[str], *, is_ra: bool
) -> np.ndarray:
    """Return a coordinate [deg], NaN where it is empty."""
    column = table[source]
    try:
        known = angle_unit(unit or "deg")
    except ValueError as error:
        raise CatalogError(f"{where}: {source} has {error}") from error
    if _is_sexagesimal(column):
        try:
            return sexagesimal_to_deg(column.to_numpy(zero_copy_only=False).astype(str), known)
        except ValueError as error:
            raise CatalogError(f"{where}: {source} is no angle ({error})") from error
    if not is_number(column.type) and not is_text(column.type):
        raise CatalogError(
            f"{where}: {'ra' if is_ra else 'dec'} must be numbers or text but {source} holds "
            f"{column.type}"
        )
    values = np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_float32(column.type):
        notes.append(f"{source} is single precision, good to 0.1 arcsec at best")
    if is_ra and unit is None:
        spread = values[np.isfinite(values)]
        if len(spread) and spread.max() <= 24 and np.ptp(spread) > 12:
            notes.append(
                f"{source} has no unit and spans {spread.min():g} to {spread.max():g}: hours? "
                "then read it with unit=hourangle"
            )
    factor = known.to(u.deg)
    return np.asarray(values if factor == 1 else values * factor)


def _refuse_absurd(
    lon: np.ndarray,
    lat: np.ndarray,
    columns: PositionColumns,
    units: dict[str, str | None],
    where: str,
) -> None:
    """Refuse positions that show what is wrong with their columns as a whole [deg]."""
    empty = np.asarray(~(np.isfinite(lon) & np.isfinite(lat)))
    if empty.any():
        name = columns.lon if np.isnan(lon).sum() >= np.isnan(lat).sum() else columns.lat
        row = int(np.argmax(empty))
        raise CatalogError(
            f"{where}: {empty.sum()} of {len(empty)} rows have no position (the first is row "
            f"{row}; {name} is empty there); leave them out, or name other columns by ra=NAME and "
            "dec=NAME"
        )
    if not len(lon):
        return
    for name, values, largest in ((columns.lon, lon, 360.0), (columns.lat, lat, 90.0)):
        unit = units[name] or "deg"
        most, factor = float(np.abs(values).max()), float(angle_unit(unit).to(u.deg))
        if factor > 1 and most / factor <= largest < most:
            raise CatalogError(
                f"{where}: {name} has the unit {unit!r} but reaches {most / factor:g}, which only "
                "degrees do; read it with unit=deg"
            )
    if np.abs(lat).max() > 90 and np.abs(lon).max() <= 90:
        raise CatalogError(
            f"{where}: {columns.lat} reaches {lat[np.argmax(np.abs(lat))]:g} while {columns.lon} "
            f"stays within {lon.min():g} to {lon.max():g}; expected degrees in [-90, 90]: ra and "
            f"dec look swapped; read with ra={columns.lat} and dec={columns.lon}"
        )


def _moved(
    table: pa.Table,
    position: tuple[np.ndarray, np.ndarray],
    frame: str,
    epoch: float,
    reference_epoch: float | None,
    columns: PositionColumns,
    where: str,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions [ICRS deg] at an epoch, as far as their motion is known."""
    motion = find_motion(table.column_names, where)
    if motion is None:
        notes.append(f"there are no proper motions: positions are not moved to {epoch:g}")
        return to_icrs(*position, frame)
    speeds = [_in_unit(table, name, u.mas / u.yr, where, notes) for name in motion]
    still = np.asarray(np.isnan(speeds).any(axis=0))
    if still.any():
        notes.append(f"{still.sum()} of {len(still)} rows have no proper motion and stay")
    start = _reference_epoch(table, reference_epoch, columns, where)
    known = [np.where(still, 0.0, speed) for speed in speeds]
    return to_epoch(*position, *known, frame=frame, reference_epoch=start, epoch=epoch)


def _reference_epoch(
    table: pa.Table, asked: float | None, columns: PositionColumns, where: str
) -> np.ndarray:
    """Return the epoch of each position [Julian year]."""
    name = spelled(table.column_names, "reference_epoch")
    said = field_note(table.schema.field(columns.lon), "epoch")
    if asked is not None:
        years = np.full(len(table), asked)
    elif name is not None and is_number(table[name].type):
        years = np.asarray(table[name].cast(pa.float64()).to_numpy())
    elif said is not None:
        years = np.full(len(table), float(said.lstrip("Jj")))
    else:
        raise CatalogError(
            f"{where}: positions have proper motions but no epoch to move them from; give "
            "reference_epoch=YEAR"
        )
    bad = np.asarray(~((years >= _YEARS[0]) & (years <= _YEARS[1])))
    if bad.any():
        raise CatalogError(
            f"{where}: {name or 'the epoch'} of row {np.argmax(bad)} is {years[np.argmax(bad)]:g}; "
            f"expected Julian years such as 2016.0; {bad.sum()} of {len(bad)} rows are bad; give "
            "reference_epoch=YEAR"
        )
    return years


def _errors(table: pa.Table, sources: Sequence[str], where: str) -> pa.ChunkedArray:
    """Return the position error per axis [arcsec]: a column, or the mean square of two."""
    parts = [
        _in_unit(table, require(table.column_names, name, "position_error", where), u.arcsec, where)
        for name in sources
    ]
    error = np.sqrt(np.mean(np.square(parts), axis=0))
    bad = np.asarray(~np.isfinite(error) | (np.min(parts, axis=0, initial=0.0) < 0))
    if bad.any():
        raise CatalogError(
            f"{where}: position_error {'+'.join(sources)} is empty or negative in {bad.sum()} of "
            f"{len(bad)} rows; leave them out, or match without errors"
        )
    return pa.chunked_array([error], pa.float64())


def _in_unit(
    table: pa.Table, name: str, unit: u.UnitBase, where: str, notes: list[str] | None = None
) -> np.ndarray:
    """Return a column of numbers in a unit, which it is taken to have where it says none."""
    if not is_number(table[name].type):
        raise CatalogError(f"{where}: {name} must hold numbers but holds {table[name].type}")
    values = np.asarray(table[name].cast(pa.float64()).to_numpy())
    said = field_note(table.schema.field(name), "unit")
    if said is None:
        if notes is not None:
            notes.append(f"{name} has no unit and is taken to be in {unit}")
        return values
    try:
        return np.asarray(values * u.Unit(said).to(unit))
    except (ValueError, TypeError, u.UnitsError) as error:
        raise CatalogError(
            f"{where}: {name} has the unit {said!r}, which is no {unit.physical_type}; expected "
            f"one like {unit}"
        ) from error


def _surveys(file: CatalogFile, path: Location) -> list[str]:
    """Return the surveys, with version, that the file's header and its cutouts' name."""
    headers: list[Any] = [file.header]
    if "cutout" in file.table.column_names and is_text(file.table["cutout"].type):
        for uri in file.table["cutout"][:_CUTOUTS_ASKED].to_pylist():
            image = resolve(path.parent, str(uri))
            if image.name.lower().endswith((".fits", ".fits.gz", ".fits.fz")) and exists(image):
                try:
                    headers.append(fits.getheader(local_copy(image)))
                except OSError:  # a broken cutout is for those to judge who read its pixels
                    continue
    labels = {
        " ".join(str(header[card]).strip() for card in ("SURVEY", "VERSION") if header.get(card))
        for header in headers
        if header.get("SURVEY")
    }
    return sorted(labels)

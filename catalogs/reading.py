"""Catalogues from files of many kinds, as one kind of table.

Whatever the file, the table starts with ``object_id`` (string), ``ra`` and ``dec`` (float64, ICRS
deg) and keeps every column of the file after them. Which columns those three came from, and what
was noticed on the way, stands in the table's metadata under ``catalog``.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns

from galaxy_da.errors import CatalogError
from galaxy_da.tables import check_positions, check_unique, read_metadata, with_metadata

__all__ = ["ROW_NUMBER", "SPELLINGS", "read_catalog"]

ROW_NUMBER = "row number"
"""Stands in the metadata for the id column of a file that has none."""

SPELLINGS = {
    "object_id": (
        "objectid objid sourceid id idstr name iauname objname mainid designation targetid "
        "galaxyid coaddobjectid dr7objid dr8objid number"
    ),
    "ra": (
        "ra radeg raj2000 ra2000 raicrs ramean rastack alphaj2000 alphawinj2000 alphasky "
        "rightascension"
    ),
    "dec": (
        "dec de decdeg dedeg decj2000 dej2000 dec2000 decicrs deicrs decmean decstack deltaj2000 "
        "deltawinj2000 deltasky declination"
    ),
}
"""Column names recognised, in lower case, without prefix and punctuation."""

_LEGACY_SURVEY_ID = ("release", "brickid", "objid")  # unique only together
_UNIT_ALIASES = {
    "radians": u.rad,
    "degrees": u.deg,
    "d:m:s": u.deg,
    "h": u.hourangle,
    "hr": u.hourangle,
    "hour": u.hourangle,
    "hours": u.hourangle,
    "h:m:s": u.hourangle,
}
_COLUMNS_SHOWN = 20
_WARNINGS_KEPT = 3


def read_catalog(
    path: str | os.PathLike[str],
    *,
    ra: str | None = None,
    dec: str | None = None,
    object_id: str | None = None,
) -> pa.Table:
    """Read a catalogue.

    Parameters
    ----------
    path : path
        FITS (``.fits``, ``.fit``), VOTable (``.vot``, ``.votable``, ``.xml``), ECSV or CSV, these
        also with ``.gz``, or Parquet. Of several tables in a file the first is read.
    ra, dec, object_id : str, optional
        The columns to use. By default a column of that very name, else the one spelled in a usual
        way (`SPELLINGS`, whatever the case). Legacy Survey tables get ``release_brickid_objid``;
        without an id column rows are numbered from 0.

    Returns
    -------
    pa.Table
        ``object_id``, ``ra``, ``dec``, then every column of the file; but the ``image`` column of a
        sample table is not loaded. Positions come from the column's unit (degrees where it has
        none) or from sexagesimal text. A column of the file whose name is taken by a converted one
        is kept as ``NAME_input``. Units are in the field metadata.

    Raises
    ------
    CatalogError
        If there is no such file, it cannot be read, a column is missing or could be one of several,
        or an id or position cannot be used.
    TableError
        If an id is repeated within its survey.
    """
    path = Path(path)
    asked = {"object_id": object_id, "ra": ra, "dec": dec}
    raw, form, notes = _load(path, asked)
    sources = _recognise(raw.column_names, asked, str(path))
    made = {"object_id": _ids(raw, sources["object_id"], str(path))}
    units = {}
    for name in ("ra", "dec"):
        degrees, units[name] = _degrees(raw, name, sources[name][0], str(path), notes)
        made[name] = pa.chunked_array([degrees], pa.float64())
    check_positions(made["ra"].to_numpy(), made["dec"].to_numpy(), str(path))
    table = _prepend(made, raw, sources, notes)
    keys = ("survey", "object_id") if "survey" in table.column_names else ("object_id",)
    check_unique(table, keys, str(path))
    catalog = {
        "file": path.name,
        "format": form,
        "columns": {name: "_".join(found) or ROW_NUMBER for name, found in sources.items()},
        "units": units,
        "notes": notes,
    }
    return with_metadata(table, {**read_metadata(raw.schema), "catalog": catalog})


_Asked = Mapping[str, str | None]


def _load(path: Path, asked: _Asked) -> tuple[pa.Table, str, list[str]]:
    """Return a file's table, its format, and the reader's first warnings."""
    name = re.sub(r"\.(gz|bz2|fz)$", "", path.name.lower())
    suffix = name.rsplit(".", 1)[-1] if "." in name else ""
    if not path.exists():
        raise CatalogError(f"{path}: no such file")
    if not path.is_file() or suffix not in _READERS:
        what = f"a file of unknown format {suffix!r}" if path.is_file() else "not a file"
        raise CatalogError(
            f"{path}: is {what}; catalogues are read from FITS, VOTable, ECSV, CSV or Parquet, by "
            f"the endings {', '.join(f'.{known}' for known in _READERS)}"
        )
    form, reader = _READERS[suffix]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = reader(path, asked)
    except CatalogError:
        raise
    except Exception as error:  # every parser has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CatalogError(f"{path}: cannot be read as {form} ({reason})") from error
    said = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return table, form, list(said)[:_WARNINGS_KEPT]


def _read_fits(path: Path, asked: _Asked) -> pa.Table:
    return _to_arrow(
        Table.read(path, format="fits", mask_invalid=False, unit_parse_strict="silent")
    )


def _read_votable(path: Path, asked: _Asked) -> pa.Table:
    return _to_arrow(Table.read(path, format="votable", table_id=0, use_names_over_ids=True))


def _read_ecsv(path: Path, asked: _Asked) -> pa.Table:
    return _to_arrow(Table.read(path, format="ascii.ecsv"))


def _read_csv(path: Path, asked: _Asked) -> pa.Table:
    """Read a CSV file below its ``#`` lines, with the ids as they are written."""
    with pa.input_stream(path) as stream:
        head = stream.read(1 << 16).splitlines()
    skip = next((k for k, line in enumerate(head) if not line.startswith(b"#")), len(head))
    options = pa.csv.ReadOptions(skip_rows=skip)
    with pa.csv.open_csv(path, read_options=options) as reader:
        inferred = reader.schema
    ids = _recognise(inferred.names, asked, str(path))["object_id"]
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(ids, pa.string()))
    table = pa.csv.read_csv(path, read_options=options, convert_options=convert)
    for name in ids:
        decimal = pc.any(pc.match_substring_regex(table[name], "[.eE]")).as_py()
        if decimal and pa.types.is_floating(inferred.field(name).type):
            raise CatalogError(_float_ids(str(path), name, "decimals"))
    return table


def _read_parquet(path: Path, asked: _Asked) -> pa.Table:
    with pq.ParquetFile(path) as file:
        heavy = [
            field.name
            for field in file.schema_arrow
            if field.name == "image" and not (_is_text(field.type) or _is_number(field.type))
        ]
        return file.read([name for name in file.schema_arrow.names if name not in heavy])


_READERS: dict[str, tuple[str, Callable[[Path, _Asked], pa.Table]]] = {
    "fits": ("FITS", _read_fits),
    "fit": ("FITS", _read_fits),
    "vot": ("VOTable", _read_votable),
    "votable": ("VOTable", _read_votable),
    "xml": ("VOTable", _read_votable),
    "ecsv": ("ECSV", _read_ecsv),
    "csv": ("CSV", _read_csv),
    "parquet": ("Parquet", _read_parquet),
}


def _to_arrow(table: Table) -> pa.Table:
    """Turn an astropy table into an Arrow table; units go to the field metadata."""
    arrays, fields = [], []
    for column in represent_mixins_as_columns(table).itercols():
        values = np.ma.getdata(column).view(np.ndarray)
        array = _to_array(values, np.ma.getmaskarray(column))
        metadata = {"unit": str(column.unit)} if column.unit is not None else None
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, metadata=metadata))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _to_array(values: np.ndarray, mask: np.ndarray) -> pa.Array:
    """Turn a column (n, ...) into an Arrow array; further axes become fixed-size lists."""
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
        mask = np.stack([mask, mask], axis=-1)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "O" and len(values) and isinstance(values.flat[0], np.ndarray):
        return _to_lists(values)
    if values.dtype.kind not in "OU":
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    array = pa.array(values.reshape(-1), mask=mask.reshape(-1))
    for size in values.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _to_lists(values: np.ndarray) -> pa.Array:
    """Turn a column (n,) of arrays of varying length into an Arrow array of lists."""
    rows = [np.atleast_1d(np.ma.getdata(value)) for value in values]
    flat = np.concatenate(rows)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, _to_array(flat, np.zeros(flat.shape, dtype=bool)))


def _recognise(names: Sequence[str], asked: _Asked, where: str) -> dict[str, list[str]]:
    """Return the columns that ids, ra and dec come from; for ids it may be none or several."""
    sources = {}
    for wanted, name in asked.items():
        found = [column for column in names if _plain(column) in SPELLINGS[wanted].split()]
        parts = [column for part in _LEGACY_SURVEY_ID for column in names if _plain(column) == part]
        if name is not None:
            found = [column for column in names if column == name]
        elif wanted in names:
            found = [wanted]
        elif wanted == "object_id" and len(parts) == len(_LEGACY_SURVEY_ID):
            found = parts
        elif len(found) > 1:
            raise CatalogError(
                f"{where}: {wanted} could be any of {', '.join(found)}; say which by {wanted}=NAME"
            )
        if not found and (name is not None or wanted != "object_id"):
            what = "" if name is None else f" {name!r}"
            raise CatalogError(
                f"{where}: there is no column{what} for {wanted}; it has {_some(names)}; say which "
                f"to use by {wanted}=NAME"
            )
        sources[wanted] = found
    return sources


def _plain(name: str) -> str:
    """Return a column's name in lower case, without prefix (``coord.ra``) and punctuation."""
    return re.sub("[^a-z0-9]", "", name.rsplit(".", 1)[-1].lower())


def _some(names: Sequence[str]) -> str:
    """List column names, the first of them where there are many."""
    more = f", ... ({len(names)} in all)" if len(names) > _COLUMNS_SHOWN else ""
    return ", ".join(names[:_COLUMNS_SHOWN]) + more


def _ids(table: pa.Table, sources: Sequence[str], where: str) -> pa.ChunkedArray:
    """Return ids as text: as written, integers in full, several columns joined, or row numbers."""
    if not sources:
        return pa.chunked_array([pa.array(np.arange(len(table))).cast(pa.string())])
    parts = []
    for name in sources:
        kind = table[name].type
        if pa.types.is_floating(kind):
            raise CatalogError(_float_ids(where, name, str(kind)))
        if not (pa.types.is_integer(kind) or _is_text(kind) or pa.types.is_null(kind)):
            raise CatalogError(f"{where}: ids must be text or integers but {name} holds {kind}")
        parts.append(pc.utf8_trim_whitespace(table[name].cast(pa.string())))
        empty = pc.sum(pc.equal(pc.fill_null(parts[-1], ""), "")).as_py()
        if empty:
            raise CatalogError(f"{where}: {empty} of {len(table)} rows have no id in {name}")
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "_")


def _float_ids(where: str, name: str, kind: str) -> str:
    return (
        f"{where}: ids in {name} are stored as {kind}, which loses digits of long ids; write them "
        "as integers or text, or use another column by object_id=NAME"
    )


def _degrees(
    table: pa.Table, wanted: str, source: str, where: str, notes: list[str]
) -> tuple[np.ndarray, str]:
    """Return a coordinate [deg], NaN where it is empty, and the unit it was in."""
    column, unit = table[source], _unit(table.schema.field(source))
    if _is_text(column.type):
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            return _sexagesimal(column, wanted, source, unit, where), unit or "sexagesimal"
    if not _is_number(column.type):
        raise CatalogError(
            f"{where}: {wanted} must be numbers or text but {source} holds {column.type}"
        )
    values = np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_float32(column.type):
        notes.append(f"{source} is single precision, good to 0.1 arcsec at best")
    if unit:
        factor = _angle_unit(unit, where, source).to(u.deg)
        return (values if factor == 1 else values * factor), unit
    known = values[np.isfinite(values)]
    if wanted == "ra" and len(known) and known.max() <= 24 and np.ptp(known) > 12:
        notes.append(f"{source} has no unit and spans {known.min():g} to {known.max():g}: hours?")
    return values, "deg"


def _sexagesimal(
    column: pa.ChunkedArray, wanted: str, source: str, unit: str | None, where: str
) -> np.ndarray:
    """Return angles written like ``12:34:56.7`` [deg], without a unit hours for ra."""
    default = u.hourangle if wanted == "ra" else u.deg
    text = column.to_numpy(zero_copy_only=False).astype(str)
    try:
        angles = Angle(text, _angle_unit(unit, where, source) if unit else default)
    except (ValueError, TypeError, u.UnitsError) as error:
        reason = " ".join(str(error).split())
        raise CatalogError(f"{where}: {source} is no angle ({reason})") from error
    return np.asarray(angles.degree)


def _angle_unit(text: str, where: str, source: str) -> u.UnitBase:
    """Return the unit of an angle from its name in a file."""
    name = text.strip("\"' ")
    try:
        unit = _UNIT_ALIASES.get(name.lower()) or u.Unit(name)
        unit.to(u.deg)
    except (ValueError, TypeError, u.UnitsError) as error:
        raise CatalogError(
            f"{where}: {source} has the unit {text!r}, which is no angle; expected deg, hourangle "
            "or rad"
        ) from error
    return unit


def _prepend(
    made: Mapping[str, pa.ChunkedArray],
    raw: pa.Table,
    sources: Mapping[str, Sequence[str]],
    notes: list[str],
) -> pa.Table:
    """Put the made columns first; a file's column of such a name stays unless it is the same."""
    columns = list(made.values())
    fields = [pa.field(name, column.type) for name, column in made.items()]
    taken = {*made, *raw.column_names}
    for field in raw.schema:
        name, column = field.name, raw[field.name]
        if name in made:
            if list(sources[name]) == [name] and _equals(column, made[name]):
                continue
            name += "_input"
            while name in taken:
                name += "_"
            taken.add(name)
            notes.append(f"the file's column {field.name} is kept as {name}")
        columns.append(column)
        fields.append(field.with_name(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _equals(column: pa.ChunkedArray, made: pa.ChunkedArray) -> bool:
    try:
        return bool(column.cast(made.type).equals(made))
    except pa.ArrowInvalid:
        return False


def _unit(field: pa.Field) -> str | None:
    unit = (field.metadata or {}).get(b"unit")
    return unit.decode() if unit else None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))

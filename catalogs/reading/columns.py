"""Recognise the columns of ids, positions, proper motions and epochs by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.reading.loaded import is_text
from galaxy_da.errors import CatalogError

SPELLINGS = {
    "object_id": (
        "objectid objid sourceid id idstr name iauname objname mainid designation targetid "
        "galaxyid coaddobjectid dr7objid dr8objid number"
    ),
    "ra": (
        "ra radeg raj2000 ra2000 raicrs ramean rastack alphaj2000 alphawinj2000 alphasky "
        "rightascension radegrees rahours rahour rahr rarad raradians"
    ),
    "dec": (
        "dec de decdeg dedeg decj2000 dej2000 dec2000 decicrs deicrs decmean decstack deltaj2000 "
        "deltawinj2000 deltasky declination decdegrees decrad decradians"
    ),
    "pmra": "pmra pmracosdec pmracosde",
    "pmdec": "pmdec pmde",
    "reference_epoch": "refepoch epoch",
}
"""Recognised column names, in lower case, without prefix and punctuation."""

POSITION_ERROR = "position_error_arcsec"
"""Column of the standard error of a position along one axis [arcsec]."""

ROW_NUMBER = "row number"
"""Name of the id column of a catalogue that has none."""

OTHER_FRAMES = {
    "fk4 B1950": ("rab1950 ra1950", "deb1950 decb1950 dec1950 de1950"),
    "galactic": ("glon l lgal gallon galacticlongitude", "glat b bgal gallat galacticlatitude"),
    "ecliptic": ("elon ecllon eclipticlongitude", "elat ecllat eclipticlatitude"),
}
"""Names of longitude and latitude in other frames, used if there are no ra and dec."""

_LEGACY_SURVEY_ID = ("release", "brickid", "objid")  # unique only together
_NAMES = ("designation", "iauname", "mainid", "name", "objname")  # ids come before these
_COLUMNS_SHOWN = 20


class PositionColumns(NamedTuple):
    """Names of the columns of longitude and latitude, and the frame that they state."""

    lon: str
    lat: str
    frame: str | None


def find_positions(
    names: Sequence[str], ra: str | None, dec: str | None, where: str
) -> PositionColumns:
    """Return the columns of longitude and latitude: `ra` and `dec` if given, else by their names.

    CatalogError is raised if one is missing or could be one of several, or their systems differ.
    """
    if ra is None and dec is None and not _spelled(names, "ra"):
        for frame, spellings in OTHER_FRAMES.items():
            lons, lats = ([n for n in names if _plain(n) in s.split()] for s in spellings)
            if len(lons) == 1 and len(lats) == 1:
                return PositionColumns(lons[0], lats[0], frame)
    lon, lat = (find_column(names, key, name, where) for key, name in (("ra", ra), ("dec", dec)))
    systems = [_system(name) for name in (lon, lat)]
    if ra is None and dec is None and all(systems) and systems[0] != systems[1]:
        raise CatalogError(
            f"{where}: ra would come from {lon} but dec from {lat}, which are of different "
            "systems; say which belong together by ra=NAME and dec=NAME"
        )
    return PositionColumns(lon, lat, None)


def find_ids(names: Sequence[str], object_id: str | None, where: str) -> list[str]:
    """Return the columns of ids: one, the three of the Legacy Surveys, or none."""
    parts = [column for part in _LEGACY_SURVEY_ID for column in names if _plain(column) == part]
    if object_id is None and "object_id" not in names:
        if len(parts) == len(_LEGACY_SURVEY_ID):
            return parts
        if not _spelled(names, "object_id"):
            return []
    return [find_column(names, "object_id", object_id, where)]


def find_motion(names: Sequence[str], where: str) -> tuple[str, str] | None:
    """Return the columns of proper motion, if there are any."""
    if not any(_spelled(names, key) for key in ("pmra", "pmdec")):
        return None
    return find_column(names, "pmra", None, where), find_column(names, "pmdec", None, where)


def find_column(names: Sequence[str], wanted: str, name: str | None, where: str) -> str:
    """Return the named column, else the one called `wanted` or with a usual spelling of it.

    CatalogError is raised if there is no such column, or it could be one of several.
    """
    if name is not None:
        found = [column for column in names if column == name]
    else:
        found = [wanted] if wanted in names else _spelled(names, wanted)
        if wanted == "object_id" and len(found) > 1:
            found = [column for column in found if _plain(column) not in _NAMES] or found
    if len(found) > 1:
        raise CatalogError(
            f"{where}: {wanted} could be any of {', '.join(found)}; say which by {wanted}=NAME"
        )
    if not found:
        what = "" if name is None else f" {name!r}"
        raise CatalogError(
            f"{where}: there is no column{what} for {wanted}; it has {_listed(names)}; say which "
            f"to use by {wanted}=NAME"
        )
    return found[0]


def make_ids(table: pa.Table, sources: Sequence[str], where: str) -> pa.ChunkedArray:
    """Return ids as text: as written, integers in full, several columns joined, or row numbers.

    CatalogError is raised if a column holds neither text nor integers, or a row has no id.
    """
    if not sources:
        return pa.chunked_array([pa.array(np.arange(len(table))).cast(pa.string())])
    parts = []
    for name in sources:
        kind = table[name].type
        if pa.types.is_floating(kind):
            raise CatalogError(
                f"{where}: ids in {name} are stored as {kind}, which loses digits of long ids; "
                "write them as integers or text, or use another column by object_id=NAME"
            )
        is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        is_whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
        if not (is_whole or is_bytes or is_text(kind) or pa.types.is_null(kind)):
            raise CatalogError(f"{where}: ids must be text or integers but {name} holds {kind}")
        try:
            parts.append(pc.utf8_trim_whitespace(table[name].cast(pa.string())))
        except pa.ArrowInvalid as error:
            raise CatalogError(f"{where}: ids in {name} are bytes that are no text") from error
        empty = pc.sum(pc.equal(pc.fill_null(parts[-1], ""), "")).as_py()
        if empty:
            raise CatalogError(f"{where}: {empty} of {len(table)} rows have no id in {name}")
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "_")


def prepend(
    made: Mapping[str, pa.ChunkedArray],
    raw: pa.Table,
    sources: Mapping[str, Sequence[str]],
    notes: list[str],
) -> pa.Table:
    """Put made columns first; other columns of the same name are renamed ``NAME_input``.

    Columns of the file that equal a made column of their name are left out; `sources` are the
    columns each was made of. Renamed columns are added to `notes`.
    """
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


def unit_in_name(name: str) -> str | None:
    """Return the unit that the name of a column of angles ends in, if any."""
    found = re.search(r"(?:^|[\W_])(arcsec|mas|deg|hours?|hr|rad|radians)[)\]]?$", name.lower())
    return found[1] if found else None


def spelled(names: Sequence[str], wanted: str) -> str | None:
    """Return the only column with a usual spelling of `wanted`, or None."""
    found = _spelled(names, wanted)
    return found[0] if len(found) == 1 else None


def _spelled(names: Sequence[str], wanted: str) -> list[str]:
    usual = [wanted, *SPELLINGS[wanted].split()]
    return [column for column in names if column == wanted or _plain(column) in usual]


def _plain(name: str) -> str:
    """Return a column's name in lower case, without prefix (``coord.ra``) and punctuation."""
    return re.sub("[^a-z0-9]", "", name.rsplit(".", 1)[-1].lower())


def _system(name: str) -> str:
    """Return the part of a coordinate's name that tells its position from others."""
    stem = r"^(right_?ascension|declination|alpha|delta|ra|dec|de)"
    part = re.sub("[^a-z0-9]", "", re.sub(stem, "", name.rsplit(".", 1)[-1].lower().lstrip("_")))
    return re.sub("(deg|degrees|hours?|hr|rad|radians)$", "", part).replace("j2000", "2000")


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > _COLUMNS_SHOWN else ""
    return ", ".join(names[:_COLUMNS_SHOWN]) + more


def _equals(column: pa.ChunkedArray, made: pa.ChunkedArray) -> bool:
    try:
        column = column.cast(made.type)
    except pa.ArrowInvalid:
        return False
    if pa.types.is_floating(made.type):  # Arrow takes NaN as unlike NaN
        return bool(np.array_equal(column.to_numpy(), made.to_numpy(), equal_nan=True))
    return bool(column.equals(made))

"""Read FITS, ECSV and VOTable files with astropy."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import MaskedColumn, Table
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.exceptions import AstropyUserWarning

from catalogs.reading.loaded import Loaded, TableInFile, Wanted, choose_table
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location

HEADER_CARDS = ("SURVEY", "VERSION", "RADESYS", "RADECSYS", "EQUINOX")
"""Cards kept of the header of a FITS or ECSV table."""

_LATIN_1 = "the file is not UTF-8 text and is read as Latin-1"


def read_fits(path: Location, wanted: Wanted) -> Loaded:
    """Read a table of a FITS file: the wanted one, or the only one that has positions."""
    file = local_copy(path)
    with fits.open(file, memmap=False, character_as_bytes=True) as hdus:
        tables = [
            TableInFile(hdu.name, number, hdu.columns.names)
            for number, hdu in enumerate(hdus)
            if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
            and not isinstance(hdu, fits.CompImageHDU)
        ]
        chosen = choose_table(tables, wanted, str(path))
        hdu = hdus[chosen.number]
        missing = _missing_integers(hdu) | _missing_logicals(file, hdu.columns, chosen.number)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*contains NULL", AstropyUserWarning)
            table = Table.read(hdu, format="fits", mask_invalid=False, unit_parse_strict="silent")
    for name, mask in missing.items():
        if name in table.colnames:
            mask = mask | np.ma.getmaskarray(table[name])
            table[name] = MaskedColumn(table[name], mask=mask)
    converted, notes = _to_arrow(table)
    return Loaded(
        table=converted, header=_cards(table.meta), notes=_said(chosen, tables, wanted) + notes
    )


def _missing_integers(hdu: fits.BinTableHDU) -> dict[str, np.ndarray]:
    """Return masks of missing scaled integers, and drop their TNULL, which astropy misreads."""
    masks = {}
    for column in hdu.columns:
        if column.null is not None and (column.bzero or column.bscale):
            null = column.null * (column.bscale or 1) + (column.bzero or 0)
            masks[column.name] = hdu.data[column.name] == null
            column.null = None
    return masks


def _missing_logicals(file: Any, columns: fits.ColDefs, number: int) -> dict[str, np.ndarray]:
    """Return masks of missing logicals, which astropy reads as False."""
    names = [one.name for one in columns if getattr(one.format, "format", "") == "L"]
    if not names:
        return {}
    with fits.open(file, memmap=False, logical_as_bytes=True) as hdus:
        masks = {name: np.asarray(hdus[number].data[name]) == b"" for name in names}
    return {name: mask for name, mask in masks.items() if mask.any()}


def read_ecsv(path: Location, wanted: Wanted) -> Loaded:
    """Read an ECSV file; the frames of its `SkyCoord` columns go to the field metadata."""
    file = local_copy(path)
    try:
        table, notes = Table.read(file, format="ascii.ecsv"), []
    except UnicodeDecodeError:
        table = Table.read(file, format="ascii.ecsv", encoding="latin-1")
        notes = [_LATIN_1]
    frames: dict[str, dict[str, str]] = {}
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            frame = table[name].frame
            equinox = f" {frame.equinox.value}" if hasattr(frame, "equinox") else ""
            note = {"frame": f"{frame.name.replace('barycentricmean', '')}{equinox}"}
            frames |= {f"{name}.{part}": note for part in frame.representation_component_names}
    converted, more = _to_arrow(table, frames)
    return Loaded(table=converted, header=_cards(table.meta), notes=notes + more)


def read_votable(path: Location, wanted: Wanted) -> Loaded:
    """Read a table of a VOTable: the wanted one, or the only one that has positions."""
    tree, said = _parse_votable(local_copy(path))
    parts = list(tree.iter_tables())
    tables = [
        TableInFile(part.name or part.ID or "", number, [field.name for field in part.fields])
        for number, part in enumerate(parts, 1)
    ]
    chosen = choose_table(tables, wanted, str(path))
    part = parts[chosen.number - 1]
    holders = tree, *_resources(tree.resources)
    systems = [system for holder in holders for system in holder.coordinate_systems]
    frames = {}
    for field in part.fields:
        named = [one for one in systems if field.ref == one.ID][:1]
        fitting = systems if field.ref is None else named
        if len(fitting) == 1:
            system = fitting[0]
            equinox = f" {system.equinox}" if system.equinox else ""
            frame = {"frame": f"{system.system}{equinox}"} if system.system else {}
            frames[field.name] = frame | ({"epoch": str(system.epoch)} if system.epoch else {})
    converted, notes = _to_arrow(part.to_table(use_names_over_ids=True), frames)
    return Loaded(table=converted, notes=_said(chosen, tables, wanted) + said + notes)


def _parse_votable(file: Any) -> tuple[votable.tree.VOTableFile, list[str]]:
    """Parse a VOTable, also one with Latin-1 bytes that it does not declare."""
    try:
        return votable.parse(file), []
    except Exception:  # expat and astropy have their own errors
        with pa.input_stream(file) as stream:
            content = stream.read()
        try:
            content.decode()
        except UnicodeDecodeError:
            return votable.parse(io.BytesIO(content.decode("latin-1").encode())), [_LATIN_1]
        raise


def _resources(resources: Sequence[Any]) -> list[Any]:
    return [one for r in resources for one in (r, *_resources(r.resources))]


def _said(chosen: TableInFile, tables: Sequence[TableInFile], wanted: Wanted) -> list[str]:
    """Note which table was read, if the file holds several and the caller named none."""
    if len(tables) == 1 or wanted.table is not None:
        return []
    others = ", ".join(str(one) for one in tables if one is not chosen)
    return [f"table {chosen} is read, the only one with positions; the others are {others}"]


def _cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: meta[name] for name in HEADER_CARDS if meta.get(name)}


def _to_arrow(
    table: Table, notes: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[pa.Table, list[str]]:
    """Turn an astropy table into an Arrow table; units and notes go to the field metadata."""
    arrays, fields, said = [], [], []
    for column in represent_mixins_as_columns(table).itercols():
        values = np.ma.getdata(column).view(np.ndarray)
        if values.dtype.kind == "S":
            try:
                values = np.char.decode(values, "utf-8")
            except UnicodeDecodeError:
                values = np.char.decode(values, "latin-1")
                said.append(f"{column.name} is not UTF-8 text and is read as Latin-1")
        array = _to_array(values, np.ma.getmaskarray(column))
        metadata = dict((notes or {}).get(column.name, {}))
        if column.unit is not None:
            metadata["unit"] = str(column.unit)
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, metadata=metadata or None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)), said


def _to_array(values: np.ndarray, mask: np.ndarray) -> pa.Array:
    """Turn a column (n, ...) into an Arrow array; further axes become fixed-size lists."""
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
        mask = np.stack([mask, mask], axis=-1)
    if values.dtype.kind == "O" and len(values) and isinstance(values.flat[0], np.ndarray):
        return _to_lists(values)
    if values.dtype.kind not in "OU":
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    array = pa.array(values.reshape(-1), mask=mask.reshape(-1))
    for size in values.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _to_lists(values: np.ndarray) -> pa.Array:
    rows = [np.atleast_1d(np.ma.getdata(value)) for value in values]
    flat = np.concatenate(rows)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, _to_array(flat, np.zeros(flat.shape, dtype=bool)))

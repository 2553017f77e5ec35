"""Load catalogue files of many formats as Arrow tables, with cards of their headers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns
from upath import UPath

from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.hats.folders import list_hats_files, main_catalogue, read_properties
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import (
    Location,
    exists,
    is_folder,
    parquet_source,
    store_errors,
)

__all__ = ["CatalogFile", "field_note", "is_number", "is_text", "load_file"]

HEADER_CARDS = ("SURVEY", "VERSION", "RADESYS", "RADECSYS", "EQUINOX")
"""Cards kept of the header of a FITS or ECSV table."""

_WARNINGS_KEPT = 3

IdColumns = Callable[[Sequence[str]], Sequence[str]]


class CatalogFile(NamedTuple):
    """Contents of a file.

    Attributes
    ----------
    table : pa.Table
        Columns; the field metadata hold ``unit``, ``frame`` and ``epoch`` if the file states them.
    form : str
        Format.
    header : dict
        Cards of the header, `HEADER_CARDS`; of a HATS catalogue its properties.
    warnings : list of str
        First warnings of the reader.
    """

    table: pa.Table
    form: str
    header: dict[str, Any]
    warnings: list[str]


def load_file(path: Location, id_columns: IdColumns) -> CatalogFile:
    """Read a catalogue file or HATS folder.

    Parameters
    ----------
    path : Location
        File whose ending tells the format, or folder of a HATS catalogue. Parquet and HATS are
        read from a URL, other files are copied first.
    id_columns : callable
        Function that returns, from all column names, those of ids, which CSV files hold as text.

    Raises
    ------
    CatalogError
        If there is no such file, its format is unknown, or it cannot be read.
    StorageError
        If the store it is in fails.
    """
    name = re.sub(r"\.(gz|bz2|fz)$", "", path.name.lower())
    suffix = name.rsplit(".", 1)[-1] if "." in name else ""
    is_file = exists(path)
    if not is_file and not is_folder(path):
        raise CatalogError(f"{path}: no such file")
    form, reader = _READERS.get(suffix, ("", None)) if is_file else ("HATS", _read_hats)
    if reader is None:
        raise CatalogError(
            f"{path}: is a file of unknown format {suffix!r}; catalogues are read from FITS, "
            "VOTable, ECSV, CSV or Parquet, by the endings "
            f"{', '.join(f'.{known}' for known in _READERS)}, and from HATS folders"
        )
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table, header = reader(path, id_columns)
    except (CatalogError, StorageError):
        raise
    except Exception as error:  # each parser has its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CatalogError(f"{path}: cannot be read as {form} ({reason})") from error
    messages = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return CatalogFile(table, form, header, list(messages)[:_WARNINGS_KEPT])


def field_note(field: pa.Field, key: str) -> str | None:
    """Return the ``unit``, ``frame`` or ``epoch`` a file gives a column, if any."""
    note = (field.metadata or {}).get(key.encode())
    return note.decode() if note else None


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds numbers, or only nulls."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


_Loaded = tuple[pa.Table, dict[str, Any]]


def _read_fits(path: Location, id_columns: IdColumns) -> _Loaded:
    table = Table.read(
        local_copy(path), format="fits", mask_invalid=False, unit_parse_strict="silent"
    )
    return _to_arrow(table), _cards(table.meta)


def _read_ecsv(path: Location, id_columns: IdColumns) -> _Loaded:
    table = Table.read(local_copy(path), format="ascii.ecsv")
    notes: dict[str, dict[str, str]] = {}
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            frame = table[name].frame
            equinox = f" {frame.equinox.value}" if hasattr(frame, "equinox") else ""
            note = {"frame": f"{frame.name.replace('barycentricmean', '')}{equinox}"}
            notes |= {f"{name}.{part}": note for part in frame.representation_component_names}
    return _to_arrow(table, notes), _cards(table.meta)


def _read_votable(path: Location, id_columns: IdColumns) -> _Loaded:
    tree = votable.parse(local_copy(path))
    first = tree.get_table_by_index(0)
    systems = [
        system
        for holder in (tree, *_resources(tree.resources))
        for system in holder.coordinate_systems
    ]
    notes = {}
    for field in first.fields:
        named = [one for one in systems if field.ref == one.ID]
        system = (named or [None])[0]
        if field.ref is None:
            system = systems[0] if len(systems) == 1 else None
        if system is not None:
            equinox = f" {system.equinox}" if system.equinox else ""
            frame = {"frame": f"{system.system}{equinox}"} if system.system else {}
            notes[field.name] = frame | ({"epoch": str(system.epoch)} if system.epoch else {})
    return _to_arrow(first.to_table(use_names_over_ids=True), notes), {}


def _resources(resources: Sequence[Any]) -> list[Any]:
    """Return VOTable resources and all within them."""
    return [one for r in resources for one in (r, *_resources(r.resources))]


def _read_csv(path: Location, id_columns: IdColumns) -> _Loaded:
    """Read a CSV file below its ``#`` lines, with the ids as text."""
    file = local_copy(path)
    with pa.input_stream(file) as stream:
        head = stream.read(1 << 16).splitlines()
    skip = next((k for k, line in enumerate(head) if not line.startswith(b"#")), len(head))
    options = pa.csv.ReadOptions(skip_rows=skip)
    with pa.csv.open_csv(file, read_options=options) as reader:
        inferred = reader.schema
    ids = id_columns(inferred.names)
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(ids, pa.string()))
    table = pa.csv.read_csv(file, read_options=options, convert_options=convert)
    for name in ids:
        decimal = pc.any(pc.match_substring_regex(table[name], "[.eE]")).as_py()
        if decimal and pa.types.is_floating(inferred.field(name).type):
            raise CatalogError(
                f"{path}: ids in {name} are stored as decimals, which loses digits of long ids; "
                "write them as integers or text, or use another column by object_id=NAME"
            )
    return table, {}


def _read_parquet(path: Location, id_columns: IdColumns) -> _Loaded:
    with store_errors(path), pq.ParquetFile(parquet_source(path), pre_buffer=True) as file:
        return file.read(_light_columns(file.schema_arrow)), {}


def _read_hats(path: Location, id_columns: IdColumns) -> _Loaded:
    """Read the partitions of a HATS catalogue, or of the main one of a collection."""
    catalogue = main_catalogue(path)
    properties, files = read_properties(catalogue), list_hats_files(catalogue)
    if not properties or not files:
        raise CatalogError(
            f"{catalogue}: is a folder but no HATS catalogue: it should hold hats.properties and "
            "dataset/Norder=*/Dir=*/Npix=*.parquet; name one file, or the catalogue's own folder"
        )
    names = [file.path if isinstance(file, UPath) else str(file) for file in files]
    store = None if isinstance(catalogue, Path) else catalogue.fs
    with store_errors(catalogue):
        dataset = pyarrow.dataset.dataset(names, format="parquet", filesystem=store)
        return dataset.to_table(_light_columns(dataset.schema)), properties


def _light_columns(schema: pa.Schema) -> list[str]:
    """Return all columns but ``image`` if it holds pixels (bytes or nested)."""
    return [
        field.name
        for field in schema
        if field.name != "image" or is_text(field.type) or is_number(field.type)
    ]


_READERS: dict[str, tuple[str, Callable[[Location, IdColumns], _Loaded] | None]] = {
    "fits": ("FITS", _read_fits),
    "fit": ("FITS", _read_fits),
    "vot": ("VOTable", _read_votable),
    "votable": ("VOTable", _read_votable),
    "xml": ("VOTable", _read_votable),
    "ecsv": ("ECSV", _read_ecsv),
    "csv": ("CSV", _read_csv),
    "parquet": ("Parquet", _read_parquet),
}


def _cards(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: meta[name] for name in HEADER_CARDS if meta.get(name)}


def _to_arrow(table: Table, notes: Mapping[str, Mapping[str, str]] | None = None) -> pa.Table:
    """Turn an astropy table into an Arrow table; units and notes go to the field metadata."""
    arrays, fields = [], []
    for column in represent_mixins_as_columns(table).itercols():
        values = np.ma.getdata(column).view(np.ndarray)
        array = _to_array(values, np.ma.getmaskarray(column))
        metadata = dict((notes or {}).get(column.name, {}))
        if column.unit is not None:
            metadata["unit"] = str(column.unit)
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, metadata=metadata or None))
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

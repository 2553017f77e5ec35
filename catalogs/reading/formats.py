"""Catalogue files of many kinds as Arrow tables, with what their headers say."""

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
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import (
    Location,
    exists,
    is_folder,
    parquet_source,
    read_text,
    store_errors,
)

__all__ = ["CatalogFile", "field_note", "is_number", "is_text", "load_file"]

HEADER_CARDS = ("SURVEY", "VERSION", "RADESYS", "RADECSYS", "EQUINOX")
"""What is kept of the header of a FITS or ECSV table."""

_WARNINGS_KEPT = 3
_HATS_PROPERTIES = ("hats.properties", "properties")
_HATS_PARTITIONS = "dataset/Norder=*/Dir=*/Npix=*"

IdColumns = Callable[[Sequence[str]], Sequence[str]]


class CatalogFile(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    table : pa.Table
        Its columns; the field metadata hold ``unit``, ``frame`` and ``epoch`` where it says so.
    form : str
        Its format.
    header : dict
        Cards of its header, `HEADER_CARDS`; of a HATS catalogue its properties.
    warnings : list of str
        The reader's first.
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
        Its ending tells the format; a folder is a HATS catalogue. Of Parquet and HATS at a URL only
        what is wanted is fetched, other files are copied first.
    id_columns : callable
        Picks, from the column names, those to read as they are written (CSV).

    Raises
    ------
    CatalogError
        If there is none, its format is unknown, or it cannot be read.
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
    except Exception as error:  # every parser has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CatalogError(f"{path}: cannot be read as {form} ({reason})") from error
    said = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return CatalogFile(table, form, header, list(said)[:_WARNINGS_KEPT])


def field_note(field: pa.Field, key: str) -> str | None:
    """Return the ``unit``, ``frame`` or ``epoch`` a file gives a column, if any."""
    note = (field.metadata or {}).get(key.encode())
    return note.decode() if note else None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers, or nothing at all."""
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
            said = {"frame": f"{frame.name.replace('barycentricmean', '')}{equinox}"}
            notes |= {f"{name}.{part}": said for part in frame.representation_component_names}
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
            said = {"frame": f"{system.system}{equinox}"} if system.system else {}
            notes[field.name] = said | ({"epoch": str(system.epoch)} if system.epoch else {})
    return _to_arrow(first.to_table(use_names_over_ids=True), notes), {}


def _resources(resources: Sequence[Any]) -> list[Any]:
    """Return VOTable resources and all within them."""
    return [one for r in resources for one in (r, *_resources(r.resources))]


def _read_csv(path: Location, id_columns: IdColumns) -> _Loaded:
    """Read a CSV file below its ``#`` lines, with the ids as they are written."""
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
    collection = path / "collection.properties"
    if exists(collection):
        path = path / _properties(collection)["hats_primary_table_url"]
    found = [path / name for name in _HATS_PROPERTIES if exists(path / name)]
    with store_errors(path, "listed"):
        parts = [*path.glob(f"{_HATS_PARTITIONS}.parquet")]
        parts += path.glob(f"{_HATS_PARTITIONS}/*.parquet")
    files = sorted(part.path if isinstance(part, UPath) else str(part) for part in parts)
    if not found or not files:
        raise CatalogError(
            f"{path}: is a folder but no HATS catalogue: it should hold hats.properties and "
            f"{_HATS_PARTITIONS}.parquet; name one file, or the catalogue's own folder"
        )
    store = None if isinstance(path, Path) else path.fs
    with store_errors(path):
        dataset = pyarrow.dataset.dataset(files, format="parquet", filesystem=store)
        return dataset.to_table(_light_columns(dataset.schema)), _properties(found[0])


def _properties(path: Location) -> dict[str, str]:
    """Read a file of ``key=value`` lines."""
    lines = [line.partition("=") for line in read_text(path).splitlines()]
    return {
        key.strip(): value.strip() for key, _, value in lines if value and not key.startswith("#")
    }


def _light_columns(schema: pa.Schema) -> list[str]:
    """Return all columns but one of pixels: bytes, or nested, and called ``image``."""
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

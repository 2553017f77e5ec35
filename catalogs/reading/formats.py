"""Load catalogue files of many formats as Arrow tables, with cards of their headers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from upath import UPath

from catalogs.reading.astropy_files import read_ecsv, read_fits, read_votable
from catalogs.reading.loaded import Loaded, Wanted, is_number, is_text, refuse_repeated
from catalogs.reading.text_files import read_csv
from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.hats.folders import (
    check_row_count,
    list_hats_files,
    main_catalogue,
    read_properties,
)
from galaxy_da.io.storage import Location, exists, is_folder, parquet_source, store_errors

_WARNINGS_KEPT = 3
_WITH_TABLES = ("FITS", "VOTable")


def load_file(path: Location, wanted: Wanted) -> Loaded:
    """Read a catalogue file, whose ending tells the format, or a HATS folder.

    Parquet and HATS are read from a URL, other files are copied first.
    """
    name = re.sub(r"\.(gz|bz2|fz)$", "", path.name.lower())
    suffix = name.rsplit(".", 1)[-1] if "." in name else ""
    is_file = exists(path)
    if not is_file and not is_folder(path):
        raise CatalogError(f"{path}: no such file")
    if is_file and suffix == "cat":  # SExtractor writes either
        with store_errors(path), path.open("rb") as stream:
            suffix = "fits" if stream.read(6) == b"SIMPLE" else "csv"
    form, reader = _READERS.get(suffix, ("", None)) if is_file else ("HATS", _read_hats)
    if reader is None:
        raise CatalogError(
            f"{path}: is a file of unknown format {suffix!r}; catalogues are read from FITS, "
            "VOTable, ECSV, CSV or Parquet, by the endings "
            f"{', '.join(f'.{known}' for known in _READERS)}, .cat, and from HATS folders"
        )
    if wanted.table is not None and form not in _WITH_TABLES:
        raise CatalogError(
            f"{path}: is {form}, which holds one table; leave out table={wanted.table} (--table)"
        )
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = reader(path, wanted)
    except (CatalogError, StorageError):
        raise
    except Exception as error:  # each parser has its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CatalogError(f"{path}: cannot be read as {form} ({reason})") from error
    refuse_repeated(loaded.table.column_names, str(path))
    messages = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    notes = [*loaded.notes, *list(messages)[:_WARNINGS_KEPT]]
    return replace(loaded, form=form, notes=notes)


def _read_parquet(path: Location, wanted: Wanted) -> Loaded:
    with store_errors(path), pq.ParquetFile(parquet_source(path), pre_buffer=True) as file:
        return Loaded(table=file.read(_light_columns(file.schema_arrow)))


def _read_hats(path: Location, wanted: Wanted) -> Loaded:
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
        table = dataset.to_table(_light_columns(dataset.schema))
    check_row_count(len(table), properties, catalogue)
    return Loaded(table=table, header=properties)


def _light_columns(schema: pa.Schema) -> list[str]:
    """Return all columns but ``image`` if it holds pixels (bytes or nested)."""
    return [
        field.name
        for field in schema
        if field.name != "image" or is_text(field.type) or is_number(field.type)
    ]


_READERS: dict[str, tuple[str, Callable[[Location, Wanted], Loaded] | None]] = {
    **dict.fromkeys(("fits", "fit", "fts"), ("FITS", read_fits)),
    **dict.fromkeys(("vot", "votable", "xml"), ("VOTable", read_votable)),
    "ecsv": ("ECSV", read_ecsv),
    **dict.fromkeys(("csv", "tsv", "txt", "dat", "asc"), ("CSV", read_csv)),
    "parquet": ("Parquet", _read_parquet),
}

"""Write feature tables as FITS, VOTable, Parquet or HATS catalogues, or as DS9 regions.

Types follow `galaxy_da.io.column_types`. Every column has its description, unit and UCD:

=========  =====================================================================================
FITS       ``TUNITn``, and ``TUCDn`` and ``TCOMMn`` as TOPCAT writes them; long text is CONTINUEd
VOTable    its own elements and attributes, version 1.4 and up, binary
Parquet    metadata of each Arrow field, and a VOTable header (IVOA Note VOParquet 1.0)
HATS       the same, in ``dataset/_common_metadata``
=========  =====================================================================================

The provenance of a table (`galaxy_da.io.provenance`) becomes HISTORY cards in FITS, INFO elements
in VOTables, metadata in Parquet, and properties in HATS.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.io.votable.converters import get_converter
from astropy.io.votable.exceptions import W50
from astropy.io.votable.tree import Info, VOTableFile
from astropy.table import Column, MaskedColumn, Table

from galaxy_da.errors import TableError
from galaxy_da.io.column_types import numpy_values
from galaxy_da.io.described_tables import add_descriptions, field_notes, to_astropy
from galaxy_da.io.files import atomic_path
from galaxy_da.io.hats.catalogues import write_hats
from galaxy_da.io.provenance import read_provenance
from galaxy_da.io.regions import to_ds9_regions
from galaxy_da.io.storage import Location, PathOrUrl, location
from galaxy_da.io.tables import write_table


def to_votable(table: pa.Table) -> VOTableFile:
    """Convert an Arrow table to a VOTable; text has variable length."""
    columns = to_astropy(table)
    for name in columns.colnames:
        columns[name].unit = None  # written as text below: astropy refuses units of its own
        if columns[name].dtype == np.uint64:
            columns[name] = _variable_length(columns[name].astype(str))
        elif columns[name].dtype.kind == "U":
            columns[name] = _variable_length(columns[name])
    tree = from_table(columns)
    for number, (name, words) in enumerate(read_provenance(table.schema).items()):
        tree.resources[0].infos.append(Info(ID=f"provenance_{number}", name=name, value=words))
    for field, source in zip(
        tree.get_first_table().fields, add_descriptions(table).schema, strict=True
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", W50)  # of units outside the VOUnit standard
            field.unit = field_notes(source).get("unit") or None
        if field.datatype == "bit":  # which has no missing values
            field.datatype = "boolean"
            field.converter = get_converter(field)
    return tree


def write_catalogue(table: pa.Table, path: PathOrUrl) -> str:
    """Write a feature table in the format that the name ends in; return the name of the format.

    A name without ending becomes a HATS folder. Raises TableError for another ending, CatalogError
    for HATS without LSDB, and StorageError if a HATS folder is there already.
    """
    target = location(path)
    writers = {
        ".fits": ("FITS", _write_fits),
        ".vot": ("VOTable", _write_votable),
        ".xml": ("VOTable", _write_votable),
        ".parquet": ("Parquet", _write_parquet),
        ".reg": ("DS9 regions", _write_regions),
        "": ("HATS", _write_hats),
    }
    if target.suffix.lower() not in writers:
        raise TableError(
            f"{target}: no catalogue format ends in {target.suffix!r}; expected .fits, .vot, .xml, "
            ".parquet, .reg, or no ending for a HATS folder"
        )
    name, write = writers[target.suffix.lower()]
    write(table, target)
    return name


def _write_fits(table: pa.Table, path: Location) -> None:
    """Write a table as FITS; missing logicals are zero bytes, as the standard says."""
    table = add_descriptions(table)
    _refuse_names(table.column_names, path)
    columns = Table()
    missing = {}
    for field in table.schema:
        values = numpy_values(table[field.name])
        mask = np.ma.getmask(values)
        if values.dtype.kind == "U":
            text = np.strings.encode(np.ma.filled(values, ""), "utf-8")
            values = text.astype("S1") if text.dtype.itemsize == 0 else text
        columns[field.name] = values
        if mask is not np.ma.nomask and values.dtype in (np.uint64, np.bool_):
            columns[field.name].info.serialize_method["fits"] = "data_mask"
            if values.dtype == bool:
                missing[field.name] = mask
    plain = io.BytesIO()
    columns.write(plain, format="fits")
    plain.seek(0)
    with fits.open(plain, logical_as_bytes=True) as hdus, atomic_path(path) as temporary:
        hdu = hdus[1]
        hdu.name = "FEATURES"
        for name, mask in missing.items():
            hdu.data[name][mask] = b"\0"
        for number, name in enumerate(hdu.columns.names, 1):
            notes = field_notes(table.schema.field(name)) if name in table.column_names else {}
            for card, key in (("TUNIT", "unit"), ("TUCD", "ucd"), ("TCOMM", "description")):
                if notes.get(key):
                    hdu.header[f"{card}{number}"] = _plain(notes[key])
        for name, words in read_provenance(table.schema).items():
            hdu.header.add_history(_plain(f"{name}: {words}"))
        hdus.writeto(temporary)


def _refuse_names(names: Sequence[str], path: Location) -> None:
    """Refuse names that a FITS header cannot hold."""
    bad = [name for name in names if not (name.isascii() and name.isprintable())]
    if bad:
        raise TableError(
            f"{path}: FITS holds ASCII names of columns only, not {', '.join(map(repr, bad))}; "
            "rename them, or write a VOTable or Parquet"
        )


def _write_votable(table: pa.Table, path: Location) -> None:
    with atomic_path(path) as temporary:
        writeto(to_votable(table), str(temporary), tabledata_format="binary2")


def _write_regions(table: pa.Table, path: Location) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(to_ds9_regions(table), encoding="utf-8")


def _write_parquet(table: pa.Table, path: Location) -> None:
    write_table(with_votable_header(table), path)


def _write_hats(table: pa.Table, path: Location) -> None:
    write_hats(table, path, with_votable_header(table).schema)


def with_votable_header(table: pa.Table) -> pa.Table:
    """Return the described table with a VOTable header in its metadata (VOParquet 1.0)."""
    table = add_descriptions(table)
    text = io.BytesIO()
    writeto(to_votable(table.slice(0, 0)), text)
    keys = {
        b"IVOA.VOTable-Parquet.version": b"1.0",
        b"IVOA.VOTable-Parquet.content": text.getvalue(),
    }
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **keys})


def _variable_length(column: Column) -> Column:
    """Give a text column variable length, so that its type is the same in every table."""
    texts = np.ma.filled(column, "").astype(object)
    coding = "char" if all(map(str.isascii, texts)) else "unicodeChar"
    return MaskedColumn(
        texts,
        mask=np.ma.getmaskarray(column),
        description=column.description,
        unit=column.unit,
        meta={**column.meta, "_votable_string_dtype": coding},  # read by astropy
    )


def _plain(text: str) -> str:
    """Return text in the ASCII that FITS headers hold."""
    return text.encode("ascii", "replace").decode()

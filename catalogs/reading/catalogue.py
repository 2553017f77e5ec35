"""Read catalogues of many file formats as one kind of table.

The table starts with ``object_id`` (string), ``ra`` and ``dec`` (float64, ICRS deg) and keeps every
column of the file after them. Its metadata hold, under ``catalog``, the columns, unit, frame and
epoch that these came from, and notes for the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from astropy.io import fits

from catalogs.reading.columns import (
    POSITION_ERROR,
    ROW_NUMBER,
    find_ids,
    find_positions,
    make_ids,
    prepend,
)
from catalogs.reading.formats import load_file
from catalogs.reading.loaded import Loaded, Wanted, is_text
from catalogs.reading.options import CatalogOptions
from catalogs.reading.positions import read_position_errors, read_positions
from galaxy_da.errors import CatalogError
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, resolve
from galaxy_da.io.tables import check_unique, read_metadata, with_metadata

_CUTOUTS_READ = 5  # number of cutouts whose headers are read


def words_of(record: Mapping[str, Any]) -> str:
    """Return words for the columns, units and frame that a catalogue was read by.

    `record` is ``catalog`` of the metadata of `read_catalog`.
    """
    columns = ", ".join(f"{made} from {found}" for made, found in record["columns"].items())
    units = ", ".join(sorted(set(record["units"].values())))
    return f"{columns} [{units}]; frame {record['frame']}"


def read_catalog(path: PathOrUrl, options: CatalogOptions | None = None, **fields: Any) -> pa.Table:
    """Read a catalogue.

    Parameters
    ----------
    path : path or URL
        FITS (``.fits``, ``.fit``), VOTable (``.vot``, ``.votable``, ``.xml``), ECSV or CSV, these
        also with ``.gz``, Parquet, or a HATS folder, read whole. A table in a file of several is
        named by ``cat.fits#NAME``, or by the option `table`.
    options : CatalogOptions, optional
        Columns, unit, frame and epoch, in place of what the file says.
    **fields
        Fields of `CatalogOptions` in place of those of `options`, such as ``ra="RA_corr"``.

    Returns
    -------
    pa.Table
        ``object_id``, ``ra``, ``dec`` [ICRS deg], ``position_error_arcsec`` if there is a column of
        errors, then every column of the file; but the ``image`` column of a sample table is not
        loaded. Units and frames come from the file: column units (degrees if there are none) or
        sexagesimal text; ``RADESYS`` and ``EQUINOX``, VOTable's ``COOSYS``, or the frame of a
        `SkyCoord` column; else ICRS. A column of the file whose name is taken by a converted one is
        kept as ``NAME_input``. Units are in the field metadata.

    Raises
    ------
    ValueError
        If there is no such frame or unit, or an epoch is out of range.
    CatalogError
        If there is no such file, it cannot be read, a column is missing or could be one of several,
        an id, unit or frame cannot be used, or no row has a usable position. Rows without one are
        kept with NaN, and counted in the notes.
    TableError
        If an id is repeated within its survey.
    StorageError
        If the store it is in fails.
    """
    options = replace(options or CatalogOptions(), **fields)
    path, table_name = _split_table(location(path), options.table)
    where = str(path)
    wanted = Wanted(
        id_columns=lambda names: find_ids(names, options.object_id, where),
        has_positions=lambda names: _has_positions(names, options),
        table=table_name,
    )
    file = load_file(path, wanted)
    raw, notes = file.table, list(file.notes)
    ids = find_ids(raw.column_names, options.object_id, where)
    positions = read_positions(file, options, where, notes)
    columns, units = positions.columns, positions.units
    made = {
        "object_id": make_ids(raw, ids, where),
        "ra": pa.chunked_array([positions.ra], pa.float64()),
        "dec": pa.chunked_array([positions.dec], pa.float64()),
    }
    sources = {"object_id": ids, "ra": [columns.lon], "dec": [columns.lat]}
    if options.position_error is not None:
        sources[POSITION_ERROR] = options.position_error.split("+")
        unit = options.position_error_unit
        errors = read_position_errors(raw, sources[POSITION_ERROR], unit, where, notes)
        made[POSITION_ERROR] = pa.chunked_array([errors], pa.float64())
    table = prepend(made, raw, sources, notes)
    keys = ("survey", "object_id") if "survey" in table.column_names else ("object_id",)
    check_unique(table, keys, where)
    catalog = {
        "file": path.name,
        "format": file.form,
        "columns": {name: "_".join(parts) or ROW_NUMBER for name, parts in sources.items()},
        "units": {"ra": units[columns.lon] or "deg", "dec": units[columns.lat] or "deg"},
        "frame": positions.frame,
        "epoch": options.epoch,
        "surveys": _surveys(file, path),
        "notes": notes,
    }
    return with_metadata(table, {**read_metadata(raw.schema), "catalog": catalog})


def _split_table(path: Location, table: str | None) -> tuple[Location, str | None]:
    """Split ``cat.fits#NAME`` into the file and the name of its table."""
    name, hash_mark, part = path.name.rpartition("#")
    if table is not None or not hash_mark or exists(path):
        return path, table
    return path.with_name(name), part


def _has_positions(names: Sequence[str], options: CatalogOptions) -> bool:
    try:
        find_positions(names, options.ra, options.dec, "")
    except CatalogError:
        return False
    return True


def _surveys(file: Loaded, path: Location) -> list[str]:
    """Return the surveys, with version, named by the headers of the file and its cutouts."""
    headers: list[Any] = [file.header]
    if "cutout" in file.table.column_names and is_text(file.table["cutout"].type):
        for uri in file.table["cutout"][:_CUTOUTS_READ].to_pylist():
            image = resolve(path.parent, str(uri))
            if image.name.lower().endswith((".fits", ".fits.gz", ".fits.fz")) and exists(image):
                try:
                    headers.append(fits.getheader(local_copy(image)))
                except OSError:  # a broken cutout is reported when its pixels are read
                    continue
    labels = {
        " ".join(str(header[card]).strip() for card in ("SURVEY", "VERSION") if header.get(card))
        for header in headers
        if header.get("SURVEY")
    }
    return sorted(labels)

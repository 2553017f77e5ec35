"""Folders of HATS catalogues, recognised and listed without LSDB."""

from __future__ import annotations

from collections.abc import Mapping

from galaxy_da.errors import CatalogError
from galaxy_da.io.storage import Location, exists, list_files, read_text

_PROPERTIES = ("hats.properties", "properties")
_COLLECTION = "collection.properties"


def is_hats(folder: Location) -> bool:
    """Return whether a folder is a HATS catalogue or collection."""
    return any(exists(folder / name) for name in (*_PROPERTIES, _COLLECTION))


def main_catalogue(folder: Location) -> Location:
    """Return the main catalogue of a collection, or the folder itself if it is no collection."""
    collection = folder / _COLLECTION
    if not exists(collection):
        return folder
    name = _read(collection).get("hats_primary_table_url")
    if not name:
        raise CatalogError(f"{collection}: does not name its table (hats_primary_table_url)")
    return folder / name


def read_properties(catalogue: Location) -> dict[str, str]:
    """Return the properties of a catalogue, none if it has no file of them."""
    found = [catalogue / name for name in _PROPERTIES if exists(catalogue / name)]
    return _read(found[0]) if found else {}


def check_row_count(n_rows: int, properties: Mapping[str, str], catalogue: Location) -> None:
    """Raise CatalogError unless a catalogue's partitions hold the number of rows it states."""
    stated = properties.get("hats_nrows", "").replace(",", "").strip()
    if stated.isdigit() and int(stated) != n_rows:
        raise CatalogError(
            f"{catalogue}: its properties state {int(stated):,} rows (hats_nrows) but its "
            f"partitions hold {n_rows:,}; some are missing, or from another version: get the "
            "catalogue again"
        )


def list_hats_files(catalogue: Location) -> list[Location]:
    """Return the Parquet files of a catalogue's partitions, in order of their names."""
    return [
        file
        for file in list_parquet_files(catalogue)
        if file.name.startswith("Npix=") or file.parent.name.startswith("Npix=")
    ]


def list_parquet_files(folder: Location) -> list[Location]:
    """Return all Parquet files in a folder and its folders but hidden ones and metadata."""
    return [
        file
        for file in list_files(folder)
        if file.suffix == ".parquet" and not file.name.startswith(("_", "."))
    ]


def _read(path: Location) -> dict[str, str]:
    """Read a file of ``key=value`` lines."""
    lines = [line.partition("=") for line in read_text(path).splitlines()]
    return {
        key.strip(): value.strip() for key, _, value in lines if value and not key.startswith("#")
    }

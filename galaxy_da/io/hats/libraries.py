"""The libraries of the extra ``hats``: LSDB, HATS and hats-import."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from galaxy_da.errors import CatalogError
from galaxy_da.io.storage import Location, location, store_errors


@contextmanager
def using_lsdb() -> Iterator[None]:
    """Suppress warnings raised inside LSDB and HATS in a block that imports and calls them.

    An import that fails in the block raises CatalogError, which names the extra.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Computing partitions from catalog parquet files")
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(lsdb|nested_pandas|hats|hats_import)\b"
        )
        try:
            yield
        except ImportError as error:
            raise CatalogError(
                "needs lsdb; install it with `pip install 'galaxy_da[hats]'`"
            ) from error


def read_structure(path: Location | str) -> Any:
    """Return the structure of a HATS catalogue or collection; call inside `using_lsdb`.

    Raises CatalogError if there is no catalogue of objects, StorageError if the store fails.
    """
    import hats

    try:
        with store_errors(location(path)):
            opened = hats.read_hats(path)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CatalogError(f"{path}: is no HATS catalogue ({reason})") from error
    if not isinstance(opened, hats.catalog.Catalog | hats.catalog.CatalogCollection):
        raise CatalogError(f"{path}: is a HATS {type(opened).__name__}, not a catalogue of objects")
    return opened


def main_path(opened: Any) -> Any:
    """Return the path of a catalogue, or of a collection's main one."""
    return getattr(opened, "main_catalog_dir", None) or opened.catalog_path

"""HATS catalogues: a sky in HEALPix partitions, each with a margin of its neighbours' rows.

A margin is what lets a partition be matched alone: every row within so many arcsec of the partition
that lies outside it. LSDB writes and opens them, hats-import adds a margin to a catalogue that has
none. Format: IVOA Note "HATS", https://www.ivoa.net/documents/Notes/HATS/.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.quiet import quiet_lsdb
from galaxy_da.io.storage import Location, PathOrUrl, location
from galaxy_da.io.tables import check_positions

if TYPE_CHECKING:
    from lsdb import Catalog

__all__ = ["add_margin", "open_hats", "to_hats"]

MARGIN_ARCSEC = 10.0
"""Width of the margin written by default [arcsec]: enough for a mutual match within 2.5 arcsec."""

_PARTITION_ROWS = 1_000_000
_HIGHEST_ORDER = 10


def to_hats(
    table: pa.Table,
    out: str | os.PathLike[str],
    *,
    margin_arcsec: float = MARGIN_ARCSEC,
    partition_rows: int = _PARTITION_ROWS,
) -> Path:
    """Write a table that fits in memory as a HATS collection: the catalogue and its margin.

    For more than some 10⁷ rows use ``hats-import``, which streams files.

    Parameters
    ----------
    table : pa.Table
        With ``ra``, ``dec`` [ICRS deg], as `catalogs.reading.read_catalog` returns.
    out : path
        Folder to write; must not exist.
    margin_arcsec : float
        Width of the margin [arcsec].
    partition_rows : int
        Largest number of rows of a partition, where pixels of HEALPix order 10, and wider than the
        margin, hold no more.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ValueError
        If the margin or the number of rows is not positive.
    CatalogError
        If the table is empty or a position is bad.
    StorageError
        If `out` exists or cannot be written.
    """
    out = Path(out)
    if not margin_arcsec > 0 or partition_rows < 1:
        raise ValueError(
            f"margin_arcsec and partition_rows must be positive but are {margin_arcsec} and "
            f"{partition_rows}"
        )
    if not len(table):
        raise CatalogError(f"{out}: the table has no rows; a HATS catalogue needs some")
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    check_positions(ra, dec, str(out))
    if out.exists():
        raise StorageError(f"{out}: exists already; remove it or choose another folder")
    with quiet_lsdb():
        import dask
        import lsdb
        from hats.pixel_math import compute_spatial_index
        from hats.pixel_math.healpix_shim import margin2order

        order = min(_HIGHEST_ORDER, int(margin2order(margin_arcsec / 60)) - 1)
        pixels = compute_spatial_index(ra, dec) >> (2 * (29 - order))
        crowd = int(np.unique(pixels, return_counts=True)[1].max())
        catalog = lsdb.from_dataframe(
            table.replace_schema_metadata(None).to_pandas(types_mapper=pd.ArrowDtype),
            ra_column="ra",
            dec_column="dec",
            catalog_name=out.name,
            partition_rows=max(partition_rows, crowd),
            highest_order=order,
            margin_threshold=float(margin_arcsec),
        )
        with _atomic_folder(out) as folder, dask.config.set(scheduler="synchronous"):
            catalog.write_catalog(folder, catalog_name=out.name, progress_bar=False)
    return out


def add_margin(path: str | os.PathLike[str], margin_arcsec: float = MARGIN_ARCSEC) -> Path:
    """Write a margin beside a HATS catalogue that has none, or a narrower one.

    Parameters
    ----------
    path : path
        A local HATS catalogue or collection.
    margin_arcsec : float
        Width of the margin [arcsec].

    Returns
    -------
    Path
        The margin, where `open_hats` finds it: beside the catalogue, ``NAME_10arcs``.

    Raises
    ------
    CatalogError
        If there is no catalogue, or partitions of it are smaller than the margin.
    """
    with quiet_lsdb():
        from dask.distributed import Client
        from hats_import.margin_cache.margin_cache import generate_margin_cache
        from hats_import.margin_cache.margin_cache_arguments import MarginCacheArguments

        main = Path(str(_main_path(_read(Path(path)))))
        out = main.with_name(f"{main.name}_{margin_arcsec:g}arcs")
        if out.exists():
            raise StorageError(f"{out}: exists already; it is the margin, or an unfinished one")
        with (
            _atomic_folder(out) as folder,
            Client(processes=False, dashboard_address=":0") as client,
        ):
            try:
                arguments = MarginCacheArguments(
                    input_catalog_path=main,
                    output_path=folder.parent,
                    output_artifact_name=folder.name,
                    margin_threshold=float(margin_arcsec),
                    progress_bar=False,
                    simple_progress_bar=True,
                )
            except ValueError as error:
                raise CatalogError(
                    f"{path}: no margin of {margin_arcsec:g} arcsec can be made ({error})"
                ) from error
            generate_margin_cache(arguments, client)
    return out


def open_hats(
    path: PathOrUrl,
    margin_arcsec: float,
    columns: list[str] | None = None,
) -> Catalog:
    """Open a HATS catalogue with a margin that is wide enough.

    Parameters
    ----------
    path : path
        A HATS catalogue or collection, local or at a URL.
    margin_arcsec : float
        Width needed [arcsec]. Of the margins named by the collection, and of those beside the
        catalogue as ``NAME_*arcs``, the narrowest that has it is taken.
    columns : list of str, optional
        The columns to load; all by default.

    Returns
    -------
    lsdb.Catalog
        Nothing of it is read yet.

    Raises
    ------
    CatalogError
        If there is no catalogue, or no margin is wide enough; the message tells how to make one.
    """
    with quiet_lsdb():
        import lsdb

        place = _place(path)
        margins = [(_width(margin), margin) for margin in _margin_paths(_read(place))]
        wide = [(width, margin) for width, margin in margins if width >= margin_arcsec]
        if not wide:
            have = ", ".join(f"{width:g} arcsec" for width, _ in margins) or "none"
            raise CatalogError(
                f"{path}: needs a margin of {margin_arcsec:g} arcsec but has {have}; make one by "
                f'python -c "from catalogs.hats.catalogues import add_margin; '
                f"add_margin('{path}', {margin_arcsec:g})\", or ask for a smaller radius"
            )
        chosen = min(wide, key=lambda one: (one[0], str(one[1])))[1]
        return lsdb.open_catalog(place, columns=columns or "all", margin_cache=chosen)


def _place(path: PathOrUrl) -> Location | str:
    """Return where a catalogue is; LSDB would ask a store anonymously, but HTTP as it should."""
    return str(path) if str(path).startswith("http") else location(path)


def _read(path: Location | str) -> Any:
    """Return a HATS catalogue's structure, or that of a collection."""
    import hats

    try:
        found = hats.read_hats(path)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CatalogError(f"{path}: is no HATS catalogue ({reason})") from error
    if not isinstance(found, hats.catalog.Catalog | hats.catalog.CatalogCollection):
        raise CatalogError(f"{path}: is a HATS {type(found).__name__}, not a catalogue of objects")
    return found


def _main_path(hats: Any) -> Any:
    return getattr(hats, "main_catalog_dir", None) or hats.catalog_path


def _margin_paths(hats: Any) -> list[Any]:
    """Return where a catalogue's margins are."""
    main = _main_path(hats)
    named = [main.parent / name for name in getattr(hats, "all_margins", None) or []]
    beside = main.parent.glob(f"{main.name}_*arcs") if main.protocol in ("", "file") else []
    return list(dict.fromkeys([*named, *beside]))


def _width(margin: Any) -> float:
    """Return how wide a margin is [arcsec]."""
    import hats

    return float(hats.read_hats(margin).catalog_info.margin_threshold)


@contextmanager
def _atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target` that becomes it when the block ends without an error."""
    parent = ensure_folder(target.parent)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    try:
        yield scratch / target.name
        (scratch / target.name).replace(target)
    except OSError as error:
        raise StorageError(f"{target}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

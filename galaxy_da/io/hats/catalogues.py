"""HATS catalogues with margins: write, open and align them with LSDB.

A partition can be matched alone if it has a margin: all rows outside it within some arcsec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_da.errors import CatalogError
from galaxy_da.io.files import new_folder
from galaxy_da.io.hats.libraries import main_path, read_structure, using_lsdb
from galaxy_da.io.hats.partitions import DATASET
from galaxy_da.io.hats.pixels import Pixel, at_order, margin_order, sky_index
from galaxy_da.io.positions import usable_positions
from galaxy_da.io.provenance import read_provenance
from galaxy_da.io.storage import Location, PathOrUrl, location

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from lsdb import Catalog

_MARGIN_ARCSEC = 10.0  # enough for a mutual match within 2.5 arcsec
_PARTITION_ROWS = 1_000_000
_HIGHEST_ORDER = 10


def to_hats(
    table: pa.Table,
    out: PathOrUrl,
    *,
    margin_arcsec: float = _MARGIN_ARCSEC,
    partition_rows: int = _PARTITION_ROWS,
) -> Location:
    """Write a table that fits in memory as a new HATS collection: the catalogue and its margin.

    For more than some 10⁷ rows use ``hats-import``, which streams files. Rows without a usable
    position are left out: HATS orders rows by position. A partition holds at most `partition_rows`,
    but pixels of HEALPix order 10, and those hardly wider than the margin, are not split further.
    Raises CatalogError if no row is left or LSDB is not installed, StorageError if `out` exists.
    """
    target = location(out)
    if not margin_arcsec > 0 or partition_rows < 1:
        raise ValueError(
            f"margin_arcsec and partition_rows must be positive but are {margin_arcsec} and "
            f"{partition_rows}"
        )
    if not len(table):
        raise CatalogError(f"{target}: the table has no rows; a HATS catalogue needs some")
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    good = usable_positions(ra, dec, str(target))
    table, ra, dec = table.filter(pa.array(good)), ra[good], dec[good]
    with new_folder(target) as folder, using_lsdb():
        import dask

        order = min(_HIGHEST_ORDER, margin_order(margin_arcsec) - 1)
        _, crowds = np.unique(at_order(sky_index(ra, dec), order), return_counts=True)
        catalogue = _from_table(
            table,
            catalog_name=target.name,
            partition_rows=max(partition_rows, int(crowds.max())),
            highest_order=order,
            margin_threshold=float(margin_arcsec),
        )
        with dask.config.set(scheduler="synchronous"):
            catalogue.write_catalog(
                folder,
                catalog_name=target.name,
                progress_bar=False,
                create_per_partition_statistics=_has_statistics(table),
            )
    return target


def write_hats(table: pa.Table, out: Location, schema: pa.Schema) -> None:
    """Write a table that fits in memory as a HATS catalogue without a margin.

    The metadata of `schema` and its fields go to ``dataset/_common_metadata``. Rows are left out,
    and errors raised, as by `to_hats`.
    """
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    table = table.filter(pa.array(usable_positions(ra, dec, str(out))))
    with new_folder(out) as folder, using_lsdb():
        _from_table(table, margin_threshold=None).write_catalog(
            folder,
            catalog_name=out.name,
            as_collection=False,
            progress_bar=False,
            create_per_partition_statistics=_has_statistics(table),
            addl_hats_properties=_properties(schema),
        )
        _add_metadata(folder / DATASET / "_common_metadata", schema)


def add_margin(path: str | os.PathLike[str], margin_arcsec: float = _MARGIN_ARCSEC) -> Path:
    """Write a margin [arcsec] beside a local HATS catalogue that has none, or a narrower one.

    Its folder, which is returned and which `open_hats` finds, is named like ``NAME_10arcs``. Raises
    CatalogError if there is no catalogue, or partitions of it are smaller than the margin, and
    StorageError if the margin exists.
    """
    with using_lsdb():
        from dask.distributed import Client
        from hats_import.margin_cache.margin_cache import generate_margin_cache
        from hats_import.margin_cache.margin_cache_arguments import MarginCacheArguments

        main = Path(str(main_path(read_structure(Path(path)))))
        out = main.with_name(f"{main.name}_{margin_arcsec:g}arcs")
        try:
            with (
                new_folder(out) as draft,
                Client(processes=False, dashboard_address=":0") as client,
            ):
                arguments = MarginCacheArguments(
                    input_catalog_path=main,
                    output_path=draft.parent,
                    output_artifact_name=out.name,
                    margin_threshold=float(margin_arcsec),
                    progress_bar=False,
                    simple_progress_bar=True,
                )
                generate_margin_cache(arguments, client)
        except ValueError as error:
            raise CatalogError(
                f"{path}: no margin of {margin_arcsec:g} arcsec can be made ({error})"
            ) from error
    return out


def open_hats(path: PathOrUrl, margin_arcsec: float, columns: list[str] | None = None) -> Catalog:
    """Open a HATS catalogue or collection with a margin that is wide enough; no row is read yet.

    The narrowest such margin is opened, among those that the collection names and those beside the
    catalogue as ``NAME_*arcs``. Raises CatalogError if there is no catalogue, or no margin is wide
    enough; the message tells how to make one.
    """
    with using_lsdb():
        import lsdb

        # LSDB would ask a store anonymously, but opens HTTP as it should
        place = str(path) if str(path).startswith("http") else location(path)
        margins = [(_width(margin), margin) for margin in _margin_paths(read_structure(place))]
        wide = [(width, margin) for width, margin in margins if width >= margin_arcsec]
        if not wide:
            widths = ", ".join(f"{width:g} arcsec" for width, _ in margins) or "none"
            raise CatalogError(
                f"{path}: needs a margin of {margin_arcsec:g} arcsec but has {widths}; make one by "
                f'python -c "from galaxy_da.io.hats.catalogues import add_margin; '
                f"add_margin('{path}', {margin_arcsec:g})\", or choose a smaller radius"
            )
        _, narrowest = min(wide, key=lambda one: (one[0], str(one[1])))
        return lsdb.open_catalog(place, columns=columns or "all", margin_cache=narrowest)


def align_pixels(anchor: Catalog, target: Catalog) -> Iterator[tuple[Pixel, Pixel, Pixel]]:
    """Yield the pixels where targets, or their margin, meet anchors.

    Each is a partition of the anchors, one of the targets, and the finer of both.
    """
    with using_lsdb():
        from hats.pixel_tree import PixelAlignmentType, align_trees

        near, far, margin = (
            part.hc_structure.pixel_tree for part in (anchor, target, target.margin)
        )
        covered = align_trees(far, margin, alignment_type=PixelAlignmentType.OUTER).pixel_tree
        aligned = align_trees(near, covered, alignment_type=PixelAlignmentType.INNER)
    columns = [
        f"{side}_{part}" for side in ("primary", "join", "aligned") for part in ("Norder", "Npix")
    ]
    for row in aligned.pixel_mapping[columns].astype(np.int64).itertuples(index=False):
        yield Pixel(*row[:2]), Pixel(*row[2:4]), Pixel(*row[4:])


def delayed_partitions(catalogue: Any) -> dict[Pixel, Delayed]:
    """Return the partitions of a catalogue or margin, each with its own task only."""
    from dask.delayed import Delayed

    return {
        Pixel(pixel.order, pixel.pixel): Delayed(part.key, {part.key: part.dask[part.key]})
        for pixel, part in zip(
            catalogue.get_ordered_healpix_pixels(), catalogue.to_delayed(), strict=True
        )
    }


def _from_table(table: pa.Table, **options: Any) -> Catalog:
    import lsdb

    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):  # pandas has none
            table = table.set_column(place, field.name, table[field.name].cast(pa.string()))
    frame = table.replace_schema_metadata(None).to_pandas(types_mapper=pd.ArrowDtype)
    return lsdb.from_dataframe(frame, ra_column="ra", dec_column="dec", **options)


def _has_statistics(table: pa.Table) -> bool:
    """Return whether HATS can write statistics: it fails on integers from 2⁶³."""
    return not any(pa.types.is_uint64(kind) for kind in table.schema.types)


def _properties(schema: pa.Schema) -> dict[str, str]:
    """Return the provenance as properties."""
    words = read_provenance(schema)
    return {f"galaxy_da_{name}": text for name, text in words.items()}


def _add_metadata(path: Path, source: pa.Schema) -> None:
    """Add another schema's metadata to the fields of a schema file."""
    schema = pq.read_schema(path)
    fields = [
        field.with_metadata(source.field(field.name).metadata)
        if field.name in source.names
        else field
        for field in schema
    ]
    metadata = {**(schema.metadata or {}), **(source.metadata or {})}
    pq.write_metadata(pa.schema(fields, metadata), path)


def _margin_paths(opened: Any) -> list[Any]:
    """Return the margins that a collection names, and those beside a local catalogue."""
    main = main_path(opened)
    named = [main.parent / name for name in getattr(opened, "all_margins", None) or []]
    beside = main.parent.glob(f"{main.name}_*arcs") if main.protocol in ("", "file") else []
    return list(dict.fromkeys([*named, *beside]))


def _width(margin: Any) -> float:
    """Return the width of a margin [arcsec]."""
    import hats

    return float(hats.read_hats(margin).catalog_info.margin_threshold)

"""Extraction from coadded tiles, part by part on Dask workers.

A task encodes the rows of some tiles, which only it opens, and writes one part. The parts are those
of `galaxy_da.extraction.mosaic.extract_mosaic`, so either continues what the other began.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from tqdm import tqdm

from galaxy_da.cluster.scheduling import Shared, running, worker_location
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.mosaic import MosaicRows, TileEncoder
from galaxy_da.extraction.parts import start_or_resume
from galaxy_da.images.tiles import Mosaic
from galaxy_da.io.features import Features, part_path, write_header
from galaxy_da.io.files import output_folder
from galaxy_da.io.storage import Location, PathOrUrl
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace

_DEFAULTS = ExtractSettings()


def extract_tiles(
    space: LatentSpace,
    mosaic: Mosaic,
    catalog: pa.Table,
    out: PathOrUrl,
    settings: ExtractSettings = _DEFAULTS,
    *,
    scheduler: str | None = None,
) -> Features:
    """Encode every object of a catalogue from tiles, on Dask workers; see `extract_mosaic`.

    The workers must see the tiles and `out`. `scheduler` is as for `running`. Colours that are not
    those of galaxies do not warn.

    Raises
    ------
    ClusterError
        If the scheduler or all workers that take a part are lost; finished parts stay.
    TableError, SurveyError, StorageError
        As of `extract_mosaic`.
    """
    mosaic = mosaic.absolute()
    rows = MosaicRows.of(mosaic, catalog)
    encoder = TileEncoder(space, mosaic, replace(settings, progress=False))
    folder, plan = output_folder(worker_location(out, scheduler)), encoder.plan(rows)
    if not start_or_resume(folder, plan):
        _run(encoder, rows, folder, scheduler, hidden=not settings.progress)
        write_header(folder, len(rows.spans), len(rows.table), plan)
    return Features.open(folder)


def _run(
    encoder: TileEncoder, rows: MosaicRows, folder: Location, scheduler: str | None, *, hidden: bool
) -> None:
    """Write the missing parts."""
    import dask

    task, missing = dask.delayed(_write_part, pure=False), rows.missing(folder)
    total = len(rows.table)
    done = total - sum(rows.spans[k][1] - rows.spans[k][0] for k in missing)
    bar = tqdm(total=total, initial=done, unit="img", desc="extract", disable=hidden)
    if not missing:
        return
    with bar, running(scheduler) as run:
        shared = run.share(encoder)
        tasks = (task(shared, rows.part(rows.spans[k]), part_path(folder, k)) for k in missing)
        for n_rows in run.as_done(tasks):
            bar.update(n_rows)


def _write_part(shared: Shared[TileEncoder], rows: MosaicRows, path: Location) -> int:
    """Encode some rows, and write them as a part; return their number."""
    [table] = shared.get().encode(rows, rows.spans)
    write_table(table, path)
    return len(rows.table)

"""Write feature tables in parts, so that an interrupted extraction can be continued.

Parts are written in order, each atomically. The plan of the extraction (``extraction.json``) is
written first and the manifest (``features.json``) last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import CutoutError, TableError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.io.features import MANIFEST, part_path, write_header
from galaxy_da.io.files import json_hash, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location, exists, list_names, read_text, resolve, store_errors
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

_PART_ROWS = 2048
_PLAN = "extraction.json"


def extraction_plan(
    space: LatentSpace, encoders: Mapping[str, str], settings: ExtractSettings
) -> dict[str, Any]:
    """Return the settings and hashes on which the features of a sample depend."""
    probes = {"probes": [probe.hash for probe in space.probes]} if space.probes else {}
    if space.domain is not None:
        probes["domain"] = [space.domain.hash]
    return {
        **probes,
        "space_id": space.id,
        "encoders": dict(encoders),
        "precision": settings.precision,
        "reconstruct": settings.reconstruct,
        **({"measured": True} if settings.measured else {}),
    }


def table_fingerprint(path: Location, n_rows: int) -> str:
    """Hash the size, the number of rows and the end of a Parquet file, which has its statistics."""
    with store_errors(path), path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - (1 << 16)))
        return json_hash([size, n_rows, handle.read().hex()])


def files_fingerprint(sample: Sample, surveys: Iterable[Survey]) -> str | None:
    """Hash the sizes and times of change of the files of cutouts; None if none is a local file."""
    if "cutout" not in sample.catalog.column_names or not isinstance(sample.folder, Path):
        return None
    bands = sorted({band for survey in surveys for band in survey.band_names})
    uris = pc.unique(sample.catalog["cutout"].cast(pa.string())).drop_null().to_pylist()
    names = dict.fromkeys(uri.partition("#")[0] for uri in uris if "://" not in uri)
    files = [
        name.replace("{band}", band)
        for name in names
        for band in (bands if "{band}" in name else [""])
    ]
    states = np.full((len(files), 2), -1, np.int64)  # of files that are missing or out of reach
    for i, name in enumerate(files):
        with suppress(OSError, ValueError, CutoutError):
            state = Path(str(resolve(sample.folder, name))).stat()
            states[i] = state.st_size, state.st_mtime_ns
    return json_hash([files, hashlib.sha256(states.tobytes()).hexdigest()]) if files else None


def start_or_resume(folder: Location, plan: Mapping[str, Any]) -> bool:
    """Start an extraction, or continue it; return True if it is finished already.

    Raises
    ------
    TableError
        If the folder holds an extraction with another plan.
    StorageError
        If the store fails, or the folder cannot be written.
    """
    path = folder / _PLAN
    if not exists(path):
        write_json(path, plan)
        return False
    old = json.loads(read_text(path))
    if old != plan:
        differ = ", ".join(sorted(key for key in plan if plan[key] != old.get(key)))
        raise TableError(
            f"{folder}: holds the features of another extraction ({differ} differ); give another "
            "--out or delete the folder"
        )
    return exists(folder / MANIFEST)


def write_parts(
    folder: Location,
    plan: Mapping[str, Any],
    rows: int,
    parts_from: Callable[[int], Iterator[pa.Table]],
) -> None:
    """Write the missing parts of a sample of some rows, then the manifest.

    `parts_from` is a function of the first missing row; it yields the parts from that row on, as
    `split_in_parts` does. Errors are those of `start_or_resume`; finished parts stay.
    """
    plan = {**plan, "part_rows": _PART_ROWS}
    if start_or_resume(folder, plan):
        return
    total, names = -(-rows // _PART_ROWS), list_names(folder)
    done = next((i for i in range(total) if part_path(folder, i).name not in names), total)
    for number, part in enumerate(parts_from(done * _PART_ROWS), done):
        write_table(part, part_path(folder, number))
    write_header(folder, max(total, 1), rows, plan)


def split_in_parts(tables: Iterable[pa.Table], rows: int | None = None) -> Iterator[pa.Table]:
    """Regroup the rows of tables into parts of equal size; the last one may be shorter."""
    rows = rows or _PART_ROWS
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(table.num_rows for table in held) >= rows:
            joined = pa.concat_tables(held)
            full = joined.num_rows // rows * rows
            yield from (joined.slice(low, rows) for low in range(0, full, rows))
            held = [joined.slice(full)] if full < joined.num_rows else []
    if held:
        yield pa.concat_tables(held)

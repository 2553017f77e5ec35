"""Fetch the cutouts of a catalogue, with a status for each row; an interrupted fetch resumes.

``OUT`` holds at the end::

    sample.parquet      the sample table: the catalogue's rows and columns, with survey, cutout,
                        status, sha256, bytes and message
    cutouts/ab/ab12...  one file per request, named by its key
    fetch.json          the plan: the catalogue's hash and the source's identity
    fetch.jsonl         the journal, a line per answered request

A request is recorded after its cutout is whole on disk, and is then never sent again. The same call
resumes a job that was killed, interrupted or ran out of disk. Requests that kept failing, and
replies that were not images, are tried again by the next call.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from catalogs.archives.cache import Cache
from catalogs.archives.http import Http
from catalogs.archives.job import Job, cutout_path
from catalogs.archives.journal import Journal, Outcome
from catalogs.archives.source import CutoutSource, FloatArray
from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.files import ensure_folder, json_hash, remove_drafts, write_json
from galaxy_da.io.positions import BAD_POSITION, are_positions, position_problem
from galaxy_da.io.samples import validate_sample
from galaxy_da.io.tables import read_metadata, with_metadata, write_table

SAMPLE = "sample.parquet"  # name of the sample table in the output folder
_PLAN, _JOURNAL, _LOCK = "fetch.json", "fetch.jsonl", ".fetch.lock"
_OUTCOME_COLUMNS = pa.schema(
    {"status": pa.string(), "sha256": pa.string(), "bytes": pa.int64(), "message": pa.string()}
)
_CUTOUT_COLUMNS = (
    *("survey", "cutout", "image", "bands", "pixel_scale_arcsec", "psf_fwhm_arcsec"),
    *("stretch", "photometric"),
    *("status", "sha256", "bytes", "message"),
)


def fetch(
    source: CutoutSource,
    catalog: pa.Table,
    out: str | os.PathLike[str],
    *,
    cache: Cache | None = None,
    http: Http | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Fetch a cutout for every row of a catalogue.

    Parameters
    ----------
    source : CutoutSource
        Survey and archive, as of `catalogs.archives.registry.open_source`.
    catalog : pa.Table
        ``object_id``, ``ra`` and ``dec`` [ICRS deg], and any other columns, which are kept. Those
        that describe another survey's cutout (``survey``, ``bands``, ...) become ``NAME_catalog``.
    out : path
        Output folder; an unfinished fetch there is continued.
    cache : Cache, optional
        Index of cutouts on this machine, which are linked instead of requested; by default the one
        in the user's cache folder.
    http : Http, optional
        Client of the service; by default a new one with the source's limits.

    Returns
    -------
    dict
        ``sample`` (path), ``rows``, the number of rows of each status, and the numbers of cutouts
        that were ``requested``, ``reused`` from this machine, ``resumed`` and ``damaged``.

    Raises
    ------
    CatalogError
        If no position is usable, `out` holds another fetch or is being written by another
        process, the service refuses the user's account, or too many requests in a row fail.
    TableError
        If an id is repeated or a column is missing.
    StorageError
        If a file cannot be written; finished cutouts are kept.
    """
    sample = _sample_columns(catalog, source.survey)
    ra, dec = (np.asarray(sample[name].cast(pa.float64()), float) for name in ("ra", "dec"))
    folder = ensure_folder(out)
    opened = nullcontext(http) if http else Http(source.service, source.limits)
    with _locked(folder), opened as client:
        old, inside = _read_plan(folder), are_positions(ra, dec)
        if inside.any():
            first = int(np.argmax(inside))
            before = old.get("identity") or {}
            source = source.settled(client, float(ra[first]), float(dec[first]), before)
        keys, plan = request_keys(source, ra, dec), _plan(source, sample)
        _check_plan(folder, plan, old)
        with Journal(folder / _JOURNAL) as journal:
            job = Job(source, folder, client, journal, cache or Cache(), progress)
            resumed, damaged = job.verify(set(keys))
            covered = source.covers(ra[inside], dec[inside])
            inside[inside] = True if covered is None else covered
            rows = np.flatnonzero(inside)
            rows = rows[source.order(ra[rows], dec[rows])]
            places = zip(rows.tolist(), ra[rows].tolist(), dec[rows].tolist(), strict=True)
            counts = job.run({keys[k]: (x, y) for k, x, y in places if keys[k] not in resumed})
            sample = _with_outcomes(sample, keys, journal.outcomes, source)
            metadata = {**read_metadata(catalog.schema), "fetch": plan}
            write_table(with_metadata(sample, metadata), folder / SAMPLE)
            job.remember(keys)
    return {
        "sample": str(folder / SAMPLE),
        "rows": sample.num_rows,
        **dict(Counter(sample["status"].to_pylist()).most_common()),
        "requested": counts["requested"],
        "reused": counts["reused"],
        "resumed": len(resumed),
        "damaged": damaged,
        **{name: value for name, value in source.identity().items() if name == "layer"},
    }


def request_keys(source: CutoutSource, ra: FloatArray, dec: FloatArray) -> list[str]:
    """Return the SHA-256 that names each request of (n,) positions [ICRS deg].

    A key depends on the source's identity and on the position, rounded to 1e-7 deg (0.4 mas).
    """
    request = [source.survey, source.service, source.suffix, dict(source.identity())]
    common = json.dumps(request, sort_keys=True)
    east, north = np.round(ra, 7) % 360, np.round(dec, 7) + 0.0  # no 360, no negative zero
    texts = (f"{common}{x:.7f} {y:.7f}" for x, y in zip(east.tolist(), north.tolist(), strict=True))
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def _sample_columns(catalog: pa.Table, survey: str) -> pa.Table:
    """Return the catalogue as a checked sample of `survey`; no column is lost."""
    names = list(catalog.column_names)
    for i, name in enumerate(names):
        if name in _CUTOUT_COLUMNS:
            names[i] = f"{name}_catalog"
            while names.count(names[i]) > 1:
                names[i] += "_"
    column = pa.repeat(pa.scalar(survey, pa.string()), len(catalog))
    sample = catalog.rename_columns(names).append_column("survey", column)
    empty = sample.append_column("cutout", pa.nulls(len(catalog), pa.string()))
    validate_sample(empty, "the catalogue")
    return sample


def _plan(source: CutoutSource, sample: pa.Table) -> dict[str, Any]:
    """Return the description by which a later call recognises the same fetch."""
    digest = hashlib.sha256()
    for name in ("object_id", "ra", "dec"):
        kind = pa.large_string() if name == "object_id" else pa.float64()
        values = sample[name].cast(kind).to_pylist()
        values = [v if isinstance(v, str) or math.isfinite(v or 0) else str(v) for v in values]
        digest.update(json_hash(values).encode())
    plan = {name: getattr(source, name) for name in ("survey", "service", "suffix")}
    of_rows = {"rows": sample.num_rows, "catalogue": digest.hexdigest()}
    return {**plan, "identity": dict(source.identity()), **of_rows}


def _check_plan(folder: Path, plan: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Write the plan of a new fetch, or compare it with the old one in the folder."""
    if not old:
        if any(child.name != _LOCK for child in folder.iterdir()):
            raise CatalogError(f"{folder}: is not empty and holds no fetch; give another --out")
        write_json(folder / _PLAN, plan)
        return
    differ = [name for name in plan if name != "identity" and plan[name] != old.get(name)]
    now, then = plan["identity"], old.get("identity") or {}
    differ += [
        f"{name} is {now.get(name)!r} but was {then.get(name)!r}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name)
    ]
    if differ:
        raise CatalogError(
            f"{folder}: holds another fetch (differs in {', '.join(differ)}); give another --out, "
            "cutouts that are already on this machine are reused"
        )


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / _PLAN
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise StorageError(f"{path}: is damaged ({error}); give another --out") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, and delete half-written files of a killed one."""
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CatalogError(f"{folder}: another process is fetching into it") from error
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written to ({error.strerror})") from error
    try:
        remove_drafts(folder)
        yield
    finally:
        lock.release()


def _with_outcomes(
    sample: pa.Table, keys: list[str], outcomes: Mapping[str, Outcome], source: CutoutSource
) -> pa.Table:
    reason = f"outside the footprint of {source.survey}; not requested"
    outside = Outcome(key="", status="outside_footprint", message=reason)
    rows = []
    for key, *place in zip(keys, *(sample[n].to_pylist() for n in ("ra", "dec")), strict=True):
        problem = position_problem(*place)
        bad = Outcome(key="", status=BAD_POSITION, message=problem)
        rows.append(vars(bad if problem else outcomes.get(key, outside)))
    cutouts = [
        cutout_path(row["key"], source.suffix).as_posix() if row["status"] == "ok" else None
        for row in rows
    ]
    added: dict[str, Any] = {"cutout": pa.array(cutouts, pa.string())}
    scale = source.identity().get("pixel_scale_arcsec")
    if scale is not None:
        added["pixel_scale_arcsec"] = pa.repeat(pa.scalar(float(scale)), len(rows))
    outcome = pa.Table.from_pylist(rows, _OUTCOME_COLUMNS)
    for name, column in {
        **added,
        **dict(zip(_OUTCOME_COLUMNS.names, outcome, strict=True)),
    }.items():
        sample = sample.append_column(name, column)
    return sample

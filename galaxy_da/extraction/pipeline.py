"""Turn a sample table into features: read, prepare, encode, write, part by part.

Batches are read and encoded in threads, each batch on one: two cores encode two batches in three
quarters of the time in which they encode one after the other together. Parts are written in order
and each is whole, so an extraction that was killed goes on after its last part and ends with the
same table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tqdm import tqdm

from galaxy_da.errors import CutoutError, TableError
from galaxy_da.extraction.loading import read_batches
from galaxy_da.extraction.prefetch import parallel_map
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.features import FEATURE_COLUMNS, MANIFEST, Features, part_path
from galaxy_da.io.files import json_hash, output_folder, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location, PathOrUrl, exists, list_names, read_text, store_errors
from galaxy_da.io.tables import write_table
from galaxy_da.models.devices import Precision
from galaxy_da.models.probes import probe_columns
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = [
    "extract",
    "extraction_plan",
    "reconstruction_error",
    "start_or_resume",
    "table_fingerprint",
]

_PART_ROWS = 2048
_PLAN = "extraction.json"


def extract(
    space: LatentSpace,
    sample: Sample,
    out: PathOrUrl | None = None,
    *,
    surveys: Sequence[Survey] = (),
    unadapted: bool = False,
    precision: Precision = "auto",
    reconstruct: bool = True,
    progress: bool = False,
) -> Features:
    """Encode every cutout of a sample table, with the physical columns the space has probes for.

    Parameters
    ----------
    space : LatentSpace
        The space to map into.
    sample : Sample
        Galaxies of one or more surveys.
    out : path or URL, optional
        Folder for the features; an unfinished extraction there is continued. In memory by default.
    surveys : sequence of Survey
        Definitions of surveys that are neither in the space nor built in.
    unadapted : bool
        Use the anchor's network for surveys without an encoder of their own.
    precision : {"auto", "fp32", "bf16"}
        ``auto`` is bf16 where the processor has it.
    reconstruct : bool
        Also decode each latent and record ``reconstruction_error``, the mean squared difference
        from the prepared image (asinh units).
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Features
        One row per row of the sample, in its order.

    Raises
    ------
    SpaceError
        If a survey has no encoder and `unadapted` is false.
    TableError
        If `out` holds the features of another extraction, or a column name is taken.
    SurveyError
        If cutouts are colour images of a survey without a stretch.
    StorageError
        If the output cannot be written; finished parts stay.
    """
    _refuse_taken_columns(sample, space)
    defined = {survey.name: survey for survey in surveys}
    job = _Job(
        space=space,
        encoders=_Encoders(space, sample, defined, unadapted),
        precision=precision,
        reconstruct=reconstruct,
    )
    if out is None:
        parts = list(_encode_parts(job, sample, 0, progress))
        return Features(
            table=pa.concat_tables(parts), space_id=space.id, encoders=job.encoders.hashes
        )
    folder = output_folder(out)
    _extract_to(folder, job, sample, progress)
    return Features.open(folder)


@dataclass(frozen=True, kw_only=True)
class _Job:
    space: LatentSpace
    encoders: _Encoders
    precision: Precision
    reconstruct: bool


class _Encoders:
    """The encoder of each survey in a sample; un-adapted ones wait to see the cutouts' bands."""

    def __init__(
        self,
        space: LatentSpace,
        sample: Sample,
        defined: Mapping[str, Survey],
        unadapted: bool,
    ) -> None:
        self._space = space
        self._known: dict[str, SurveyEncoder] = {}
        self._plain: dict[tuple[str, tuple[str, ...]], SurveyEncoder] = {}
        self._survey: dict[str, Survey] = {}
        for name in sample.surveys:
            if name in space.surveys or not unadapted:
                self._known[name] = space.encoder(name)
            self._survey[name] = space.survey(name, defined)

    @property
    def hashes(self) -> dict[str, str]:
        """Survey to the hash of its network."""
        anchor = self._space.encoder(self._space.anchor)
        return {name: self._known.get(name, anchor).hash for name in self._survey}

    @property
    def surveys(self) -> dict[str, Survey]:
        """Definition of each survey in the sample."""
        return self._survey

    def for_bands(self, name: str, bands: Sequence[str]) -> SurveyEncoder:
        """Return the encoder for cutouts that carry some bands."""
        if name in self._known:
            return self._known[name]
        key = (name, tuple(bands))
        if key not in self._plain:
            self._plain[key] = self._space.unadapted(self._survey[name], bands)
        return self._plain[key]


def _refuse_taken_columns(sample: Sample, space: LatentSpace) -> None:
    taken = {*FEATURE_COLUMNS, *(probe.column for probe in space.probes)} - {"status", "message"}
    clash = sorted(taken & set(sample.catalog.column_names))
    if clash:
        raise TableError(
            f"{sample.path}: column {clash[0]!r} is one that extraction writes; rename yours, or "
            "give the sample table instead of a feature table"
        )


def extraction_plan(
    space: LatentSpace, encoders: Mapping[str, str], precision: Precision, reconstruct: bool
) -> dict[str, Any]:
    """Say what makes two extractions of one sample the same."""
    probes = {"probes": [probe.hash for probe in space.probes]} if space.probes else {}
    return {
        **probes,
        "space_id": space.id,
        "encoders": dict(encoders),
        "precision": precision,
        "reconstruct": reconstruct,
    }


def table_fingerprint(path: Location, n_rows: int) -> str:
    """Tell a Parquet table from others by its size, rows, and end, where its statistics are."""
    with store_errors(path), path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - (1 << 16)))
        return json_hash([size, n_rows, handle.read().hex()])


def start_or_resume(folder: Location, plan: Mapping[str, Any]) -> bool:
    """Begin an extraction, or go on with it; return whether it is finished already.

    Raises
    ------
    TableError
        If the folder holds another.
    StorageError
        If the store it is in fails, or the folder cannot be written.
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


def _extract_to(folder: Location, job: _Job, sample: Sample, progress: bool) -> None:
    plan = {
        **extraction_plan(job.space, job.encoders.hashes, job.precision, job.reconstruct),
        "sample": table_fingerprint(sample.path, len(sample)),
        "part_rows": _PART_ROWS,
    }
    if start_or_resume(folder, plan):
        return
    total, there = -(-len(sample) // _PART_ROWS), list_names(folder)
    done = next((i for i in range(total) if part_path(folder, i).name not in there), total)
    for number, part in enumerate(_encode_parts(job, sample, done * _PART_ROWS, progress), done):
        write_table(part, part_path(folder, number))
    write_json(
        folder / MANIFEST,
        {"format": 1, "parts": max(total, 1), "rows": len(sample), **plan},
    )


def _encode_parts(job: _Job, sample: Sample, start: int, progress: bool) -> Iterator[pa.Table]:
    """Yield feature tables of `_PART_ROWS` rows."""
    held: list[pa.Table] = []
    with tqdm(
        total=len(sample), initial=start, unit="img", desc="extract", disable=not progress
    ) as bar:
        for table in _encoded(job, sample, start):
            held.append(table)
            bar.update(table.num_rows)
            if sum(table.num_rows for table in held) >= _PART_ROWS:
                yield pa.concat_tables(held)
                held = []
    if held or not len(sample):
        yield pa.concat_tables(held) if held else _encode(job, sample.catalog, [])


def _encoded(job: _Job, sample: Sample, start: int) -> Iterator[pa.Table]:
    """Yield feature tables batch by batch."""
    threads = torch.get_num_threads()
    batches = read_batches(sample, job.encoders.surveys, start)
    try:
        yield from parallel_map(
            lambda batch: _encode(job, *batch),
            batches,
            threads=threads,
            prefetch=threads + 1,
            prepare=lambda: torch.set_num_threads(1),
        )
    finally:
        torch.set_num_threads(threads)  # which also counts for threads to come


def _encode(job: _Job, rows: pa.Table, cutouts: list[Cutout | CutoutError]) -> pa.Table:
    """Attach feature columns to rows."""
    n, width, galaxy = len(cutouts), job.space.architecture.latents, job.space.galaxy_latents
    status = np.array(["ok"] * n, dtype=object)
    message = np.full(n, None, dtype=object)
    flags = np.zeros(n, np.int32)
    mean = np.zeros((n, width), np.float32)
    variance = np.zeros((n, width), np.float32)
    error = np.zeros(n, np.float32)
    names = rows["survey"].to_pylist()
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        if isinstance(cutout, CutoutError):
            status[i], message[i] = cutout.status, str(cutout)
        else:
            groups.setdefault((names[i], cutout.bands), []).append(i)
    for (name, bands), members in groups.items():
        encoder = job.encoders.for_bands(name, bands)
        chosen = [c for c in (cutouts[i] for i in members) if isinstance(c, Cutout)]
        prepared = encoder.prepare(chosen, job.space.frame)
        posterior = job.space.encode(prepared.images, encoder, precision=job.precision)
        mean[members], variance[members] = posterior.mean.numpy(), posterior.variance.numpy()
        flags[members] = prepared.flags
        if job.reconstruct:
            error[members] = reconstruction_error(
                job.space, encoder, prepared.images, posterior.mean, job.precision
            )
        for i, problem in zip(members, prepared.problems, strict=True):
            if problem is not None:
                status[i], message[i] = problem
    good = status == "ok"
    columns = {
        "status": pa.array(status, pa.string()),
        "message": pa.array(message, pa.string()),
        "flags": pa.array(flags),
        "embedding": _vectors(mean[:, :galaxy], good),
        "variance": _vectors(variance[:, :galaxy], good),
        "reconstruction_error": pa.array(error, mask=~good | (not job.reconstruct)),
    }
    if galaxy < width:
        columns["nuisance"] = _vectors(mean[:, galaxy:], good)
    kept = [c for c in rows.column_names if c != "image" and c not in columns]
    table = rows.select(kept).replace_schema_metadata(None)
    for name, column in columns.items():
        table = table.append_column(name, column)
    physical = probe_columns(job.space.probes, mean, good)
    for field, values in zip(physical.schema, physical.columns, strict=True):
        table = table.append_column(field, values)
    return table


def reconstruction_error(
    space: LatentSpace,
    encoder: SurveyEncoder,
    images: torch.Tensor,
    mean: torch.Tensor,
    precision: Precision = "auto",
) -> np.ndarray:
    """Compare decoded latents with the prepared images they came from.

    Parameters
    ----------
    space : LatentSpace
        Whose decoder.
    encoder : SurveyEncoder
        Of the images.
    images : (n, bands, pixels, pixels) float tensor
        From `SurveyEncoder.prepare`.
    mean : (n, latents) float tensor
        Their posterior means.
    precision : {"auto", "fp32", "bf16"}
        As for `extract`.

    Returns
    -------
    (n,) float32 array
        Mean squared difference from the nearest bands [asinh units].
    """
    nearest = _nearest_planes(encoder, space.frame.wavelengths_nm)
    decoded = space.decode(mean, precision=precision)
    return np.asarray((decoded - images[:, nearest]).square().mean((1, 2, 3)).numpy())


def _nearest_planes(encoder: SurveyEncoder, wavelengths_nm: Sequence[float]) -> list[int]:
    have = np.array([encoder.survey.band(name).wavelength_nm for name in encoder.bands])
    return [int(np.abs(have - nm).argmin()) for nm in wavelengths_nm]


def _vectors(values: np.ndarray, good: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(values.ravel()), values.shape[1], mask=pa.array(~good)
    )

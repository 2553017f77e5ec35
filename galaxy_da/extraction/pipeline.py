"""Extract the features of a sample: read, prepare and encode its cutouts, and write parts.

Each batch is encoded on one thread, several batches at once: on two cores this takes three quarters
of the time of encoding one batch after the other on both. Threads of NumPy's matrix products would
wait for each other: on busy cores they cost several times the extraction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from galaxy_da.errors import CutoutError, SampleWarning, TableError
from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.extraction.loading import read_batches
from galaxy_da.extraction.measured_columns import MEASURED_PREFIX
from galaxy_da.extraction.parts import (
    extraction_plan,
    files_fingerprint,
    split_in_parts,
    table_fingerprint,
    write_parts,
)
from galaxy_da.extraction.prefetch import parallel_map
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.features import FEATURE_COLUMNS, Features
from galaxy_da.io.files import output_folder
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.models.probes import probe_names
from galaxy_da.space import LatentSpace

Batches = Iterable[tuple[pa.Table, Sequence[Cutout | CutoutError]]]
"""Rows with their cutouts."""

_DEFAULTS = ExtractSettings()


def extract(
    space: LatentSpace,
    sample: Sample,
    out: PathOrUrl | None = None,
    settings: ExtractSettings = _DEFAULTS,
) -> Features:
    """Encode every cutout of a sample table, with the physical columns of the space's probes.

    Parameters
    ----------
    space : LatentSpace
        Space to encode into.
    sample : Sample
        Galaxies of one or more surveys.
    out : path or URL, optional
        Folder for the features; an unfinished extraction there is continued. In memory by default.
    settings : ExtractSettings
        Precision, own survey definitions, reconstruction.

    Returns
    -------
    Features
        One row per row of the sample, in its order.

    Raises
    ------
    TableError
        If `out` holds the features of another extraction, or a column name is taken.
    SurveyError
        If a survey has no definition.
    StorageError
        If the output cannot be written; finished parts stay.

    Warns
    -----
    SampleWarning
        If the colours of a survey's galaxies show a wrong zeropoint, or bands in another order; or
        if more than a fifth of its rows lie outside the domain.
    """
    _check_columns(sample, space)
    encoder = SampleEncoder(space, sample.surveys, settings)
    parts_from = feature_parts(
        encoder,
        sample.catalog,
        lambda start: read_batches(sample, encoder.surveys, start),
        settings.progress,
    )
    if out is None:
        table = pa.concat_tables(parts_from(0))
        return Features(
            table=table,
            space_id=space.id,
            encoders=encoder.hashes,
            readings=encoder.readings,
        )
    folder = output_folder(out)
    plan = {
        **extraction_plan(space, encoder.hashes, settings),
        "readings": encoder.readings,
        "sample": table_fingerprint(sample.path, len(sample)),
    }
    if files := files_fingerprint(sample, encoder.surveys.values()):
        plan["cutouts"] = files
    write_parts(folder, plan, len(sample), parts_from)
    return Features.open(folder)


def _check_columns(sample: Sample, space: LatentSpace) -> None:
    taken = {*FEATURE_COLUMNS, *probe_names(space.probes)} - {"status", "message"}
    names = sample.catalog.column_names
    taken |= {name for name in names if name.startswith(MEASURED_PREFIX)}
    clash = sorted(taken & set(names))
    if clash:
        raise TableError(
            f"{sample.path}: column {clash[0]!r} is one that extraction writes; rename yours, or "
            "give the sample table instead of a feature table"
        )


def feature_parts(
    encoder: SampleEncoder, rows: pa.Table, batches_from: Callable[[int], Batches], progress: bool
) -> Callable[[int], Iterator[pa.Table]]:
    """Return the function of the first missing row that `write_parts` calls.

    `batches_from` returns the batches from a row on. After the last of them, colours that are not
    those of galaxies raise a `SampleWarning`.
    """

    def parts_from(start: int) -> Iterator[pa.Table]:
        if not len(rows):
            yield encoder.encode(rows, [])
        yield from split_in_parts(
            encode_batches(encoder, batches_from(start), len(rows), start, progress)
        )
        for message in encoder.check.warnings():
            warnings.warn(message, SampleWarning, stacklevel=2)

    return parts_from


def encode_batches(
    encoder: SampleEncoder,
    batches: Batches,
    total: int,
    start: int,
    progress: bool,
) -> Iterator[pa.Table]:
    """Yield the feature table of each batch of rows and cutouts, of `total` rows from `start`."""
    threads = torch.get_num_threads()
    tables = parallel_map(
        lambda batch: encoder.encode(*batch),
        batches,
        threads=threads,
        prefetch=threads + 1,
        initializer=lambda: torch.set_num_threads(1),
    )
    bar = tqdm(total=total, initial=start, unit="img", desc="extract", disable=not progress)
    try:
        with bar, threadpool_limits(1, user_api="blas"):
            for table in tables:
                bar.update(table.num_rows)
                yield table
    finally:
        torch.set_num_threads(threads)  # the number is also the default of later threads

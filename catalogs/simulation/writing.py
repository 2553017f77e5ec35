"""Write a simulated sky: sample tables, cutouts, true pairs and true parameters."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from catalogs.simulation.observing import stamp_pixels
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import (
    Observer,
    SkyChunk,
    SkySettings,
    name_seed,
    observers_of,
    sky_chunks,
)
from galaxy_da.errors import StorageError
from galaxy_da.io.files import atomic_path, ensure_folder, json_hash, write_json
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.io.tables import with_metadata, write_table
from galaxy_da.surveys import Survey

OUTSIDE_SHARE = 0.05  # galaxies of the first survey that lie outside each other survey's footprint
OWN_SHARE = 0.02  # galaxies that only one other survey observes, over those of the first
_R_NM = 642.0
_PLAN = "sky.json"
_SUFFIXES = (".json", ".parquet")


def simulate(
    surveys: Sequence[Survey],
    n: int,
    out: Path,
    settings: SkySettings | None = None,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a sky observed by several surveys.

    Each observation gets ``NAME/sample.parquet`` and ``NAME/cutouts.npy``. Ids, row order and
    positions differ from survey to survey. ``pairs-FIRST-OTHER.parquet`` holds the true pairs and
    ``truth.parquet`` the galaxies, with their ids. Some of the first survey's galaxies are missing
    from each other one, which has a few of its own. ``sky.json`` comes first and ``truth.parquet``
    last; a folder with the one but not the other holds an unfinished sky, which the same call ends.

    Parameters
    ----------
    surveys : sequence of Survey
        Surveys that observe; the first is the anchor, of which n galaxies are drawn.
    settings : SkySettings, optional
        Settings of the sky; equal settings give an equal sky.

    Returns
    -------
    dict
        ``galaxies`` (int), ``samples`` and ``pairs`` (name to path and rows), ``truth`` (path).

    Raises
    ------
    TableError, StorageError
        If the scenes have no usable image, the output cannot be written or does not fit, or it
        holds another sky.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 galaxy but is {n}")
    settings = settings or SkySettings()
    observers = observers_of(surveys, settings)
    _check_names(surveys, observers)
    covered = _coverage(n, observers, settings.seed)
    total = len(next(iter(covered.values())))
    shapes = {}
    for name, observer in observers.items():
        side = stamp_pixels(observer.survey)
        shapes[name] = (int(covered[name].sum()), len(observer.bands), side, side)
    out = ensure_folder(out)
    _claim(out, {"surveys": list(surveys), "n": n, **vars(settings)})
    _check_space(out, shapes.values())
    chunks = list(sky_chunks(surveys, settings, total))  # drawn but not yet rendered, so small
    tables = _tables(chunks, observers, covered, settings)
    with ExitStack() as files:
        cutouts = {name: _open_array(files, out / name, shapes[name]) for name in observers}
        with tqdm(total=total, unit=" galaxies", disable=not progress, delay=0.5) as bar:
            for chunk in chunks:
                for name, observation in chunk.observe(observers).items():
                    rows = np.flatnonzero(covered[name][chunk.first :][: len(observation.flux)])
                    cutouts[name].write(observation.flux[rows].numpy().tobytes())
                bar.update(chunk.truth.num_rows)
    written = {}
    for name, table in reversed(tables.items()):
        target = out / f"{name}.parquet"
        write_table(table, target)
        written[name] = {"path": str(target), "rows": table.num_rows}
    first, *others = observers
    return {
        "galaxies": total,
        "samples": {name: written[f"{name}/sample"] for name in observers},
        "pairs": {f"{first}-{name}": written[f"pairs-{first}-{name}"] for name in others},
        "truth": written["truth"]["path"],
    }


def _tables(
    chunks: Sequence[SkyChunk],
    observers: Mapping[str, Observer],
    covered: Mapping[str, np.ndarray],
    settings: SkySettings,
) -> dict[str, pa.Table]:
    """Tables by file name: the truth, which is written last, the true pairs and the samples."""
    truth = pa.concat_tables([chunk.truth for chunk in chunks])
    total = truth.num_rows
    truth = truth.add_column(0, "galaxy", pa.array(np.arange(total)))
    truth = with_metadata(truth, {"seed": settings.seed, "magnitudes": list(settings.magnitudes)})
    samples = {}
    for name, observer in observers.items():
        catalogue = pa.concat_tables([_catalogue(chunk, name, observer) for chunk in chunks])
        samples[name] = _sample(name, catalogue.filter(pa.array(covered[name])), settings.seed)
        truth = truth.append_column(f"{name}_id", _ids_by_galaxy(samples[name], total))
    first, *others = samples
    return {
        "truth": truth,
        **{f"pairs-{first}-{name}": _pairs(samples[first], samples[name]) for name in others},
        **{f"{name}/sample": sample.drop_columns("galaxy") for name, sample in samples.items()},
    }


def _coverage(n: int, observers: Mapping[str, Observer], seed: int) -> dict[str, np.ndarray]:
    """(total,) bool by observer: the galaxies in its footprint."""
    first, *others = dict.fromkeys(observer.survey.name for observer in observers.values())
    owner = np.repeat(np.array(others, dtype=str), round(OWN_SHARE * n))
    covered = {}
    for name, observer in observers.items():
        rng = np.random.default_rng([seed, name_seed(f"{name} coverage")])
        outside = 0.0 if observer.survey.name == first else OUTSIDE_SHARE
        covered[name] = np.concatenate([rng.random(n) >= outside, owner == observer.survey.name])
    return covered


def _check_names(surveys: Sequence[Survey], observers: Mapping[str, Observer]) -> None:
    for survey in surveys:
        if observers[survey.name].survey != survey or Path(survey.name).suffix in _SUFFIXES:
            raise ValueError(
                f"{survey.name}: is also the name of a repeated observation or of a file of the "
                "sky; rename the survey"
            )


def _claim(out: Path, plan: dict[str, Any]) -> None:
    """Record what sky a new folder is for; refuse one that holds another sky."""
    scenes = plan["scenes"]
    plan["scenes"] = scenes.scene_id.tolist() if isinstance(scenes, ScenePool) else str(scenes)
    plan["surveys"] = [survey.model_dump(mode="json") for survey in plan["surveys"]]
    known = {"sha256": json_hash(plan)}
    path = out / _PLAN
    if not path.is_file() and not (out / "truth.parquet").is_file():
        write_json(path, known)
    elif not path.is_file() or json.loads(path.read_text(encoding="utf-8")) != known:
        raise StorageError(
            f"{out}: holds a sky of other settings; give another --out or delete that sky"
        )


def _check_space(out: Path, shapes: Iterable[tuple[int, ...]]) -> None:
    need = sum(4 * math.prod(shape) for shape in shapes)
    free = shutil.disk_usage(out).free
    if need > free:
        raise StorageError(
            f"{out}: the cutouts need {need / 1e9:.2f} GB but {free / 1e9:.2f} GB are free; ask "
            "for fewer galaxies, or choose another output"
        )


def _open_array(files: ExitStack, folder: Path, shape: tuple[int, ...]) -> IO[bytes]:
    """Start ``cutouts.npy`` of known shape, to be filled row after row."""
    path = files.enter_context(atomic_path(folder / "cutouts.npy"))
    handle = files.enter_context(path.open("wb"))
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)
    return handle


def _catalogue(chunk: SkyChunk, name: str, observer: Observer) -> pa.Table:
    """Catalogue of a survey for one chunk, in the order of the sky."""
    state, n = chunk.conditions[name], chunk.truth.num_rows
    ra, dec = (chunk.truth[axis].to_numpy() for axis in ("ra", "dec"))
    bands = tuple(band.name for band in observer.bands)
    r_like = bands.index(observer.survey.nearest_band(_R_NM, bands).name)
    camera = {"rotation_deg": state.rotation_deg, "mirrored": state.mirrored}
    return pa.table(
        {
            "galaxy": np.arange(chunk.first, chunk.first + n),
            "survey": [observer.survey.name] * n,
            "ra": (ra + state.east_arcsec / np.cos(np.radians(dec)) / 3600) % 360,
            "dec": dec + state.north_arcsec / 3600,
            "bands": [",".join(bands)] * n,
            "pixel_scale_arcsec": np.full(n, observer.survey.pixel_scale_arcsec),
            "psf_fwhm_arcsec": state.psf_fwhm_arcsec[:, r_like],
            "artefact": pa.array(state.artefact.tolist(), pa.string()),
            **{name: values[:n] for name, values in camera.items() if values is not None},
        }
    )


def _sample(name: str, catalogue: pa.Table, seed: int) -> pa.Table:
    """Add ids and cutout URIs to a catalogue and shuffle its rows."""
    rows = catalogue.num_rows
    rng = np.random.default_rng([seed, name_seed(f"{name} order")])
    ids = [f"{name}-{number:06d}" for number in rng.permutation(rows)]
    uris = [f"cutouts.npy#{row}" for row in range(rows)]
    table = catalogue.add_column(0, "object_id", pa.array(ids))
    return table.append_column("cutout", pa.array(uris)).take(pa.array(rng.permutation(rows)))


def _pairs(anchor: pa.Table, target: pa.Table) -> pa.Table:
    """Pair table of the galaxies that two samples share."""
    columns = ["galaxy", "object_id", "ra", "dec"]
    left, right = anchor.select(columns), target.select(columns)
    joined = left.join(right, "galaxy", join_type="inner", right_suffix="_target")
    joined = joined.sort_by("object_id")
    places = (joined[name].to_numpy() for name in ("ra", "dec", "ra_target", "dec_target"))
    pairs = {
        "anchor_id": joined["object_id"],
        "target_id": joined["object_id_target"],
        "separation_arcsec": separation_arcsec(*places),
        "n_candidates": pa.array(np.ones(joined.num_rows, np.int32)),
        "ambiguous": pa.array(np.zeros(joined.num_rows, bool)),
    }
    return with_metadata(pa.table(pairs), {"method": "simulated truth", "false_match_rate": 0.0})


def _ids_by_galaxy(sample: pa.Table, total: int) -> pa.Array:
    ids = np.full(total, None, object)
    ids[sample["galaxy"].to_numpy()] = sample["object_id"].to_pylist()
    return pa.array(ids, pa.string())

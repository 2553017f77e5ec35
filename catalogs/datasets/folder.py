"""Write the sample table of a folder of image files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from catalogs.datasets.colour_check import check_colours
from catalogs.datasets.file_matching import IdNames, Matching, match_images
from catalogs.datasets.folder_images import FolderImage, join_files
from catalogs.datasets.image_files import (
    ImageFile,
    find_images,
    path_stem,
    read_image_file,
    relative_uri,
)
from catalogs.datasets.options import ImageSetOptions, no_image_set
from catalogs.datasets.position_check import check_positions_of_images
from catalogs.reading import read_catalog
from catalogs.reading.catalogue import words_of
from catalogs.reading.columns import ROW_NUMBER
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.storage import Location, PathOrUrl, location
from galaxy_da.io.tables import check_unique, read_metadata, with_metadata, write_table
from galaxy_da.surveys import Survey, find_survey

_CHECKED = 50  # largest number of images that are read to check their colours
_SCALE_TOLERANCE = 0.01
_READ = ("survey", "cutout", "image", "bands", "stretch", "status")
"""Columns of a sample table that a catalogue's own columns of these names must not fill."""

_OF_THE_SURVEY = ("pixel_scale_arcsec", "psf_fwhm_arcsec")
"""Columns that describe images, and are not taken from the sample table of another survey."""

_Reasons = list[tuple[str, str]]  # name of a file that cannot be used, and why


def write_folder(
    source: Location, out: Location, survey: str, options: ImageSetOptions, progress: bool = False
) -> dict[str, Any]:
    """Write the sample table of the FITS, JPEG, PNG and NPY files below a folder.

    Files become rows by a catalogue, or by their WCS and names. The colours of up to 50 are
    compared with those of galaxies, positions with the WCS. The report has ``sample`` (path, or
    None if no file can be used), ``rows``, ``layout`` and counts of what was understood;
    ``unmatched_files`` and ``unmatched_rows`` in full; ``warning``, if there is any. CatalogError
    is raised if there is no image, or the colours are those of another order of the bands.
    """
    definition = find_survey(survey)
    own = None if options.catalog is None else location(options.catalog)
    names = [name for name in find_images(source) if source / name != own]
    if not names:
        raise no_image_set(source)
    catalog = (
        None if options.catalog is None else _read_catalog(options.catalog, options, definition)
    )
    refused: _Reasons = []
    files = []
    for name in tqdm(names, desc="reading files", disable=not progress):
        try:
            files.append(_read_file(source, name, definition, options))
        except CutoutError as error:
            refused.append((name, str(error)))
    if options.stretch is not None and files and all(f.kind != "picture" for f in files):
        raise ValueError(f"{source.name} holds no pictures; stretch is for colour images")
    ids = IdNames([] if catalog is None else catalog["object_id"].to_pylist())
    images = join_files(
        files,
        definition,
        options.bands,
        lambda stem: ids.equal(stem) is not None,
        lambda name, reason: refused.append((name, reason)),
    )
    warnings: list[str] = []
    offsets: dict[str, float] = {}
    understood: dict[str, str] = {}
    if catalog is None:
        catalog, matching = _by_themselves(images)
    else:
        record = read_metadata(catalog.schema)["catalog"]
        understood = {"catalogue": words_of(record)}
        has_ids = record["columns"]["object_id"] != ROW_NUMBER
        matching = match_images(images, catalog, options.match, has_ids)
        sky = np.stack([catalog[name].to_numpy() for name in ("ra", "dec")], axis=-1)
        known = ids if has_ids else IdNames([])
        offsets, doubts = check_positions_of_images(images, matching, sky, known)
        warnings = [*record["notes"], *doubts]
    for i, reason in matching.refused.items():
        refused += [(file.name, reason) for file in images[i].files]
    used = [images[i] for i in matching.rows.values()]
    report = {
        "sample": None,
        "rows": len(used),
        "layout": "folder",
        "files": len(names),
        "files_used": sum(len(image.files) for image in used),
        "match": matching.method,
        **understood,
        "matches": {name: {"images": n} for name, n in matching.counts.items()},
        **_describe(used),
    }
    table = _table(catalog.take(pa.array(matching.rows, pa.int64())), used, definition, options)
    if used:
        report |= _check(table, used, source, definition, options.accept_colours)
    if offsets:
        report["offset"] = {"images with WCS": offsets}
    warnings += filter(None, [report.pop("warning", None)])
    if warnings:
        report["warning"] = "; ".join(warnings)
    unmatched = np.setdiff1d(np.arange(len(catalog)), list(matching.rows)).astype(int)
    report |= {
        "refused": _counted(refused),
        "unmatched_files": sorted(name for name, _ in refused),
        "unmatched_rows": catalog["object_id"].take(unmatched).to_pylist(),
    }
    if not used or not report["read"]:
        return report | {"rows": 0}
    uris = [relative_uri(source / image.name, out.parent) for image in used]
    bad = next((uri for uri in uris if set("#{}") & set(uri.replace("{band}", ""))), None)
    if bad is not None:
        raise CatalogError(
            f"{bad}: a path with '#', '{{' or '}}' cannot be used; rename the folder"
        )
    table = table.set_column(table.column_names.index("cutout"), "cutout", pa.array(uris))
    record = {"source": source.name, "layout": "folder", "match": matching.method}
    write_table(with_metadata(table, record), out)
    return report | {"sample": str(out)}


def _counted(reasons: _Reasons) -> dict[str, dict[str, Any]]:
    """Count files by the kind of their reason; the first file and its reason stand for a kind."""
    kinds: dict[str, _Reasons] = {}
    for name, reason in reasons:
        kinds.setdefault(re.sub(r"[-+]?\d+(\.\d+)?", "#", reason), []).append((name, reason))
    most = sorted(kinds.values(), key=len, reverse=True)
    return {same[0][1]: {"files": len(same), "first": same[0][0]} for same in most}


def _read_catalog(path: PathOrUrl, options: ImageSetOptions, survey: Survey) -> pa.Table:
    """Read the catalogue, with columns that would be taken for those of the sample renamed."""
    asked = ("ra", "dec", "object_id", "unit", "frame")
    table = read_catalog(path, **{name: getattr(options, name) for name in asked})
    table = _named_by_files(table)
    check_unique(table, ("object_id",), str(path))
    taken = set(_READ)
    if "survey" in table.column_names and set(table["survey"].to_pylist()) != {survey.name}:
        taken |= set(_OF_THE_SURVEY)
    names = [f"{name}_input" if name in taken else name for name in table.column_names]
    return table.rename_columns(names).replace_schema_metadata(table.schema.metadata)


def _named_by_files(table: pa.Table) -> pa.Table:
    """Name rows without ids by their ``file_name``, as in ``metadata.csv`` of Hugging Face."""
    record = read_metadata(table.schema)
    columns = record["catalog"]["columns"]
    if columns["object_id"] != ROW_NUMBER or "file_name" not in table.column_names:
        return table
    columns["object_id"] = "file_name"
    names = pa.array([path_stem(str(name)) for name in table["file_name"].to_pylist()])
    place = table.column_names.index("object_id")
    return with_metadata(table.set_column(place, "object_id", names), record)


def _read_file(source: Location, name: str, survey: Survey, options: ImageSetOptions) -> ImageFile:
    file = read_image_file(source, name, survey, options.stretch, len(options.bands) or None)
    asked, stated = options.pixel_scale_arcsec, file.pixel_scale_arcsec
    if asked and stated and abs(stated / asked - 1) > _SCALE_TOLERANCE:
        raise CutoutError(
            f"the WCS says {stated:.4g} arcsec a pixel but {asked:g} is asked for; leave out "
            "--pixel-scale, or correct the header"
        )
    return file


def _by_themselves(images: Sequence[FolderImage]) -> tuple[pa.Table, Matching]:
    """Return a catalogue of the images' own ids and positions, and the images of its rows."""
    repeated = {stem for stem, n in Counter(image.stem for image in images).items() if n > 1}
    rows: dict[str, int] = {}
    refused = {}
    for i, image in enumerate(images):
        name = image.path if image.stem in repeated else image.stem
        if image.files[0].centre is None:
            refused[i] = "it has no WCS; give the positions by --catalog"
        elif name in rows:
            refused[i] = "several images of one name; leave one"
        else:
            rows[name] = i
    ra, dec = np.array([images[i].files[0].centre for i in rows.values()]).reshape(-1, 2).T
    catalog = pa.table({"object_id": pa.array(rows, pa.string()), "ra": ra, "dec": dec})
    method = "WCS and file name"
    return catalog, Matching(method, {method: len(rows)}, dict(enumerate(rows.values())), refused)


def _table(
    rows: pa.Table, images: Sequence[FolderImage], survey: Survey, options: ImageSetOptions
) -> pa.Table:
    """Return the sample table, with cutouts relative to the folder of images."""
    n = len(images)
    bands = [image.bands for image in images]
    stretches = [options.stretch if i.files[0].kind == "picture" else None for i in images]
    made: dict[str, pa.Array] = {
        "object_id": rows["object_id"],
        "survey": pa.array([survey.name] * n, pa.string()),
        "ra": rows["ra"],
        "dec": rows["dec"],
        "cutout": pa.array([image.name for image in images], pa.string()),
    }
    for name, values in {"bands": bands, "stretch": stretches}.items():
        if any(values):
            made[name] = pa.array(values, pa.string())
    if options.pixel_scale_arcsec is not None:
        made["pixel_scale_arcsec"] = pa.array(np.full(n, float(options.pixel_scale_arcsec)))
    rest = {name: rows[name] for name in rows.column_names if name not in made}
    return pa.table({**made, **rest})


def _describe(images: Sequence[FolderImage]) -> dict[str, Any]:
    """Return tables of the bands, units, pixel scales and sizes."""
    firsts = [image.files[0] for image in images]
    units: dict[str, list[float]] = {}
    for file in (file for image in images for file in image.files):
        zeropoint = np.nan if file.zeropoint_mag is None else file.zeropoint_mag
        units.setdefault(file.unit, []).append(zeropoint)
    scales = [file.pixel_scale_arcsec for file in firsts if file.pixel_scale_arcsec]
    return {
        "bands": _tally(f"{image.shown} ({image.origin})" for image in images),
        "units": {u: {"files": len(v), **_spread(v, "zeropoint_")} for u, v in units.items()},
        "pixel_scales_arcsec": {"images with WCS": {"images": len(scales), **_spread(scales)}}
        if scales
        else {},
        "sizes_px": _tally(f"{file.shape[2]} x {file.shape[1]}" for file in firsts),
    }


def _tally(values: Iterable[str]) -> dict[str, dict[str, int]]:
    return {value: {"images": count} for value, count in Counter(values).most_common()}


def _spread(values: Sequence[float], prefix: str = "") -> dict[str, float]:
    """Return the median and the limits of numbers, nothing if all are NaN."""
    if np.isnan(values).all():
        return {}
    median, low, high = (round(float(v), 4) for v in np.nanpercentile(values, (50, 0, 100)))
    return {f"{prefix}median": median, f"{prefix}smallest": low, f"{prefix}largest": high}


def _check(
    table: pa.Table,
    images: Sequence[FolderImage],
    source: Location,
    survey: Survey,
    accept_colours: bool,
) -> dict[str, Any]:
    """Read some images, and check their colours; return counts, reasons and colours.

    Colours that are implausible, but plausible in another order of the bands, raise CatalogError.
    """
    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(len(table), min(len(table), _CHECKED), replace=False))
    failed: _Reasons = []
    kinds: dict[str, list[Cutout]] = {}
    for row, cutout in zip(some, read_cutouts(table.take(some), source, survey), strict=True):
        if isinstance(cutout, CutoutError):
            failed.append((images[row].name, str(cutout)))
        else:
            key = f"{','.join(cutout.bands)} ({images[row].origin})"
            kinds.setdefault(key, []).append(cutout)
    report: dict[str, Any] = {
        "checked": len(some),
        "read": len(some) - len(failed),
        "read_errors": _counted(failed),
        "colours": {},
    }
    for kind, cutouts in kinds.items():
        check = check_colours(cutouts, survey)
        for name, colour in check.colours.items():
            key = name if len(kinds) == 1 else f"{name} of {kind}"
            report["colours"][key] = {k: round(v, 3) for k, v in asdict(colour).items()}
        measured = ", ".join(
            f"{name} = {c.median:.2f} (expected {c.low:.2f} to {c.high:.2f})"
            for name, c in check.colours.items()
        )
        if check.better and not accept_colours:
            best = " or ".join(",".join(order) for order in check.better[:3])
            raise CatalogError(
                f"{source}: with bands {kind}, the colours of {len(cutouts)} images are not those "
                f"of galaxies: {measured}; they would be in the order {best}; declare the true "
                "order by --bands, correct headers or names, or keep this order by "
                "--accept-colours"
            )
        if not check.is_plausible:
            report["warning"] = f"implausible colours, check units and zeropoints: {measured}"
        if not check.colours and len(check.bands) > 1:
            report["warning"] = f"none of {len(cutouts)} galaxies is bright enough to check colours"
    return report

"""Verb: crossmatch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalogs.commands.catalogue_input import read_and_report
from galaxy_da.commands.options import AsJson, Engine, OutFile, Scheduler, is_dask, user_mistakes
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath


def _either(text: str) -> Any:
    """Return an option that may differ between the two catalogues."""
    return typer.Option(help=f"{text}; one, or ANCHOR,TARGET.")


def crossmatch(
    anchor: Annotated[str, typer.Argument(metavar="ANCHOR", help="Catalogue or sample table.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Catalogue or sample table.")],
    out: OutFile,
    radius: Annotated[float, typer.Option(min=1e-4, help="Largest separation [arcsec].")] = 1.0,
    min_radius: Annotated[float, typer.Option(min=0, help="Smallest separation [arcsec].")] = 0.0,
    sigmas: Annotated[
        float | None, typer.Option(help="Largest separation in units of its error; see --error.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Pairs to keep: mutual, nearest or all.")] = "mutual",
    how: Annotated[str, typer.Option(help="Rows to keep: inner, left or outer.")] = "inner",
    ra: Annotated[str, _either("Column of right ascension; without it, recognised")] = "",
    dec: Annotated[str, _either("Column of declination")] = "",
    id: Annotated[str, _either("Column of ids")] = "",
    unit: Annotated[str, _either("Unit of ra: deg, hourangle or rad")] = "",
    frame: Annotated[str, _either("Frame: icrs, fk5, fk4, galactic, ecliptic, supergalactic")] = "",
    error: Annotated[str, _either("Column of position errors, or two as RA_ERROR+DEC_ERROR")] = "",
    error_unit: Annotated[
        str, _either("Unit of --error, where the file does not say: arcsec, mas")
    ] = "",
    table: Annotated[
        str, _either("Table of a FITS or VOTable file, name or number, as in FILE#TABLE")
    ] = "",
    epoch: Annotated[
        float | None,
        typer.Option(help="Move both catalogues along their proper motions to this year."),
    ] = None,
    reference_epoch: Annotated[
        str, _either("Year of the positions, where a file does not state it")
    ] = "",
    join: Annotated[
        bool, typer.Option(help="Add the columns of both, with the endings _anchor and _target.")
    ] = False,
    centred: Annotated[
        UPath | None,
        typer.Option(
            help="Folder for anchor.parquet and target.parquet: the paired rows of two sample "
            "tables, both about their common position."
        ),
    ] = None,
    repeat: Annotated[
        bool, typer.Option(help="Allow two catalogues of one survey (repeat observations).")
    ] = False,
    space: Annotated[
        str | None,
        typer.Option(help="Latent space: rank candidates by position and appearance together."),
    ] = None,
    anchor_features: Annotated[
        UPath | None, typer.Option(help="Feature folder of ANCHOR; by default it is extracted now.")
    ] = None,
    target_features: Annotated[
        UPath | None, typer.Option(help="Feature folder of TARGET; by default it is extracted now.")
    ] = None,
    engine: Engine = "local",
    scheduler: Scheduler = None,
    json: AsJson = False,
) -> None:
    """Match two catalogues by position (FITS, VOTable, ECSV, CSV, Parquet, HATS).

    Example: galaxy-da crossmatch decals/sample.parquet sdss/sample.parquet --out pairs.parquet
    """
    from typing import cast

    from catalogs.matching import MatchSettings
    from catalogs.matching import crossmatch as run
    from catalogs.matching.joining import join_catalogs, write_centred
    from catalogs.matching.settings import How, Mode
    from galaxy_da.io.storage import location
    from galaxy_da.io.tables import read_metadata, write_table

    with user_mistakes():
        settings = MatchSettings(
            radius_arcsec=radius,
            min_radius_arcsec=min_radius,
            sigmas=sigmas,
            mode=cast(Mode, mode if space is None else "all"),
            how=cast(How, how),
            allow_same_survey=repeat,
        )
    options = {"ra": ra, "dec": dec, "id": id, "unit": unit, "frame": frame}
    options |= {"error": error, "error-unit": error_unit, "table": table}
    options |= {"reference-epoch": reference_epoch}
    if is_dask(engine, scheduler):
        from catalogs.hats.matching import crossmatch_hats

        only_local = {**options, "sigmas": sigmas, "min-radius": min_radius, "epoch": epoch}
        only_local |= {"join": join, "centred": centred is not None, "how": how != "inner"}
        _refuse({**only_local, "id": "", "space": space}, "--engine dask")
        with user_mistakes():
            result = crossmatch_hats(
                anchor, target, out, settings, scheduler=scheduler, object_ids=_by_side("id", id)
            )
        _print_match(result, out, json)
        return
    features = anchor_features, target_features
    if space is None:
        _refuse({"anchor-features": features[0], "target-features": features[1]}, "no --space")
    else:
        _refuse({"mode": mode != "mutual", "how": how != "inner"}, "--space")
    asked = {name: _by_side(name, value) for name, value in options.items()}
    tables = [
        read_and_report(path, side, {name: sides[k] for name, sides in asked.items()}, epoch)
        for k, (path, side) in enumerate(((anchor, "anchor"), (target, "target")))
    ]
    with user_mistakes():
        pairs = run(tables[0], tables[1], settings)
    if space is not None:
        pairs = _resolve(pairs, tables, (anchor, target), space, features)
    if centred is not None:
        for table, path, side in zip(tables, (anchor, target), ("anchor", "target"), strict=True):
            write_centred(table, location(path).parent, pairs, side, centred / f"{side}.parquet")
    write_table(join_catalogs(pairs, *tables) if join else pairs, out)
    _print_match(read_metadata(pairs.schema), out, json)


def _refuse(options: Mapping[str, Any], engine: str) -> None:
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"{', '.join(given)} cannot be used with {engine}")


def _resolve(
    candidates: pa.Table,
    tables: Sequence[pa.Table],
    paths: Sequence[str],
    space: str,
    features: Sequence[UPath | None],
) -> pa.Table:
    """Choose among candidates by position and by their images' posteriors in a space."""
    from catalogs.matching.appearance import appearance_ratios, resolve
    from galaxy_da.extraction.encoding import ExtractSettings
    from galaxy_da.extraction.pipeline import extract
    from galaxy_da.io.features import Features
    from galaxy_da.io.samples import Sample
    from galaxy_da.space import LatentSpace

    loaded = LatentSpace.load(space)
    settings = ExtractSettings(reconstruct=False, progress=True)
    anchor, target = (
        Features.open(folder)
        if folder is not None
        else extract(loaded, Sample(path), settings=settings)
        for folder, path in zip(features, paths, strict=True)
    )
    ratios = appearance_ratios(candidates, loaded, anchor, target)
    return resolve(candidates, tables[0], tables[1], ratios)


def _print_match(result: Mapping[str, Any], out: UPath, as_json: bool) -> None:
    for note in result.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print_result({"pairs": str(out), **result}, as_json)
        return
    unmatched = [
        f"{result[key]} {side}"
        for side in ("anchor", "target")
        if result.get(key := f"n_{side}_unmatched") is not None
    ]
    rows = f"{result['n_anchor']} anchor and {result['n_target']} target rows"
    summary = {
        "pairs": f"{out}: {result['n_pairs']} pairs of {rows}",
        "unmatched": f"{' and '.join(unmatched)} rows",
        "match": f"{result['mode']}, within {result['radius_arcsec']:g} arcsec",
    }
    if result.get("offset_east_arcsec") is not None:
        east, north, scatter = (result[f"offset_{k}_arcsec"] for k in ("east", "north", "scatter"))
        summary["offset"] = (
            f"{east:+.3f} arcsec east, {north:+.3f} arcsec north, scatter {scatter:.3f} arcsec"
        )
    if (chance := result.get("expected_false_pairs")) is not None:
        share = result["expected_false_share"]
        summary["chance pairs"] = f"{chance:.1f} expected ({share:.2%} of all)"
    print_result(summary, as_json)


def _by_side(name: str, value: str) -> tuple[str | None, str | None]:
    """Return an option's value for the anchor and the target, None where it is empty."""
    parts = [part.strip() or None for part in value.split(",")]
    if len(parts) > 2:
        raise typer.BadParameter(f"{name} takes one value or ANCHOR,TARGET, not {value!r}")
    return parts[0], parts[-1]

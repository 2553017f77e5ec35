"""Verbs of the core: surveys, extract, index, similar, distances, outliers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galaxy_da.cli import AsJson, Out, SurveyFiles, print_result, print_table
from galaxy_da.errors import LatentIndexError

__all__ = ["distances", "extract", "index", "outliers", "similar", "surveys"]

IndexPath = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder made by `index`.")]


def surveys(
    name: Annotated[str | None, typer.Argument(help="Show one survey in full.")] = None,
    file: Annotated[Path | None, typer.Option(help="Check a definition of your own.")] = None,
    json: AsJson = False,
) -> None:
    """List the surveys, show one, or check a definition file.

    A definition is TOML: name, title, pixel_scale_arcsec, flux_unit (nanomaggy, maggy, nJy, uJy,
    Jy, or count with zeropoint_mag) and one [[bands]] table per band with name, wavelength_nm,
    psf_fwhm_arcsec and depth_mag. `galaxy-da surveys hsc --json` prints every field.

    Example: galaxy-da surveys hsc
    """
    from galaxy_da.surveys import builtin_surveys, get_survey, load_survey

    if file is not None or name is not None:
        survey = load_survey(file) if file is not None else get_survey(str(name))
        print_result(survey.model_dump(mode="json"), json)
        return
    rows = {
        survey.name: f"{survey.title}: {','.join(survey.band_names)}, "
        f"{survey.pixel_scale_arcsec}″/px, {survey.flux_unit} (AB {survey.zeropoint_mag})"
        for survey in builtin_surveys().values()
    }
    print_result(rows, json)


def extract(
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")],
    sample: Annotated[Path, typer.Option(help="Sample table (Parquet) of cutouts.")],
    out: Out,
    survey_file: SurveyFiles = None,
    unadapted: Annotated[
        bool, typer.Option(help="Use the anchor's network where a survey has none of its own.")
    ] = False,
    reconstruct: Annotated[bool, typer.Option(help="Record the reconstruction error.")] = True,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    json: AsJson = False,
) -> None:
    """Extract the features of every cutout; run again to go on after a stop.

    Example: galaxy-da extract --space decals --sample decals/sample.parquet --out features/decals
    """
    from typing import cast

    import pyarrow.compute as pc

    from galaxy_da.devices import Precision
    from galaxy_da.extraction import extract as run
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey
    from galaxy_da.tables import Sample

    if precision not in ("auto", "fp32", "bf16"):
        raise typer.BadParameter(f"precision is auto, fp32 or bf16, not {precision!r}")
    features = run(
        LatentSpace.load(space),
        Sample(sample),
        out,
        surveys=[load_survey(path) for path in survey_file or []],
        unadapted=unadapted,
        precision=cast(Precision, precision),
        reconstruct=reconstruct,
        progress=True,
    )
    counts = pc.value_counts(features.table["status"]).to_pylist()
    print_result(
        {
            "features": str(out),
            "rows": features.table.num_rows,
            **{item["values"]: item["counts"] for item in counts},
        },
        json,
    )


def index(
    features: Annotated[list[Path], typer.Argument(help="Feature folders made by `extract`.")],
    out: Out,
    json: AsJson = False,
) -> None:
    """Index the features of one space, all surveys together.

    Example: galaxy-da index features/decals features/sdss --out index
    """
    from galaxy_da.features import Features
    from galaxy_da.index import LatentIndex

    built = LatentIndex.build([Features.open(path) for path in features])
    built.save(out)
    print_result({"index": str(out), "rows": len(built), "surveys": ", ".join(built.surveys)}, json)


def similar(
    index: IndexPath,
    id: Annotated[str | None, typer.Option(help="SURVEY:OBJECT_ID.")] = None,
    position: Annotated[
        tuple[float, float] | None, typer.Option(help="RA and Dec, ICRS degrees.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A FITS, JPEG or PNG cutout.")] = None,
    survey: Annotated[str | None, typer.Option(help="What --image is of: name or TOML.")] = None,
    space: Annotated[str | None, typer.Option(help="Latent space that encodes --image.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    within: Annotated[str | None, typer.Option("--in", help="Only this survey.")] = None,
    unadapted: Annotated[
        bool, typer.Option(help="Use the anchor's network where a survey has none of its own.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Find the galaxies most like one, given by id, position or image.

    Example: galaxy-da similar index --id sdss:1237648720693755918 -k 10 --in decals
    """
    from galaxy_da.index import LatentIndex

    opened = LatentIndex.open(index)
    if sum(value is not None for value in (id, position, image)) != 1:
        raise typer.BadParameter("give exactly one of --id, --position or --image")
    query: Any = id
    if position is not None:
        query = opened.at_position(*position)
    if image is not None:
        if survey is None or space is None:
            raise typer.BadParameter("--image needs --survey and --space")
        query = _encode_file(image, survey, space, unadapted, opened)
    print_table(opened.similar(query, k=k, survey=within), json)


def _encode_file(image: Path, survey: str, space: str, unadapted: bool, opened: Any) -> Any:
    """Encode one file as a query vector."""
    from galaxy_da.cutouts import read_image
    from galaxy_da.space import LatentSpace

    loaded = LatentSpace.load(space)
    opened.check_space(loaded.id)
    own = loaded.survey(survey)
    cutout = read_image(image, own)
    encoder = (
        loaded.unadapted(own, cutout.bands)
        if unadapted and own.name not in loaded.surveys
        else loaded.encoder(own.name)
    )
    prepared = encoder.prepare([cutout], loaded.frame)
    if prepared.problems[0] is not None:
        raise LatentIndexError(f"{image}: {prepared.problems[0][1]}")
    return loaded.encode(prepared.images, encoder).mean[0].numpy()


def distances(
    index: IndexPath,
    pairs: Annotated[Path, typer.Option(help="Pair table made by `crossmatch`.")],
    anchor: Annotated[str, typer.Option(help="Survey of anchor_id.")],
    target: Annotated[str, typer.Option(help="Survey of target_id.")],
    out: Annotated[Path | None, typer.Option(help="Write the table as Parquet.")] = None,
    json: AsJson = False,
) -> None:
    """Measure the latent distance of the same galaxies in two surveys.

    Example: galaxy-da distances index --pairs pairs.parquet --anchor decals --target sdss
    """
    from galaxy_da.index import LatentIndex
    from galaxy_da.tables import read_metadata, read_pairs, write_table

    table = LatentIndex.open(index).distances(read_pairs(pairs), anchor=anchor, target=target)
    if out is not None:
        write_table(table, out)
    summary = read_metadata(table.schema)
    print_result({**summary, **({"table": str(out)} if out else {})}, json)


def outliers(
    index: IndexPath,
    survey: Annotated[str | None, typer.Option(help="Only this survey.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 50,
    json: AsJson = False,
) -> None:
    """Rank the galaxies farthest from their neighbours.

    Example: galaxy-da outliers index --survey sdss -k 20
    """
    from galaxy_da.index import LatentIndex

    print_table(LatentIndex.open(index).outliers(survey=survey, k=k), json)

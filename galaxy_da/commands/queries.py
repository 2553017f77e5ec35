"""Verbs that ask an index: similar, same, distances, duplicates, outliers, rank, interpolate."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.commands.options import AsJson, Clean, Cone, IndexPath, OutFile, Where, user_mistakes
from galaxy_da.commands.printing import print_result, print_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from upath import UPath

    from galaxy_da.latent_index import LatentIndex
    from galaxy_da.space import LatentSpace

_Survey = Annotated[str | None, typer.Option("--survey", help="Only this survey.")]
_OutTable = Annotated["UPath | None", typer.Option("--out", help="Write the table as Parquet.")]


def similar(
    index: IndexPath,
    id: Annotated[str | None, typer.Option(help="Object, SURVEY:OBJECT_ID.")] = None,
    position: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Position to search by: RA and Dec, ICRS degrees."),
    ] = None,
    image: Annotated[
        UPath | None, typer.Option(help="Cutout to search by: FITS, JPEG or PNG.")
    ] = None,
    vector: Annotated[
        UPath | None,
        typer.Option(help="Latent vector to search by: .npy, or a text file of numbers."),
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(help="Example to resemble, SURVEY:OBJECT_ID; may repeat.")
    ] = None,
    dislike: Annotated[
        list[str] | None, typer.Option(help="Example to avoid, SURVEY:OBJECT_ID; may repeat.")
    ] = None,
    survey: Annotated[
        str | None, typer.Option(help="Survey of --image: built-in name or TOML file.")
    ] = None,
    stretch: Annotated[
        str | None, typer.Option(help="Stretch of a colour --image, if not the archive's own.")
    ] = None,
    pixel_scale: Annotated[
        float | None,
        typer.Option(
            min=1e-3, help="Pixel scale of --image [arcsec], if not its WCS's or the survey's."
        ),
    ] = None,
    space: Annotated[str | None, typer.Option(help="Latent space that encodes --image.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of results.")] = 10,
    within: Annotated[str | None, typer.Option("--in", help="Only this survey.")] = None,
    where: Where = None,
    cone: Cone = None,
    json: AsJson = False,
) -> None:
    """Find similar galaxies by id, position, image, latents or examples.

    Example: galaxy-da similar index --id sdss:1237648720693755918 -k 10 --in decals
    """
    from galaxy_da.index import Subset
    from galaxy_da.latent_index import LatentIndex

    opened = LatentIndex.open(index)
    if sum(value is not None for value in (id, position, image, vector, like or None)) != 1:
        raise typer.BadParameter(
            "give exactly one of --id, --position, --image, --vector or --like"
        )
    query: Any = id if id is not None else like
    if position is not None:
        query = opened.at_position(*position)
    if image is not None:
        if survey is None or space is None:
            raise typer.BadParameter("--image needs --survey and --space")
        from galaxy_da.commands.query_inputs import encode_file

        query = encode_file(
            image, survey, space, opened, stretch=stretch, pixel_scale_arcsec=pixel_scale
        )
    if vector is not None:
        from galaxy_da.commands.query_inputs import read_vector

        query = read_vector(vector)
    with user_mistakes():
        found = opened.similar(
            query,
            k=k,
            survey=within,
            dislike=dislike or (),
            within=Subset(where=where or (), cone=cone),
        ).table
    print_table(found, json)


def same(
    index: IndexPath,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Object, SURVEY:OBJECT_ID.")],
    radius: Annotated[float, typer.Option(min=0, help="Search radius [arcsec].")] = 1.0,
    space: Annotated[
        str | None, typer.Option(help="Latent space that gives match probabilities.")
    ] = None,
    prior: Annotated[
        float, typer.Option(help="Match probability before the images are compared.")
    ] = 0.5,
    where: Where = None,
    cone: Cone = None,
    json: AsJson = False,
) -> None:
    """Find a galaxy in other surveys by position and compare its images.

    Example: galaxy-da same index sdss:1237648720693755918 --radius 1
    """
    from galaxy_da.index import Subset
    from galaxy_da.latent_index import LatentIndex

    opened = LatentIndex.open(index)
    with user_mistakes():
        found = opened.same(
            key,
            radius,
            space=_space(space),
            prior=prior,
            within=Subset(where=where or (), cone=cone),
        ).table
    print_table(found, json)


def distances(
    index: IndexPath,
    pairs: Annotated[UPath, typer.Option(help="Pair table made by `crossmatch`.")],
    anchor: Annotated[str, typer.Option(help="Survey of the column anchor_id.")],
    target: Annotated[str, typer.Option(help="Survey of the column target_id.")],
    space: Annotated[
        str | None, typer.Option(help="Latent space that gives match probabilities.")
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(
            help="Match probability before the images are compared; by default from the crossmatch."
        ),
    ] = None,
    out: _OutTable = None,
    json: AsJson = False,
) -> None:
    """Measure the latent distances of the same galaxies in two surveys.

    Example: galaxy-da distances index --pairs pairs.parquet --anchor decals --target sdss
    """
    from galaxy_da.io.tables import read_metadata, read_pairs, write_table
    from galaxy_da.latent_index import LatentIndex

    opened, table = LatentIndex.open(index), read_pairs(pairs)
    with user_mistakes():
        table = opened.distances(
            table, anchor=anchor, target=target, space=_space(space), prior=prior
        ).table
    if out is not None:
        write_table(table, out)
    summary = read_metadata(table.schema)
    if not json:
        figures = r"n_pairs|n_missing|median_.*|ratio|auc|prior"
        summary = {key: value for key, value in summary.items() if re.fullmatch(figures, key)}
    print_result({**summary, **({"table": str(out)} if out else {})}, json)


def duplicates(
    index: IndexPath,
    survey: Annotated[str, typer.Option(help="Survey to search.")],
    arcsec: Annotated[
        float | None, typer.Option(help="Largest separation on the sky [arcsec].")
    ] = None,
    distance: Annotated[float | None, typer.Option(help="Largest latent distance.")] = None,
    clean: Clean = False,
    where: Where = None,
    cone: Cone = None,
    out: _OutTable = None,
    json: AsJson = False,
) -> None:
    """Group near-duplicates of a survey, on the sky, in latents or both.

    Example: galaxy-da duplicates index --survey sdss --arcsec 2
    """
    from galaxy_da.index import Subset
    from galaxy_da.latent_index import LatentIndex

    opened = LatentIndex.open(index)
    with user_mistakes():
        found = opened.duplicates(
            survey,
            arcsec=arcsec,
            distance=distance,
            within=Subset(where=where or (), cone=cone, clean=clean),
        ).table
    _write_or_print(found, out, json)


def outliers(
    index: IndexPath,
    survey: _Survey = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of results of each ranking.")] = 50,
    where: Where = None,
    cone: Cone = None,
    out: _OutTable = None,
    json: AsJson = False,
) -> None:
    """Rank bad data and strange galaxies, with the reasons.

    Example: galaxy-da outliers index --survey sdss -k 20
    """
    from galaxy_da.index import Subset
    from galaxy_da.latent_index import LatentIndex

    opened = LatentIndex.open(index)
    with user_mistakes():
        found = opened.outliers(survey, k, within=Subset(where=where or (), cone=cone)).table
    _write_or_print(found, out, json)


def rank(
    index: IndexPath,
    scores: Annotated[
        UPath, typer.Option(help="Parquet or CSV of survey, object_id and score (0 to 5).")
    ],
    out: OutFile,
    survey: _Survey = None,
    start: Annotated[
        UPath | None, typer.Option(help="Earlier ranking, to update instead of starting anew.")
    ] = None,
    where: Where = None,
    cone: Cone = None,
    json: AsJson = False,
) -> None:
    """Rank strange galaxies by a person's scores of some of them.

    Example: galaxy-da rank index --scores scores.csv --out ranking.parquet
    """
    from galaxy_da.commands.query_inputs import read_rows
    from galaxy_da.index import Subset
    from galaxy_da.io.tables import write_table
    from galaxy_da.latent_index import LatentIndex
    from galaxy_da.queries.ranking import rows_in

    opened, given = LatentIndex.open(index), read_rows(scores)
    before = None if start is None else read_rows(start)
    with user_mistakes():
        found = opened.rank(
            given,
            survey,
            start=before,
            within=Subset(where=where or (), cone=cone),
        ).table
    write_table(found, out)
    if unknown := int((rows_in(opened, given) < 0).sum()):
        told = f"{unknown} of {given.num_rows} scored galaxies are not in this index"
        print(f"note: {told}", file=sys.stderr)
    ranked = {"rows": found.num_rows, "scored": found.num_rows - found["score"].null_count}
    print_result({"ranking": str(out), **ranked}, json)


def interpolate(
    index: IndexPath,
    space: Annotated[str, typer.Option(help="Latent space whose decoder draws the images.")],
    out: Annotated[UPath, typer.Option(help="PNG file to write.")],
    plus: Annotated[
        list[str],
        typer.Option("--from", help="Galaxy to start from, SURVEY:OBJECT_ID; several are added."),
    ],
    minus: Annotated[
        list[str] | None,
        typer.Option("--minus", help="Galaxy to subtract, SURVEY:OBJECT_ID; may repeat."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Galaxy at the end, SURVEY:OBJECT_ID.")] = None,
    latent: Annotated[
        int | None, typer.Option(min=0, help="Number of the latent to change, from 0.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Number of images in the strip.")] = 9,
    reach: Annotated[float, typer.Option(help="Range of --latent [standard deviations].")] = 3.0,
    json: AsJson = False,
) -> None:
    """Decode images between two galaxies, along a latent, or of sums of latents.

    The command prints the galaxy nearest to each image.

    Example: galaxy-da interpolate index --space decals --from sdss:1 --to sdss:2 --out strip.png
    """
    from galaxy_da.latent_index import LatentIndex
    from galaxy_da.queries.interpolation import draw_strip, write_strip
    from galaxy_da.space import LatentSpace

    opened, loaded = LatentIndex.open(index), LatentSpace.load(space)
    opened.check_space(loaded.id)
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{out}: is to be a PNG file; give it a name ending in .png")
    if to is not None and latent is not None:
        raise typer.BadParameter("give --to or --latent, not both")
    if (to is not None or latent is not None) and (len(plus) > 1 or minus):
        raise typer.BadParameter("--to and --latent start --from one galaxy")
    with user_mistakes():
        if to is not None:
            points = opened.between(plus[0], to, steps)
        elif latent is not None:
            points = opened.along(plus[0], latent, steps, reach)
        else:
            points = opened.combine(plus, minus or ())
        write_strip(draw_strip(loaded, points), out)
    print_table(_nearest(opened, points), json)


def _nearest(opened: LatentIndex, points: np.ndarray) -> pa.Table:
    """Say which object is nearest to each of some points of the space."""
    import numpy as np

    apart, rows = opened.search(points[:, : opened.dimension], 1)
    table = opened.take(rows[:, 0], ["survey", "object_id"])
    step = np.arange(1, len(points) + 1, dtype=np.int32)
    return table.append_column("distance", [apart[:, 0]]).add_column(0, "step", [step])


def _space(name: str | None) -> LatentSpace | None:
    if name is None:
        return None
    from galaxy_da.space import LatentSpace

    return LatentSpace.load(name)


def _write_or_print(table: pa.Table, out: UPath | None, json: bool) -> None:
    from galaxy_da.io.tables import write_table

    if out is None:
        print_table(table, json)
        return
    write_table(table, out)
    print_result({"table": str(out), "rows": table.num_rows}, json)

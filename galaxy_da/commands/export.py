"""Verb: export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath


def export(
    features: Annotated[
        list[UPath],
        typer.Argument(metavar="FEATURES...", help="Feature folders made by `extract`."),
    ],
    out: Annotated[
        UPath,
        typer.Option(help="NAME.fits, .vot, .parquet or .reg (DS9), or NAME for a HATS folder."),
    ],
    latents: Annotated[
        bool, typer.Option(help="Also write the latents and their variances.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Export features as a catalogue with descriptions, units, UCDs and provenance.

    Several folders become one catalogue, if they were extracted with one space.

    Example: galaxy-da export features/sdss --out sdss-morphology.fits --no-latents
    """
    from galaxy_da.io.catalogue_output import write_catalogue
    from galaxy_da.io.features import Features
    from galaxy_da.io.positions import are_positions
    from galaxy_da.io.provenance import join_features, provenance, with_provenance

    joined, warnings = join_features([Features.open(path) for path in features])
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    table = with_provenance(joined.table, provenance(joined))
    if not latents:
        vectors = [
            name for name in ("embedding", "variance", "nuisance") if name in table.column_names
        ]
        table = table.drop_columns(vectors)
    kind = write_catalogue(table, out)
    n = table.num_rows
    n_placed = int(are_positions(table["ra"].to_numpy(), table["dec"].to_numpy()).sum())
    left_out = (
        {"left_out": n - n_placed} if kind in ("HATS", "DS9 regions") and n_placed < n else {}
    )
    print_result(
        {
            "catalogue": str(out),
            "format": kind,
            "rows": n - left_out.get("left_out", 0),
            **left_out,
            "columns": table.num_columns,
        },
        json,
    )

"""Read the catalogues that verbs are given, and report how they were read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.commands.options import user_mistakes

if TYPE_CHECKING:
    import pyarrow as pa

    from galaxy_da.io.storage import PathOrUrl

RaColumn = Annotated[str | None, typer.Option("--ra", help="Column of the right ascension.")]
DecColumn = Annotated[str | None, typer.Option("--dec", help="Column of the declination.")]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column of the ids.")]
RaUnit = Annotated[
    str | None,
    typer.Option("--unit", help="Unit of the right ascension: deg, hourangle or rad."),
]
PositionFrame = Annotated[
    str | None,
    typer.Option("--frame", help="Frame of the positions, where the file does not say."),
]

_FIELDS = {
    "id": "object_id", "error": "position_error", "error-unit": "position_error_unit",
    "reference-epoch": "reference_epoch",
}  # fmt: skip


def read_and_report(
    path: PathOrUrl,
    side: str,
    asked: Mapping[str, str | None] | None = None,
    epoch: float | None = None,
) -> pa.Table:
    """Read a catalogue, the `side` of a match, and tell on stderr what it was taken for.

    `asked` holds the options ``ra``, ``dec``, ``id``, ``unit``, ``frame``, ``table``, ``error``,
    ``error-unit`` and ``reference-epoch``; positions are moved to `epoch` [Julian year].
    """
    from catalogs.reading import read_catalog
    from catalogs.reading.catalogue import words_of
    from galaxy_da.io.storage import location
    from galaxy_da.io.tables import read_metadata

    options: dict[str, Any] = {_FIELDS.get(k, k): value for k, value in (asked or {}).items()}
    if year := options.get("reference_epoch"):
        try:
            options["reference_epoch"] = float(year)
        except ValueError:
            raise typer.BadParameter(
                f"reference-epoch is a Julian year such as 2016.0, not {year!r}"
            ) from None
    with user_mistakes():
        table = read_catalog(path, epoch=epoch, **options)
    read = read_metadata(table.schema)["catalog"]
    name = location(path).name
    as_expected = all(made == found for made, found in read["columns"].items())
    if not (as_expected and set(read["units"].values()) == {"deg"} and read["frame"] == "icrs"):
        print(f"{side}: {name}: {words_of(read)}", file=sys.stderr)
    for note in read["notes"]:
        print(f"{side}: {name}: {note}", file=sys.stderr)
    return table

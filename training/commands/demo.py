"""Verb: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all results.")] = Path("demo"),
    n: Annotated[int, typer.Option("--n", min=200, help="Number of galaxies.")] = 3000,
    seed: Annotated[int, typer.Option(help="Random seed of the sky.")] = 1,
    json: AsJson = False,
) -> None:
    """Run the whole job on real and simulated galaxies, printing each command.

    Example: galaxy-da demo --out demo
    """
    from training.demo import demo as run

    result = run(out, n=n, seed=seed, as_json=json)
    if json:
        print_result(result, json)

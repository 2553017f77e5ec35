"""Measure surveys by definition, and `adapt`, on five skies: `python -m benchmarks.adaptation`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from upath import UPath

from galaxy_da.cli import run_function
from galaxy_da.commands.options import AsJson, OutFolder
from galaxy_da.commands.printing import print_result


def benchmark(
    out: OutFolder,
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals'.")] = "decals",
    seeds: Annotated[str, typer.Option(help="Seeds, by commas; one sky each.")] = "1,2,3,4,5",
    targets: Annotated[
        str,
        typer.Option(
            help="Surveys, by name or TOML file; kids2 is KiDS in g and r, small-telescope and "
            "space-telescope are two that no training knows."
        ),
    ] = "sdss,bass-mzls,hsc,kids2,euclid-vis",
    wrong: Annotated[
        str,
        typer.Option(
            help="Measure with wrong definitions, by commas: psf+30, psf-30, zeropoint+0.1, "
            "zeropoint-0.1, zeropoint+0.3, zeropoint-0.3, band+40, correlated-noise, sky-residual, "
            "stretch, missing-band; or all."
        ),
    ] = "",
    n: Annotated[int, typer.Option(help="Galaxies observed by every survey.")] = 2000,
    pool: Annotated[int, typer.Option(help="Galaxies searched for the match.")] = 10_000,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods to measure, by commas, such as 'by definition,adapt'; all by default."
        ),
    ] = None,
    scenes: Annotated[
        UPath | None, typer.Option(help="Sample table of real images to simulate from.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Largest number of fine-tuning steps of adapt.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure surveys by definition and adapted. Run it again to resume after a stop.

    Example: python -m benchmarks.adaptation --out bench --seeds 1 --targets sdss --n 400
    """
    from pydantic import ValidationError

    from benchmarks.adaptation.faults import FAULTS
    from benchmarks.adaptation.run import run_benchmark
    from benchmarks.adaptation.settings import BenchmarkSettings
    from benchmarks.adaptation.tables import write_tables
    from galaxy_da.io.staging import staged_folder
    from galaxy_da.space import LatentSpace

    chosen = None if methods is None else _split(methods)
    try:
        settings = BenchmarkSettings(
            seeds=tuple(int(seed) for seed in _split(seeds)),
            targets=_split(targets),
            wrong=tuple(FAULTS) if wrong == "all" else _split(wrong),
            galaxies=n,
            pool=pool,
            small_pool=min(1000, pool),
            methods=chosen,
            steps=steps,
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(item["msg"] for item in error.errors())) from error
    except ValueError as error:
        raise typer.BadParameter(f"--seeds must be whole numbers ({error})") from error
    with staged_folder(out) as folder:
        try:
            results = run_benchmark(
                LatentSpace.load(space), settings, folder, scenes=scenes, progress=True
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        paths = write_tables(folder, results)
    failed = sum("error" in result for result in results)
    named = {name: str(out / path.name) for name, path in paths.items()}
    print_result({"results": len(results), "not_measured": failed, **named}, json)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


if __name__ == "__main__":
    sys.exit(run_function(benchmark, "python -m benchmarks.adaptation"))

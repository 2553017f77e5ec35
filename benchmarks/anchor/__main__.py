"""``python -m benchmarks.anchor``: report on the anchor of a space, on one page.

It needs a latent space and a sample table of its anchor survey, and takes a table of labels.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from upath import UPath

from galaxy_da.cli import run_function
from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result

__all__ = ["report_anchor"]


def report_anchor(
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")],
    sample: Annotated[UPath, typer.Option(help="Sample table of the anchor survey.")],
    out: Annotated[UPath, typer.Option(help="Folder for anchor.html and anchor.json.")],
    labels: Annotated[
        UPath | None, typer.Option(help="Parquet table of labels or truth, for random forests.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column or question of --labels; by default all that are recognised."),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Another space of the same frame, for rate and distortion; may repeat."),
    ] = None,
    drawn: Annotated[
        UPath | None,
        typer.Option(help="Latents drawn by another model (.npy), to compare with ours."),
    ] = None,
    limit: Annotated[int, typer.Option(min=20, help="Largest number of galaxies.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    json: AsJson = False,
) -> None:
    """Report on the anchor of a space: one page of pictures and figures.

    Example: python -m benchmarks.anchor --space decals --sample sky/decals/sample.parquet
    --labels sky/truth.parquet --out report
    """
    from benchmarks.anchor import AnchorReportSettings, read_drawn, write_anchor_report
    from galaxy_da.io.files import write_json
    from galaxy_da.io.samples import Sample
    from galaxy_da.io.storage import location
    from galaxy_da.io.tables import read_table
    from galaxy_da.space import LatentSpace

    if column and labels is None:
        raise typer.BadParameter("--column names columns of --labels; give both")
    figures = write_anchor_report(
        out / "anchor.html",
        LatentSpace.load(space),
        Sample(sample),
        AnchorReportSettings(
            title=f"The {location(space).name} space",
            labels=read_table(labels) if labels else None,
            columns=tuple(column or ()),
            others={name: LatentSpace.load(path) for name, path in _titles(compare or ())},
            drawn=read_drawn(drawn) if drawn else None,
            limit=limit,
            seed=seed,
        ),
    )
    write_json(out / "anchor.json", figures)
    if json:
        print_result({"report": str(out / "anchor.html"), **figures}, json)
    else:
        print_result(_summary(out / "anchor.html", figures), json)


def _titles(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each path with its folder name, or with itself if folders share a name."""
    from galaxy_da.io.storage import location

    names = [location(path).name for path in paths]
    return list(zip(names if len(set(names)) == len(names) else paths, paths, strict=True))


def _summary(page: UPath, figures: Mapping[str, Any]) -> dict[str, str]:
    rebuilt, latents = figures["reconstruction"], figures["latents"]
    lines = {
        "report": str(page),
        "galaxies": f"{figures['galaxies']:,}",
        "reconstruction": f"PSNR {rebuilt['psnr']:.2f} dB, SSIM {rebuilt['ssim']:.3f}, "
        f"MSE {rebuilt['mse']:.4f}",
        "latents": f"{latents['active']} of {latents['count']} in use, "
        f"{latents['kl_total_nat']:.1f} nat per galaxy",
        "sky": ", ".join(
            f"{s['band']} {100 * s['residual_over_noise']:+.2f}%" for s in rebuilt["sky"]
        )
        + " of the noise",
        "drawn": ", ".join(f"{name} {auc:.3f}" for name, auc in figures["samples_auc"].items())
        + " (AUC against real)",
    }
    for answer in figures["answers"]:
        score = answer["scores"]["galaxy"]
        lines[answer["question"]] = (
            f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        )
    return lines


if __name__ == "__main__":
    sys.exit(run_function(report_anchor, "python -m benchmarks.anchor"))

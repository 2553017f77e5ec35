"""Measure adaptation on real surveys.

``python -m benchmarks.real.surveys --data DATA --out DIR`` classifies Galaxy Zoo's images across
surveys without pairs (`benchmarks.real.transfer`), and ranks real pairs among real galaxies
(`benchmarks.real.ranks`). It needs DATA, the folder of the real images. The images are few, so
every figure has an interval or is listed for each galaxy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real.ranks import adapt_on_simulated_sky, rank_rows
from benchmarks.real.transfer import read_labelled, transfer_rows
from benchmarks.support.commands import command_parser
from galaxy_da.io.files import atomic_path, ensure_folder, write_json
from galaxy_da.space import LatentSpace

__all__ = ["GUIDE_SURVEYS", "RealSurveySettings", "markdown", "measure_real_surveys"]

GUIDE_SURVEYS = ("decals", "sdss", "kids", "ukidss")

PARTS = ("transfer", "ranks")

_FILES = (
    "galaxy_zoo_guide.parquet",
    "sdss_galaxy_zoo1.parquet",
    "sdss_spirals.parquet",
    "kids_sdss_fits",
    "pairs.csv",
)


@dataclass(frozen=True, kw_only=True)
class RealSurveySettings:
    """Settings of `measure_real_surveys`.

    Attributes
    ----------
    parts : sequence of str
        Parts to measure, of `PARTS`.
    galaxies : int
        Number of galaxies of the simulated sky.
    distractors : int
        Number of real SDSS galaxies beside the partners.
    gz1_images : int
        Number of Galaxy Zoo 1 images of SDSS.
    scenes : Path, optional
        Sample table of real images to use as galaxies of the simulated sky; by default galaxies are
        drawn.
    steps : int, optional
        Largest number of fine-tuning steps.
    seed : int
        Seed of every random choice.
    """

    parts: Sequence[str] = PARTS
    galaxies: int = 2000
    distractors: int = 3000
    gz1_images: int = 1000
    scenes: Path | None = None
    steps: int | None = None
    seed: int = 0


def measure_real_surveys(
    space: LatentSpace, data: Path, out: Path, settings: RealSurveySettings | None = None
) -> dict[str, Any]:
    """Measure, and write ``real_surveys.json`` and ``real_surveys.md``.

    Parameters
    ----------
    space : LatentSpace
        Space to adapt; see `adapt_on_simulated_sky`.
    data : Path
        Folder of the real images; parts whose images are missing are skipped with a reason.
    out : Path
        Folder of the results, the simulated sky and the adapted space.
    settings : RealSurveySettings, optional
        Parts, numbers of images and seed.
    """
    settings = settings or RealSurveySettings()
    seed = settings.seed
    ensure_folder(out)
    lacking = [name for name in _FILES if not (data / name).exists()]
    result: dict[str, Any] = {"space": space.id, "seed": seed, "skipped": {}}
    for part, needed in (("transfer", _FILES[:2]), ("ranks", _FILES)):
        missing = [name for name in needed if name in lacking]
        if part not in settings.parts:
            continue
        if missing:
            result["skipped"][part] = f"{data} lacks {', '.join(missing)}"
        elif part == "transfer":
            labelled = read_labelled(space, data, GUIDE_SURVEYS, settings.gz1_images, seed)
            result |= transfer_rows(labelled, space.anchor, seed)
        else:
            scenes, galaxies = settings.scenes, settings.galaxies
            adapted = adapt_on_simulated_sky(
                space, out, galaxies, seed, scenes=scenes, steps=settings.steps
            )
            result["adapted"] = {
                name: adapted.encoder(name).record["chosen"]
                for name in adapted.surveys
                if name != adapted.anchor
            }
            result["sky"] = {"galaxies": galaxies, "scenes": scenes and scenes.name}
            result |= rank_rows(adapted, data, settings.distractors, seed)
        write_json(out / "real_surveys.json", result)
        with atomic_path(out / "real_surveys.md") as path:
            path.write_text(markdown(result), encoding="utf-8")
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "# Real surveys"
    for part, reason in result["skipped"].items():
        yield f"\nSkipped, {part}: {reason}."
    if "transfer" in result:
        yield from _transfer_lines(result)
    if "ranks" in result:
        yield from _rank_lines(result)


def _transfer_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Galaxy Zoo's classes across surveys, no pairs\n"
    yield "AUC of a classifier of survey and anchor latents (0.5: mixed, 1: separated).\n"
    yield from _table(
        ("survey", "smooth", "featured", "map chosen", "un-adapted", "moments", "covariances"),
        [
            (
                row["survey"] + ("" if row["enough"] else " (too few of one class)"),
                row["smooth"],
                row["featured"],
                row.get("chosen", "anchor"),
                *(
                    _number(row.get(f"domain_auc_{name}"))
                    for name in ("unadapted", "moments", "covariances")
                ),
            )
            for row in result["surveys"]
        ],
    )
    for measure, title in (("auc", "AUC"), ("macro_f1", "macro-F1")):
        yield f"\n{title}, trained in one survey and tested in another; 95% interval over images.\n"
        yield from _table(
            ("trained", "tested", "map", title, "gain", "in-domain", "gap closed"),
            [
                (
                    row["trained"],
                    row["tested"],
                    row["map"],
                    _with_interval(row, measure),
                    "" if row["map"] == "unadapted" else _with_interval(row, f"{measure}_gain"),
                    _with_interval(row, f"{measure}_in_domain"),
                    ""
                    if row["map"] == "unadapted"
                    else _number(row[f"{measure}_gap_closed"], "no significant gap"),
                )
                for row in result["transfer"]
            ],
        )
    yield (
        "\n`by discrepancy` is the map with the smallest held-out MMD to the anchor. "
        "`galaxy-da adapt` chooses so without pairs, but needs 200 images of either survey. A gain "
        "whose interval includes 0 is not significant. Intervals are over the test images; "
        "training images are not resampled."
    )


def _rank_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Real pairs among real SDSS galaxies\n"
    chosen = ", ".join(f"{name} {kind}" for name, kind in result["adapted"].items())
    sky = result["sky"]
    galaxies = "real scenes" if sky["scenes"] else "drawn galaxies"
    yield f"Adapted on a simulated sky of {sky['galaxies']} {galaxies}: {chosen}.\n"
    yield from _table(
        ("group", "pairs", "pool", "median before", "after", "better", "worse", "p-value"),
        [
            (
                row["group"],
                row["pairs"],
                row["pool"],
                f"{row['median_before']:g}",
                f"{row['median_after']:g}",
                row["better"],
                row["worse"],
                _number(row["chance"], "too few"),
            )
            for row in result["groups"]
        ],
    )
    yield ""
    yield from _table(
        ("pair", "pool", "rank before", "rank after"),
        [(row["pair"], row["pool"], row["before"], row["after"]) for row in result["ranks"]],
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _number(value: float | None, otherwise: str = "") -> str:
    return otherwise if value is None else f"{value:.3f}"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the page."""
    parser = command_parser("real.surveys", __doc__)
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--n", type=int, default=2000, help="galaxies of the simulated sky")
    parser.add_argument("--distractors", type=int, default=3000, help="real SDSS galaxies")
    parser.add_argument("--gz1", type=int, default=1000, help="Galaxy Zoo 1 images")
    parser.add_argument("--scenes", type=Path, help="real images as galaxies of the simulated sky")
    parser.add_argument("--steps", type=int, help="largest number of fine-tuning steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    options = parser.parse_args(arguments)
    settings = RealSurveySettings(
        parts=options.parts,
        galaxies=options.n,
        distractors=options.distractors,
        gz1_images=options.gz1,
        scenes=options.scenes,
        steps=options.steps,
        seed=options.seed,
    )
    space = LatentSpace.load(options.space)
    result = measure_real_surveys(space, options.data, options.out, settings)
    sys.stdout.write(markdown(result))


if __name__ == "__main__":
    main()

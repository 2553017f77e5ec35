"""``python -m benchmarks.real.surveys``: adaptation measured on real surveys.

Galaxy Zoo's answers across surveys without pairs (`benchmarks.real.transfer`), and real
pairs by rank among real galaxies (`benchmarks.real.ranks`). The images are few: every
figure comes with its interval or its list, and the page says what they cannot tell.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.real.ranks import adapt_on_simulated_sky, rank_rows
from benchmarks.real.transfer import read_labelled, transfer_rows
from galaxy_da.io.files import atomic_path, ensure_folder, write_json
from galaxy_da.space import LatentSpace

__all__ = ["GUIDE_SURVEYS", "markdown", "measure_real_surveys"]

GUIDE_SURVEYS = ("decals", "sdss", "kids", "ukidss")

PARTS = ("transfer", "ranks")

_FILES = (
    "galaxy_zoo_guide.parquet",
    "sdss_galaxy_zoo1.parquet",
    "sdss_spirals.parquet",
    "kids_sdss_fits",
    "pairs.csv",
)


def measure_real_surveys(
    space: LatentSpace,
    data: Path,
    out: Path,
    *,
    parts: Sequence[str] = PARTS,
    galaxies: int = 2000,
    distractors: int = 3000,
    gz1_images: int = 1000,
    scenes: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure, and write ``real_surveys.json`` and ``real_surveys.md``.

    Parameters
    ----------
    space : LatentSpace
        Whose anchor surveys are adapted to; see `adapt_on_simulated_sky`.
    data : Path
        Folder of the real images; what is not there is skipped, and said so.
    out : Path
        Folder; the simulated sky and the adapted space are kept there.
    parts : sequence of str
        Which of `PARTS`.
    galaxies : int
        Of the simulated sky.
    distractors : int
        Real SDSS galaxies beside the partners.
    gz1_images : int
        Galaxy Zoo 1 images of SDSS.
    scenes : Path, optional
        Sample table of real images that are the galaxies of the simulated sky; drawn by default.
    steps : int, optional
        Most refining steps.
    seed : int
        Of everything.
    """
    ensure_folder(out)
    lacking = [name for name in _FILES if not (data / name).exists()]
    result: dict[str, Any] = {"space": space.id, "seed": seed, "skipped": {}}
    for part, needed in (("transfer", _FILES[:2]), ("ranks", _FILES)):
        missing = [name for name in needed if name in lacking]
        if part not in parts:
            continue
        if missing:
            result["skipped"][part] = f"{data} lacks {', '.join(missing)}"
        elif part == "transfer":
            labelled = read_labelled(space, data, GUIDE_SURVEYS, gz1_images, seed)
            result |= transfer_rows(labelled, space.anchor, seed)
        else:
            adapted = adapt_on_simulated_sky(space, out, galaxies, seed, scenes=scenes, steps=steps)
            result["adapted"] = {
                name: adapted.encoder(name).record["chosen"]
                for name in adapted.surveys
                if name != adapted.anchor
            }
            result["sky"] = {"galaxies": galaxies, "scenes": scenes and scenes.name}
            result |= rank_rows(adapted, data, distractors, seed)
        write_json(out / "real_surveys.json", result)
        with atomic_path(out / "real_surveys.md") as path:
            path.write_text(markdown(result), encoding="utf-8")
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """Return the page that is read."""
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
    yield "\n## Galaxy Zoo's answers across surveys, no pairs\n"
    yield "AUC of a classifier that tells a survey's latents from the anchor's (0.5: mixed).\n"
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
        yield f"\n{title}, taught in one survey, asked in another; 95% interval over test images.\n"
        yield from _table(
            ("taught", "tested", "map", title, "gain", "in-domain", "gap closed"),
            [
                (
                    row["taught"],
                    row["tested"],
                    row["map"],
                    _with_interval(row, measure),
                    "" if row["map"] == "unadapted" else _with_interval(row, f"{measure}_gain"),
                    _with_interval(row, f"{measure}_in_domain"),
                    ""
                    if row["map"] == "unadapted"
                    else _number(row[f"{measure}_gap_closed"], "no gap beyond doubt"),
                )
                for row in result["transfer"]
            ],
        )
    yield (
        "\n`by discrepancy` is the map whose held-out latents have the smallest mean discrepancy "
        "from the anchor's: what `galaxy-da adapt` does without pairs where there are 200 images "
        "or more of either survey, and refuses to do with as few as these. Where the interval of "
        "a gain holds 0, these images cannot tell. Intervals are over the images tested on; those "
        "that taught are not drawn again."
    )


def _rank_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Real pairs among real SDSS galaxies\n"
    chosen = ", ".join(f"{name} {kind}" for name, kind in result["adapted"].items())
    sky = result["sky"]
    galaxies = "real scenes" if sky["scenes"] else "drawn galaxies"
    yield f"Adapted on a simulated sky of {sky['galaxies']} {galaxies}: {chosen}.\n"
    yield from _table(
        ("group", "pairs", "pool", "median before", "after", "better", "worse", "chance"),
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.surveys")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--n", type=int, default=2000, help="galaxies of the simulated sky")
    parser.add_argument("--distractors", type=int, default=3000, help="real SDSS galaxies")
    parser.add_argument("--gz1", type=int, default=1000, help="Galaxy Zoo 1 images")
    parser.add_argument("--scenes", type=Path, help="real images as galaxies of the simulated sky")
    parser.add_argument("--steps", type=int, help="most refining steps")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    given = parser.parse_args(arguments)
    result = measure_real_surveys(
        LatentSpace.load(given.space),
        given.data,
        given.out,
        parts=given.parts,
        galaxies=given.n,
        distractors=given.distractors,
        gz1_images=given.gz1,
        scenes=given.scenes,
        steps=given.steps,
        seed=given.seed,
    )
    sys.stdout.write(markdown(result))


if __name__ == "__main__":
    main()

"""Recall of short trainings of the anchor: against data, and against the size of the network.

``python -m benchmarks.anchor_scaling --scenes TABLE ... --sky SKY --out OUT`` trains versions of
the recipe `anchor` for some minutes each, on parts of one training sky. Galaxies of another sky are
found again by definition: by all latents with north up, and by galaxy latents with a rotated
camera. Run it again to resume. These trainings stop early, so only their differences count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.adaptation.settings import benchmark_survey
from benchmarks.support.commands import command_parser
from benchmarks.support.observations import as_cutouts
from benchmarks.support.tables import print_rows
from catalogs.simulation.sky import SkySettings, sky_chunks
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.storage import exists
from galaxy_da.space import LatentSpace
from training.anchor.recipe import AnchorRecipe
from training.anchor.run import train_anchor
from training.recipe_files import validated

_SURVEYS = ("decals", "sdss", "hsc")
_SEED, _POOL = 606, 1000  # of the sky to search
_NETWORKS = {  # widths and residual blocks of the stages
    "half as wide": ((16, 32, 64), (1, 1, 1)),
    "narrow and deep": ((24, 48, 96), (2, 2, 2)),
    "half again as wide": ((48, 96, 192), (1, 1, 1)),
}


def variants(steps: int, batch: int, most: int) -> dict[str, AnchorRecipe]:
    """Return the recipes: with a sixteenth, a quarter and all of `most` galaxies; then networks."""
    shipped = validated("anchor", AnchorRecipe)
    schedule = shipped.schedule.model_copy(update={"steps": steps, "batch": batch})
    base = shipped.model_copy(update={"schedule": schedule})
    found = {
        f"{n} galaxies": base.model_copy(update={"galaxies": n})
        for n in (most // 16, most // 4, most)
    }
    for name, (widths, blocks) in _NETWORKS.items():
        sizes = base.architecture.model_copy(update={"widths": widths, "blocks": blocks})
        found[name] = base.model_copy(update={"galaxies": most, "architecture": sizes})
    return found


def observed_inputs(space: LatentSpace, n: int, seed: int = _SEED) -> dict[str, Inputs]:
    """Prepare n galaxies by definition, by observation: the anchor's, again, and others'."""
    surveys = [benchmark_survey(name) for name in _SURVEYS]
    parts: dict[str, list[Inputs]] = {}
    for chunk in sky_chunks(surveys, SkySettings(seed=seed, rotated=True), n):
        for name, one in chunk.observations.items():
            bands = [band.name for band in one.bands]
            encoder = space.by_definition(one.survey, bands)
            cutouts = as_cutouts(one.flux, bands, one.survey)
            parts.setdefault(name, []).append(encoder.prepare(cutouts, space.frame).inputs)
    return {name: Inputs.join(some) for name, some in parts.items()}


def recalls(space: LatentSpace, inputs: Mapping[str, Inputs]) -> dict[str, float]:
    """Return recall@1 of each observation among those of the anchor, and the time of encoding."""
    begun = time.perf_counter()
    latents = {name: space.encode(one, space.anchor).mean.numpy() for name, one in inputs.items()}
    microseconds = 1e6 * (time.perf_counter() - begun) / sum(map(len, inputs.values()))
    pool = latents.pop(space.anchor)
    found = {}
    for name, own in latents.items():
        width = space.galaxy_latents if name.endswith("-rotated") else pool.shape[1]
        ranks = match_ranks(own[:, :width], pool[:, :width])
        found[name] = recall_of(ranks, len(pool)).recall_at_1
    return {**found, "encode_us": microseconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the table."""
    parser = command_parser("anchor_scaling", __doc__)
    parser.add_argument("--scenes", nargs="+", type=Path, required=True, help="sample tables")
    parser.add_argument("--sky", type=Path, required=True, help="folder of the training sky")
    parser.add_argument("--out", type=Path, required=True, help="folder of the spaces")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--galaxies", type=int, default=32768, help="galaxies of the largest part")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw the sky")
    given = parser.parse_args(arguments)
    inputs: dict[str, Inputs] = {}
    rows: list[dict[str, Any]] = []
    for name, recipe in variants(given.steps, given.batch, given.galaxies).items():
        folder = given.out / name.replace(" ", "-")
        if not exists(folder / "space.json"):
            train_anchor(
                recipe, folder, scenes=given.scenes, sky=given.sky, processes=given.processes,
                progress=True,
            )  # fmt: skip
        space = LatentSpace.load(folder)
        inputs = inputs or observed_inputs(space, _POOL)
        rows.append({"training": name, **recalls(space, inputs)})
    print_rows(f"Recall@1 among {_POOL}, by definition, after {given.steps} steps", rows)


if __name__ == "__main__":
    main()

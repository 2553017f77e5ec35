"""Measure the domain score, and the errors of inferred magnitudes, on a sky of another seed.

``python -m benchmarks.domain SKY [--scenes FOLDER] [--galaxies N] [--seed S] [--space SPACE]``
draws a sky as for the training into the folder SKY, or takes the one that it holds. It prints the
share outside the domain of its galaxies, and of each kind of image that is none; and how far
inferred r is from the truth. FOLDER has the tables of `benchmarks.real.training_scenes`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.errors import SpaceError
from galaxy_da.extraction.checks import MAGNITUDE, domain_scores
from galaxy_da.space import LatentSpace
from training.anchor.images import TrainingSky
from training.anchor.recipe import AnchorRecipe
from training.anchor.sky import draw_sky
from training.readings.fit import domain_rows
from training.readings.sky import KIND_NAMES, Summarised, summarise_kind, summarise_sky

_IMAGES = 700  # of each kind
_EDGES = (11.0, 16.0, 18.0, 20.0, 22.5)  # r [mag]
_MAG = 0.15


def kind_rows(
    space: LatentSpace, sky: TrainingSky, galaxies: Summarised, seed: int
) -> list[dict[str, Any]]:
    """Return the share outside the domain of galaxies, and of images of each kind."""
    assert space.domain is not None
    rng = np.random.default_rng(seed)
    bright = np.argsort(sky.truth["r_mag"].to_numpy(), kind="stable")
    outside = {}
    for name in KIND_NAMES:
        rows = bright if name == "large" else rng.permutation(len(sky))
        rows = rows[: (3 if name in ("star", "blank", "large") else 1) * _IMAGES]  # some do not do
        outside[name] = summarise_kind(space, sky, rows, name, seed)
    return domain_rows(space.domain, space.frame, galaxies.values, outside)


def magnitude_rows(
    space: LatentSpace, sky: TrainingSky, galaxies: Summarised
) -> list[dict[str, Any]]:
    """Return the shares of inferred r within 0.15 mag and within two errors of the truth.

    The galaxies lie inside the domain.
    """
    assert space.domain is not None
    (probe,) = (probe for probe in space.probes if probe.name == MAGNITUDE)
    found = probe.predict(galaxies.values)
    truth = sky.truth["r_mag"].to_numpy()[galaxies.rows]
    use = ~domain_scores(space.domain, galaxies.values, space.frame).outside & found.informative
    off = np.abs(found.value - truth)
    rows = []
    for low, high in pairwise(_EDGES):
        some = use & (truth >= low) & (truth < high)
        rows.append(
            {
                "r": f"{low:g} to {high:g}",
                "galaxies": int(some.sum()),
                "median error": float(np.median(found.error[some])),
                f"within {_MAG} mag": float((off <= _MAG)[some].mean()),
                "within 2 errors": float((off <= 2 * found.error)[some].mean()),
            }
        )
    return rows


def main() -> None:
    """Print the tables."""
    parser = command_parser("domain", __doc__)
    parser.add_argument("sky", type=Path, help="folder of the sky")
    parser.add_argument("--scenes", type=Path, help="folder of the tables of real galaxies")
    parser.add_argument("--galaxies", type=int, default=3072)
    parser.add_argument("--seed", type=int, default=901)
    parser.add_argument("--space", default="decals")
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    if space.domain is None:
        raise SpaceError(f"{given.space}: has no domain; fit it by `python -m training.readings`")
    recipe = AnchorRecipe.model_validate(space.training["recipe"])
    recipe = recipe.model_copy(update={"galaxies": given.galaxies, "seed": given.seed})
    names = space.training["scenes"] if given.scenes else ()
    sky = draw_sky(recipe, [given.scenes / name for name in names], given.sky)
    galaxies = summarise_sky(space, sky, np.arange(len(sky)), given.seed)
    print_rows("Share outside the domain", kind_rows(space, sky, galaxies, given.seed))
    print_rows("Inferred r", magnitude_rows(space, sky, galaxies))


if __name__ == "__main__":
    main()

"""Encode real cutouts by the definition of their survey."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.support.commands import command_parser
from galaxy_da.errors import CatalogError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Cutouts of one survey by its definition.

    `inputs` are the prepared images, `mean` (n, latents) their latents, and `usable` (n,) marks
    those that were prepared without a problem.
    """

    encoder: SurveyEncoder
    inputs: Inputs
    mean: np.ndarray
    usable: np.ndarray


def encode(space: LatentSpace, survey: Survey, cutouts: Sequence[Cutout]) -> Encoded:
    """Encode cutouts in the bands of the first that the survey defines, or raise CatalogError."""
    if not cutouts:
        raise CatalogError(f"{survey.name}: there is no cutout to encode")
    available = [name for name in cutouts[0].bands if name in survey.band_names]
    encoder = space.by_definition(survey, available)
    prepared = encoder.prepare(cutouts, space.frame)
    return Encoded(
        encoder=encoder,
        inputs=prepared.inputs,
        mean=space.encode(prepared.inputs, encoder).mean.numpy(),
        usable=np.array([problem is None for problem in prepared.problems], bool),
    )


def cropped(cutout: Cutout, field_arcsec: float) -> Cutout:
    """Cut to a square field about the galaxy, to the nearest pixel."""
    half = field_arcsec / 2 / cutout.pixel_scale_arcsec
    slices, centre = [], []
    for middle, side in zip(cutout.centre_xy, cutout.pixels.shape[:0:-1], strict=False):
        first = max(round(middle + 0.5 - half), 0)
        slices.append(slice(first, min(round(middle + 0.5 + half), side)))
        centre.append(middle - first)
    inside = (..., slices[1], slices[0])
    return replace(
        cutout,
        pixels=cutout.pixels[inside],
        missing=None if cutout.missing is None else cutout.missing[inside],
        centre_xy=(centre[0], centre[1]),
    )


def reach_arcsec(cutout: Cutout) -> float:
    """Return the distance from the galaxy to the nearest edge."""
    (height, width), scale = cutout.pixels.shape[-2:], cutout.pixel_scale_arcsec
    x, y = cutout.centre_xy
    return float(min(x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y)) * scale


def options(
    name: str, description: str | None, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse the command line of ``python -m benchmarks.real.NAME DATA [--space SPACE]``."""
    parser = command_parser(f"real.{name}".rstrip("."), description)
    parser.add_argument("data", type=Path, help="folder of the real images")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    return parser.parse_args(arguments)

"""Rank real galaxies observed by two surveys among real distractors.

The pairs are few, so each rank is listed. All images are cut to one field of view, so that the size
of a stamp does not identify it, and read in the bands that all of them have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.retrieval import match_ranks
from galaxy_da.errors import CatalogError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame
from galaxy_da.space import SurveyEncoder

__all__ = ["RealPairs", "cut_to_field", "in_field", "prepare_field", "rank_real_pairs"]


@dataclass(frozen=True, kw_only=True)
class RealPairs:
    """Prepared images of galaxies in two surveys, and of other galaxies in the second.

    Attributes
    ----------
    names : tuple of str
        Name of each pair.
    queries : (n, planes, y, x) float tensor
        Images in the first survey.
    partners : (n, planes, y, x) float tensor
        Images of the same galaxies in the second survey.
    distractors : (m, planes, y, x) float tensor
        Images of other galaxies in the second survey.
    """

    names: tuple[str, ...]
    queries: Tensor
    partners: Tensor
    distractors: Tensor

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.queries) == len(self.partners):
            raise ValueError(
                f"{len(self.names)} names, {len(self.queries)} queries and {len(self.partners)} "
                "partners; there must be as many of each"
            )


def rank_real_pairs(
    pairs: RealPairs, query: Callable[[Tensor], Tensor], pool: Callable[[Tensor], Tensor]
) -> dict[str, int]:
    """Rank every partner among all partners and distractors.

    Parameters
    ----------
    pairs : RealPairs
        Images of the pairs and distractors.
    query, pool : callable
        Functions from images of the first and of the second survey to (n, d) latents.

    Returns
    -------
    dict of str to int
        Rank of each named pair; 1 is nearest of ``len(partners) + len(distractors)``.
    """
    galaxies = pool(torch.cat([pairs.partners, pairs.distractors])).numpy()
    ranks = match_ranks(query(pairs.queries).numpy(), galaxies)
    return dict(zip(pairs.names, ranks.tolist(), strict=True))


def prepare_field(
    cutouts: Sequence[Cutout], encoder: SurveyEncoder, frame: Frame, field_arcsec: float
) -> tuple[Tensor, np.ndarray]:
    """Prepare cutouts, cut to a field of view that all of them cover.

    Parameters
    ----------
    cutouts : sequence of Cutout
        Cutouts of the encoder's survey.
    encoder : SurveyEncoder
        Encoder that gives the bands.
    frame : Frame
        Frame of the prepared images.
    field_arcsec : float
        Diameter of the round field [arcsec].

    Returns
    -------
    images : (n, planes, pixels, pixels) float tensor
        Zero outside the field.
    usable : (n,) bool array
        True for cutouts that cover the field and have the bands.

    Raises
    ------
    CatalogError
        If no cutout is usable.
    """
    prepared = encoder.prepare(cutouts, frame)
    covered = np.array([_reach_arcsec(cutout) >= field_arcsec / 2 for cutout in cutouts], bool)
    lacking = np.array([not set(encoder.bands) <= set(c.bands) for c in cutouts], bool)
    if not (covered & ~lacking).any():
        raise CatalogError(
            f"{encoder.survey.name}: none of {len(cutouts)} cutouts covers {field_arcsec:g} arcsec "
            f"in {', '.join(encoder.bands)}"
        )
    return cut_to_field(prepared.images, frame, field_arcsec), covered & ~lacking


def cut_to_field(images: Tensor, frame: Frame, field_arcsec: float) -> Tensor:
    """Set (n, planes, y, x) images to zero outside a round field [arcsec]."""
    return images * in_field(frame.pixels, frame.pixel_scale_arcsec, field_arcsec)


def in_field(pixels: int, pixel_scale_arcsec: float, field_arcsec: float) -> Tensor:
    """Mark the pixels of a square image within a round field [arcsec] about its centre."""
    along = (torch.arange(pixels) - (pixels - 1) / 2) * pixel_scale_arcsec
    return torch.hypot(along[:, None], along) <= field_arcsec / 2


def _reach_arcsec(cutout: Cutout) -> float:
    """Return the distance from the galaxy to the nearest edge."""
    (height, width), scale = cutout.pixels.shape[-2:], cutout.pixel_scale_arcsec
    x, y = cutout.centre_xy
    return float(min(x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y)) * scale

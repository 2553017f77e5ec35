"""Real galaxies seen by two surveys: the rank of the true partner among real distractors.

The pairs are few and hand-picked, so ranks are listed one by one. Every image is cut to one field
of view, so that the size of a stamp gives nothing away, and queries and distractors are read in the
bands that all have.
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
    """Prepared images of galaxies in two surveys, and of others in the second.

    Attributes
    ----------
    names : tuple of str
        One per pair.
    queries : (n, planes, y, x) float tensor
        In the first survey.
    partners : (n, planes, y, x) float tensor
        The same galaxies in the second.
    distractors : (m, planes, y, x) float tensor
        Other galaxies in the second.
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
        The images.
    query, pool : callable
        Images of the first and of the second survey to latents, (n, d): the same anchor before
        adapting, the surveys' own encoders after.

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
    """Prepare cutouts and leave only a field of view that all of them cover.

    Parameters
    ----------
    cutouts : sequence of Cutout
        Of the encoder's survey.
    encoder : SurveyEncoder
        Says which bands are wanted.
    frame : Frame
        Where they go.
    field_arcsec : float
        Diameter of the round field that is kept [arcsec].

    Returns
    -------
    images : (n, planes, pixels, pixels) float tensor
        Zero outside the field.
    usable : (n,) bool array
        Whether a cutout covers the field and has its bands.

    Raises
    ------
    CatalogError
        If none does.
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
    """Return (n, planes, y, x) images with zeros outside a round field [arcsec]."""
    return images * in_field(frame.pixels, frame.pixel_scale_arcsec, field_arcsec)


def in_field(pixels: int, pixel_scale_arcsec: float, field_arcsec: float) -> Tensor:
    """Mark the (pixels, pixels) of a square image in a round field [arcsec] about its centre."""
    along = (torch.arange(pixels) - (pixels - 1) / 2) * pixel_scale_arcsec
    return torch.hypot(along[:, None], along) <= field_arcsec / 2


def _reach_arcsec(cutout: Cutout) -> float:
    """Distance from the galaxy to the nearest edge."""
    (height, width), scale = cutout.pixels.shape[-2:], cutout.pixel_scale_arcsec
    x, y = cutout.centre_xy
    return float(min(x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y)) * scale

"""Images of the same galaxies in two surveys, prepared and held in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from catalogs.pairs import PairedRows
from evaluation.retrieval import Retrieval, retrieve
from galaxy_da.errors import CatalogError
from galaxy_da.loading import load_images
from galaxy_da.models import Encoder, Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.tables import Sample

__all__ = ["PairedImages", "load_paired_images"]

_FEWEST_PAIRS = 20


@dataclass(frozen=True, kw_only=True)
class PairedImages:
    """Prepared pairs and the anchor's posterior of them.

    Attributes
    ----------
    space : LatentSpace
        Whose anchor encoded them.
    encoder : SurveyEncoder
        The target's un-adapted encoder: survey and bands of `target`.
    anchor, target : (n, bands, y, x) float tensor
        Prepared images, row by row the same galaxy.
    mean, variance : (n, latents) float tensor
        The anchor's posterior.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor: Tensor
    target: Tensor
    mean: Tensor
    variance: Tensor

    def __len__(self) -> int:
        return len(self.anchor)

    def encode(self, network: Encoder) -> Posterior:
        """Encode the target images with a candidate network."""
        candidate = SurveyEncoder(
            survey=self.encoder.survey, bands=self.encoder.bands, network=network
        )
        return self.space.encode(self.target, candidate)

    def score(self, network: Encoder) -> Retrieval:
        """Measure how well a candidate finds the anchor's galaxies."""
        return retrieve(self.encode(network).mean.numpy(), self.mean.numpy())


def load_paired_images(
    space: LatentSpace, anchor: Sample, target: Sample, rows: PairedRows, encoder: SurveyEncoder
) -> PairedImages:
    """Read and prepare pairs whose cutouts are usable on both sides.

    Parameters
    ----------
    space : LatentSpace
        Gives the frame and the anchor's encoder.
    anchor, target : Sample
        The cutouts.
    rows : PairedRows
        Which rows of either.
    encoder : SurveyEncoder
        Says which bands of the target are wanted.

    Raises
    ------
    CatalogError
        If fewer than 20 pairs are usable.
    """
    own = space.encoder(space.anchor)
    first, seen = load_images(anchor, rows.anchor, own, space.frame)
    second, seen_too = load_images(target, rows.target, encoder, space.frame)
    good = torch.from_numpy(seen & seen_too)
    if good.sum() < _FEWEST_PAIRS:
        raise CatalogError(
            f"{encoder.survey.name}: only {int(good.sum())} usable pairs fall in the training or "
            f"the validation part of the sky, each needs at least {_FEWEST_PAIRS}; match a larger "
            "area"
        )
    posterior = space.encode(first[good], own)
    return PairedImages(
        space=space,
        encoder=encoder,
        anchor=first[good],
        target=second[good],
        mean=posterior.mean,
        variance=posterior.variance,
    )

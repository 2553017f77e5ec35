"""Prepared images of the same galaxies in two surveys, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalogs.matching.pairs import PairedRows
from evaluation.retrieval import match_ranks
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder, Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.shared_images import load_shared_images, shared_posterior

__all__ = ["PairedImages", "load_paired_images"]


@dataclass(frozen=True, kw_only=True)
class PairedImages:
    """Prepared pairs with the anchor's posterior.

    Attributes
    ----------
    space : LatentSpace
        Gives the anchor's encoder.
    encoder : SurveyEncoder
        An encoder of the target, with its survey and bands.
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

    def take(self, rows: np.ndarray | Tensor) -> PairedImages:
        """Return the pairs of some rows."""
        rows = torch.as_tensor(rows)
        arrays = ("anchor", "target", "mean", "variance")
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in arrays}
        return replace(self, **taken)

    def extended(self, other: PairedImages) -> PairedImages:
        """Return these pairs followed by others of the same survey."""
        arrays = ("anchor", "target", "mean", "variance")
        joined: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in arrays
        }
        return replace(self, **joined)

    def with_network(self, network: Encoder) -> PairedImages:
        """Return these pairs with another network in the target's encoder."""
        return replace(self, encoder=replace(self.encoder, network=network))

    def encode(self, network: Encoder) -> Posterior:
        """Encode the target images with another network, each process its share."""
        return shared_posterior(self.space, self.target, replace(self.encoder, network=network))

    def reciprocal_ranks(self, queries: Tensor, others: Tensor | None = None) -> np.ndarray:
        """Return the (n,) inverse ranks of each pair's anchor galaxy in a search by target latents.

        Each is the mean of two inverse ranks: by galaxy latents, and by all latents.

        Parameters
        ----------
        queries : (n, latents) float tensor
            Latents of the target's images.
        others : (m, latents) float tensor, optional
            The anchor's latents of more galaxies for the pool.
        """
        pool = (self.mean if others is None else torch.cat([self.mean, others])).numpy()
        widths = (self.space.galaxy_latents, self.space.architecture.latents)
        ranks = [1 / match_ranks(queries.numpy()[:, :width], pool[:, :width]) for width in widths]
        return np.asarray(np.mean(ranks, axis=0))


def load_paired_images(
    space: LatentSpace, anchor: Sample, target: Sample, rows: PairedRows, encoder: SurveyEncoder
) -> PairedImages:
    """Read and prepare the pairs with usable cutouts on both sides, each process its share.

    Parameters
    ----------
    space : LatentSpace
        Gives the frame and the anchor's encoder.
    anchor, target : Sample
        Samples with the cutouts.
    rows : PairedRows
        Rows of both samples.
    encoder : SurveyEncoder
        The target's encoder, which gives its bands.
    """
    own = space.encoder(space.anchor)
    anchor_images, anchor_usable = load_shared_images(anchor, rows.anchor, own, space.frame)
    target_images, target_usable = load_shared_images(target, rows.target, encoder, space.frame)
    usable = torch.from_numpy(anchor_usable & target_usable)
    posterior = shared_posterior(space, anchor_images[usable], own)
    return PairedImages(
        space=space,
        encoder=encoder,
        anchor=anchor_images[usable],
        target=target_images[usable],
        mean=posterior.mean,
        variance=posterior.variance,
    )

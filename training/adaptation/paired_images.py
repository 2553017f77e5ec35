"""Images of the same galaxies in two surveys, prepared and held in memory."""

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

    def take(self, rows: np.ndarray | Tensor) -> PairedImages:
        """Return some of the pairs."""
        rows = torch.as_tensor(rows)
        arrays = ("anchor", "target", "mean", "variance")
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in arrays}
        return replace(self, **taken)

    def with_more(self, other: PairedImages) -> PairedImages:
        """Return these pairs and others of the same survey."""
        arrays = ("anchor", "target", "mean", "variance")
        joined: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in arrays
        }
        return replace(self, **joined)

    def seen_by(self, network: Encoder) -> PairedImages:
        """Return these pairs with another network of the target to start from."""
        return replace(self, encoder=replace(self.encoder, network=network))

    def encode(self, network: Encoder) -> Posterior:
        """Encode the target images with a candidate network, each process some of them."""
        return shared_posterior(self.space, self.target, replace(self.encoder, network=network))

    def reciprocal_ranks(self, queries: Tensor, others: Tensor | None = None) -> np.ndarray:
        """(n,) inverse ranks at which latents of the target find the anchor's galaxies.

        The mean of two: by the galaxy latents alone, and by all of them.

        Parameters
        ----------
        queries : (n, latents) float tensor
            Of the target's images.
        others : (m, latents) float tensor, optional
            The anchor's latents of more galaxies to choose from.
        """
        pool = (self.mean if others is None else torch.cat([self.mean, others])).numpy()
        widths = (self.space.galaxy_latents, self.space.architecture.latents)
        ranks = [1 / match_ranks(queries.numpy()[:, :width], pool[:, :width]) for width in widths]
        return np.asarray(np.mean(ranks, axis=0))


def load_paired_images(
    space: LatentSpace, anchor: Sample, target: Sample, rows: PairedRows, encoder: SurveyEncoder
) -> PairedImages:
    """Read and prepare pairs, those whose cutouts are usable on both sides; once among processes.

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
    """
    own = space.encoder(space.anchor)
    first, seen = load_shared_images(anchor, rows.anchor, own, space.frame)
    second, seen_too = load_shared_images(target, rows.target, encoder, space.frame)
    good = torch.from_numpy(seen & seen_too)
    posterior = shared_posterior(space, first[good], own)
    return PairedImages(
        space=space,
        encoder=encoder,
        anchor=first[good],
        target=second[good],
        mean=posterior.mean,
        variance=posterior.variance,
    )

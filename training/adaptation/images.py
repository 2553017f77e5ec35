"""Prepared images in memory, read and encoded by all processes of a training together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalogs.matching.pairs import PairedRows
from evaluation.retrieval import match_ranks
from galaxy_da.extraction.loading import load_images
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder, Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.parallel.processes import Share

_ROWS = ("anchor", "target", "mean", "variance")


@dataclass(frozen=True, kw_only=True)
class PairedImages:
    """Prepared pairs with the anchor's posterior."""

    space: LatentSpace
    encoder: SurveyEncoder  # of the target
    anchor: Inputs  # prepared images with their instruments, row by row the same galaxy
    target: Inputs
    mean: Tensor  # (n, latents), the anchor's posterior
    variance: Tensor

    def __len__(self) -> int:
        return len(self.anchor)

    def take(self, rows: np.ndarray) -> PairedImages:
        """Return the pairs of some rows."""
        taken: dict[str, Any] = {name: getattr(self, name)[torch.as_tensor(rows)] for name in _ROWS}
        return replace(self, **taken)

    def extended(self, other: PairedImages) -> PairedImages:
        """Return these pairs followed by others of the same survey."""
        joined: dict[str, Any] = {}
        for name in _ROWS:
            both = [getattr(pairs, name) for pairs in (self, other)]
            joined[name] = Inputs.join(both) if isinstance(both[0], Inputs) else torch.cat(both)
        return replace(self, **joined)

    def encode(self, network: Encoder) -> Posterior:
        """Encode the target images with another network, each process its share."""
        return shared_posterior(self.space, self.target, replace(self.encoder, network=network))

    def reciprocal_ranks(self, queries: Tensor, others: Tensor | None = None) -> np.ndarray:
        """Return the (n,) inverse ranks of each pair's anchor galaxy in a search by target latents.

        Each is the mean of two inverse ranks: by galaxy latents, and by all latents. The pool holds
        the pairs and, by their (m, latents), other galaxies.
        """
        pool = (self.mean if others is None else torch.cat([self.mean, others])).numpy()
        widths = (self.space.galaxy_latents, self.space.architecture.latents)
        ranks = [1 / match_ranks(queries.numpy()[:, :width], pool[:, :width]) for width in widths]
        return np.asarray(np.mean(ranks, axis=0))


def load_paired_images(
    space: LatentSpace, anchor: Sample, target: Sample, rows: PairedRows, encoder: SurveyEncoder
) -> PairedImages:
    """Read and prepare the pairs with usable cutouts on both sides, each process its share."""
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


def load_shared_images(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> tuple[Inputs, np.ndarray]:
    """Prepare the cutouts of some rows as `load_images` does, in the memory of every process.

    Each process prepares a range of the rows and sends it to the others.
    """
    needed, place = np.unique(rows, return_inverse=True)
    share = Share.of(len(needed))
    ranges = np.array_split(needed, share.processes)
    inputs, ok = load_images(sample, ranges[share.number], encoder, frame)
    dealt = np.argsort(np.arange(share.rows) % share.processes, kind="stable")
    flags = share.whole(torch.from_numpy(ok.astype(np.uint8))).numpy().astype(bool)
    whole = Inputs(share.whole(inputs.images), share.whole(inputs.conditions))
    return whole[dealt[place]], flags[dealt][place]


def shared_posterior(space: LatentSpace, inputs: Inputs, encoder: SurveyEncoder) -> Posterior:
    """Encode prepared images, each process its share."""
    share = Share.of(len(inputs))
    own = space.encode(inputs[share.own], encoder)
    return Posterior(share.whole(own.mean), share.whole(own.variance))

"""Encode and decode a sample of the anchor survey, and measure the information in each latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace
from training.pretraining.validation import (
    ACTIVE_VARIANCE,
    active_latents,
    encode_for_decoder,
    kl_per_latent,
)

__all__ = [
    "ACTIVE_VARIANCE",
    "EncodedSample",
    "active_latents",
    "encode_for_decoder",
    "encode_sample",
    "kl_per_latent",
]

_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """The usable galaxies of a sample, encoded and decoded.

    Attributes
    ----------
    space : LatentSpace
        Space whose anchor encoded the sample.
    rows : (n,) int array
        Row of each galaxy in the sample.
    ids : (n,) str array
        Object ids.
    inputs : Inputs
        Prepared images with their instruments.
    decoded : (n, bands, y, x) float tensor
        First grid of the images decoded from the posterior mean [asinh units].
    mean, variance : (n, latents) float arrays
        Posterior, from `encode_for_decoder`.
    """

    space: LatentSpace
    rows: np.ndarray
    ids: np.ndarray
    inputs: Inputs
    decoded: Tensor
    mean: np.ndarray
    variance: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """(n, bands, y, x) prepared images of the first grid [asinh units]."""
        return self.inputs.images[:, : len(self.space.frame.bands)]

    @property
    def galaxy(self) -> np.ndarray:
        """(n, galaxy latents) posterior means of the galaxy latents."""
        return self.mean[:, : self.space.galaxy_latents]

    @property
    def nuisance(self) -> np.ndarray:
        """(n, nuisance latents) posterior means of the nuisance latents; may have no columns."""
        return self.mean[:, self.space.galaxy_latents :]


def encode_sample(space: LatentSpace, sample: Sample, limit: int, seed: int = 0) -> EncodedSample:
    """Encode and decode the galaxies of a sample, or a random part of a large sample.

    Parameters
    ----------
    space : LatentSpace
        Space whose anchor encodes the sample.
    sample : Sample
        Cutouts of the anchor survey.
    limit : int
        Largest number of galaxies.
    seed : int
        Seed of the random part.

    Raises
    ------
    TableError
        If the sample is of another survey than the anchor's, or fewer than 20 cutouts are usable.
    """
    if sample.survey != space.anchor:
        raise TableError(
            f"{sample.path}: holds {sample.survey} but the report is of the space's anchor, "
            f"{space.anchor}; give a sample of {space.anchor}"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(sample))[:limit])
    inputs, ok = load_images(sample, rows, space.encoder(space.anchor), space.frame)
    if ok.sum() < _FEWEST:
        raise TableError(
            f"{sample.path}: {int(ok.sum())} of {len(rows)} cutouts are usable, a report takes at "
            f"least {_FEWEST}; see the column status of `galaxy-da extract`"
        )
    inputs = inputs[ok]
    posterior = encode_for_decoder(space, inputs)
    return EncodedSample(
        space=space,
        rows=rows[ok],
        ids=np.array(sample.catalog["object_id"].to_pylist())[rows[ok]],
        inputs=inputs,
        decoded=space.decode(posterior.mean),
        mean=posterior.mean.numpy(),
        variance=posterior.variance.numpy(),
    )

"""Encode and decode a sample of the anchor survey, and measure the information in each latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.tables import Sample
from galaxy_da.models.devices import Precision
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace

__all__ = [
    "ACTIVE_VARIANCE",
    "EncodedSample",
    "active_latents",
    "encode_for_decoder",
    "encode_sample",
    "kl_per_latent",
]

ACTIVE_VARIANCE = 0.01
"""Variance of the posterior means above which a latent is in use (Burda et al. 2016)."""

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
    images, decoded : (n, bands, y, x) float tensors
        Prepared images, and images decoded from the posterior mean [asinh units].
    mean, variance : (n, latents) float arrays
        Posterior, from `encode_for_decoder`.
    """

    space: LatentSpace
    rows: np.ndarray
    ids: np.ndarray
    images: Tensor
    decoded: Tensor
    mean: np.ndarray
    variance: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

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
    images, ok = load_images(sample, rows, space.encoder(space.anchor), space.frame)
    if ok.sum() < _FEWEST:
        raise TableError(
            f"{sample.path}: {int(ok.sum())} of {len(rows)} cutouts are usable, a report takes at "
            f"least {_FEWEST}; see the column status of `galaxy-da extract`"
        )
    images = images[ok]
    posterior = encode_for_decoder(space, images)
    return EncodedSample(
        space=space,
        rows=rows[ok],
        ids=np.array(sample.catalog["object_id"].to_pylist())[rows[ok]],
        images=images,
        decoded=space.decode(posterior.mean),
        mean=posterior.mean.numpy(),
        variance=posterior.variance.numpy(),
    )


def encode_for_decoder(
    space: LatentSpace, images: Tensor, precision: Precision = "auto"
) -> Posterior:
    """Encode the anchor's images with the latents that the decoder needs to reconstruct them.

    Nuisance latents hold the orientation. In a space without them, latents averaged over the
    dihedral symmetries have lost the orientation, and would decode to a mixture of all eight
    orientations. There, the images are encoded in their own orientation alone.

    Parameters
    ----------
    space : LatentSpace
        Space whose anchor encodes the images.
    images : (n, bands, y, x) float tensor
        Prepared images.
    precision : {"auto", "fp32", "bf16"}
        As for `LatentSpace.encode`.
    """
    pooled = space.architecture.nuisance_latents > 0
    return space.encode(images, space.anchor, pooled=pooled, precision=precision)


def kl_per_latent(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Mean divergence of each latent's Gaussian posterior from N(0, 1).

    Parameters
    ----------
    mean, variance : (n, latents) float arrays
        Posteriors.

    Returns
    -------
    (latents,) float array [nat]

    References
    ----------
    Kingma & Welling 2014, arXiv 1312.6114, appendix B.
    """
    return np.asarray(0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(0, dtype=np.float64))


def active_latents(mean: np.ndarray) -> np.ndarray:
    """Mark the latents in use: their posterior mean varies by more than `ACTIVE_VARIANCE`.

    Parameters
    ----------
    mean : (n, latents) float array
        Posterior means.

    Returns
    -------
    (latents,) bool array

    References
    ----------
    Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519, section 5.2.
    """
    return np.asarray(mean.var(0, dtype=np.float64) > ACTIVE_VARIANCE)

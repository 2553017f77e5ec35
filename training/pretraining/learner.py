"""The network in training: an autoencoder, and the heads its objective needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galaxy_da.models.networks import Architecture, Posterior, VariationalAutoencoder
from training.losses import (
    PerceptualDistance,
    beta_at,
    class_error,
    inverse_variance,
    negative_elbo,
    prior_mmd,
    redshift_error,
)
from training.losses.observations import exchange, same_galaxy
from training.parallel.processes import Share
from training.pretraining.recipe import Recipe

__all__ = ["Batch", "Learner", "Outcome", "loss_of"]


class Batch(NamedTuple):
    """Images and what is known of them.

    Attributes
    ----------
    images : (n, bands, y, x) float32 tensor
    redshift : (n,) float32 tensor
        NaN where unknown.
    labels : (n,) int64 tensor
        -1 where unknown.
    """

    images: Tensor
    redshift: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """Move to a device, images in channels-last order."""
        images = self.images.to(device, memory_format=torch.channels_last)
        return Batch(images, self.redshift.to(device), self.labels.to(device))


class Outcome(NamedTuple):
    """One forward pass.

    Attributes
    ----------
    posterior : Posterior
    drawn : (n, latents) tensor
        One draw from each posterior.
    decoded : (n, bands, y, x) tensor
        What the draws decode to.
    scores : (n, classes) tensor, optional
        Of the classifier, where there is one.
    redshift : (n,) tensor, optional
        As predicted from the image, scaled, where it is; see `training.pretraining.conditional`.
    """

    posterior: Posterior
    drawn: Tensor
    decoded: Tensor
    scores: Tensor | None
    redshift: Tensor | None


class Learner(VariationalAutoencoder):
    """An autoencoder with heads.

    Parameters
    ----------
    architecture : Architecture
        Sizes.
    classes : int
        Outputs of a linear classifier on the galaxy latents; none at 0.
    """

    def __init__(self, architecture: Architecture, classes: int = 0) -> None:
        super().__init__(architecture)
        galaxy = architecture.galaxy_latents
        self.classifier = nn.Linear(galaxy, classes) if classes else None

    def encode(self, batch: Batch) -> tuple[Posterior, Tensor | None]:
        """Return the posterior and, where the network predicts it, the scaled redshift."""
        return self.encoder(batch.images), None

    def decode(self, latents: Tensor, redshift: Tensor) -> Tensor:
        """Return images of latents; this network does not ask for the redshift."""
        images: Tensor = self.decoder(latents)
        return images

    def scaled(self, redshift: Tensor) -> Tensor:
        """Return the redshift in the units the network predicts."""
        return redshift

    def plain(self, redshift: float) -> VariationalAutoencoder:
        """Return the encoder and decoder that a latent space holds."""
        return self

    def forward(  # type: ignore[override]
        self,
        batch: Batch,
        change: Callable[[Tensor], Tensor] | None = None,
        draw: Callable[[Tensor], Tensor] = torch.randn_like,
    ) -> Outcome:
        """Encode, draw one latent vector from each posterior, change it, and decode it.

        The unit Gaussian draws for some (n, latents) means come from `draw`.
        """
        posterior, redshift = self.encode(batch)
        drawn = posterior.mean + posterior.variance.sqrt() * draw(posterior.mean)
        decoded = self.decode(drawn if change is None else change(drawn), batch.redshift).float()
        scores = None
        if self.classifier is not None:
            scores = self.classifier(posterior.mean[:, : self.classifier.in_features])
        return Outcome(posterior, drawn, decoded, scores, redshift)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the posterior means."""
        return self.decode(self.encode(batch)[0].mean, batch.redshift)


def loss_of(
    recipe: Recipe,
    learner: Learner,
    forward: Callable[..., Outcome],
    batch: Batch,
    epoch: float,
    perceptual: PerceptualDistance | None = None,
    share: Share | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a recipe's objective of one batch, whichever part of it this process has.

    Parameters
    ----------
    recipe : Recipe
    learner : Learner
        The network.
    forward : callable
        The network as Fabric wrapped it.
    batch : Batch
        What this process has of it; with two looks, the first looks and then the second.
    epoch : float
        Epochs done, for the schedule of beta.
    perceptual : PerceptualDistance, optional
        Needed where the recipe weighs it.
    share : Share, optional
        Of the batch's galaxies; by default these are all.

    Returns
    -------
    loss : scalar tensor
    terms : dict of scalar tensors
        Each term of the whole batch before its weight.
    """
    objective, galaxy = recipe.objective, recipe.architecture.galaxy_latents
    two, images = recipe.observations == 2, batch.images
    share = share or Share(len(images) // recipe.observations)
    change = partial(exchange, galaxy_latents=galaxy) if two else None
    outcome = forward(batch, change, partial(_draw, share, recipe.observations))
    whole, decoded = partial(_whole, share, recipe.observations), outcome.decoded
    posterior = Posterior(*map(whole, outcome.posterior))
    weight = inverse_variance(images, objective.noise) if objective.weighting == "sky" else None
    loss, terms = negative_elbo(
        images,
        decoded,
        posterior,
        noise=objective.noise,
        beta=beta_at(objective.beta, epoch),
        free_nats=objective.free_nats,
        weight=weight,
        over_all=share.mean,
    )
    pixels = images[0].numel()
    if two and objective.contrast:
        terms["contrast"] = same_galaxy(posterior.mean[:, :galaxy])
        loss = loss + objective.contrast * terms["contrast"] / pixels
    if objective.mmd:
        terms["mmd"] = prior_mmd(whole(outcome.drawn))
        loss = loss + objective.mmd * terms["mmd"] / pixels
    if outcome.scores is not None:
        error = class_error(outcome.scores, batch.labels)
        terms["classes"] = share.mean(error, (batch.labels >= 0).sum())
        loss = loss + objective.classes * terms["classes"] / pixels
    if outcome.redshift is not None:
        error = redshift_error(outcome.redshift, learner.scaled(batch.redshift))
        terms["redshift"] = share.mean(error, batch.redshift.isfinite().sum())
        loss = loss + objective.redshift * terms["redshift"] / pixels
    if perceptual is not None:
        terms["perceptual"] = share.mean(perceptual(images, decoded), len(images))
        loss = loss + objective.perceptual * terms["perceptual"]
    return loss, terms


def _draw(share: Share, observations: int, own: Tensor) -> Tensor:
    """Draw for the whole batch, as every process does, and return what belongs to own rows."""
    whole = torch.randn((observations, share.rows, *own.shape[1:]), device=own.device)
    return whole[:, share.own].flatten(0, 1)


def _whole(share: Share, observations: int, own: Tensor) -> Tensor:
    """Put together (looks * own rows, ...) of all processes, look by look."""
    return share.whole(own.reshape(observations, -1, *own.shape[1:]), dim=1).flatten(0, 1)

"""Autoencoder in training, with the heads and the loss of its recipe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Architecture, Posterior, VariationalAutoencoder
from training.losses import beta_at, class_error, known_error, negative_elbo, prior_mmd
from training.parallel.processes import Share
from training.pretraining.recipe import Recipe


class Batch(NamedTuple):
    """Images (n, bands, y, x) with their (n,) redshifts, NaN unknown, and classes, -1 unknown."""

    images: Tensor
    redshift: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """Move to a device, images in channels-last order."""
        images = self.images.to(device, memory_format=torch.channels_last)
        return Batch(images, self.redshift.to(device), self.labels.to(device))


class ForwardPass(NamedTuple):
    """Posterior, a draw of it, the image decoded from this, class scores and scaled redshift."""

    posterior: Posterior
    drawn: Tensor
    decoded: Tensor
    scores: Tensor | None
    redshift: Tensor | None


class Learner(VariationalAutoencoder):
    """Autoencoder with an optional linear classifier of the galaxy latents into `classes`."""

    def __init__(self, architecture: Architecture, classes: int = 0) -> None:
        super().__init__(architecture)
        galaxy = architecture.galaxy_latents
        self.classifier = nn.Linear(galaxy, classes) if classes else None

    def encode(self, batch: Batch) -> tuple[Posterior, Tensor | None]:
        """Return the posterior and, if the network predicts it, the scaled redshift."""
        return self.encoder(Inputs.plain(batch.images)), None

    def decode(self, latents: Tensor, redshift: Tensor) -> Tensor:
        """Return images of latents; this network ignores the redshift."""
        images: Tensor = self.decoder(latents)
        return images

    def scaled(self, redshift: Tensor) -> Tensor:
        """Return redshifts in the units of the network's predictions."""
        return redshift

    def plain(self, redshift: float) -> VariationalAutoencoder:
        """Return the encoder and decoder for a latent space."""
        return self

    def forward(  # type: ignore[override]
        self,
        batch: Batch,
        draw: Callable[[Tensor], Tensor] = torch.randn_like,
    ) -> ForwardPass:
        """Encode, draw one latent vector from each posterior, and decode it.

        `draw` returns unit Gaussian draws in the shape of (n, latents) means.
        """
        posterior, redshift = self.encode(batch)
        drawn = posterior.mean + posterior.variance.sqrt() * draw(posterior.mean)
        decoded = self.decode(drawn, batch.redshift).float()
        scores = None
        if self.classifier is not None:
            scores = self.classifier(posterior.mean[:, : self.classifier.in_features])
        return ForwardPass(posterior, drawn, decoded, scores, redshift)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the posterior means."""
        return self.decode(self.encode(batch)[0].mean, batch.redshift)


def loss_of(
    recipe: Recipe,
    learner: Learner,
    forward: Callable[..., ForwardPass],
    batch: Batch,
    epoch: float,
    share: Share | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a recipe's loss of a whole batch from this process's share of it.

    `epoch` counts the epochs done, for the schedule of beta. Returns the loss, a scalar tensor, and
    each term of the whole batch before its weight.
    """
    objective, images = recipe.objective, batch.images
    share = share or Share(len(images))
    outputs = forward(batch, partial(_draw, share))
    posterior = Posterior(*map(share.whole, outputs.posterior))
    loss, terms = negative_elbo(
        images,
        outputs.decoded,
        posterior,
        noise=objective.noise,
        beta=beta_at(objective.beta, epoch),
        over_processes=share.mean,
    )
    pixels = images[0].numel()
    if objective.mmd:
        terms["mmd"] = prior_mmd(share.whole(outputs.drawn))
        loss = loss + objective.mmd * terms["mmd"] / pixels
    if outputs.scores is not None:
        error = class_error(outputs.scores, batch.labels)
        terms["classes"] = share.mean(error, (batch.labels >= 0).sum())
        loss = loss + objective.classes * terms["classes"] / pixels
    if outputs.redshift is not None:
        error = known_error(outputs.redshift, learner.scaled(batch.redshift))
        terms["redshift"] = share.mean(error, batch.redshift.isfinite().sum())
        loss = loss + objective.redshift * terms["redshift"] / pixels
    return loss, terms


def _draw(share: Share, own: Tensor) -> Tensor:
    """Draw for the whole batch, as every process does, and return the draws of own rows."""
    return torch.randn((share.rows, *own.shape[1:]), device=own.device)[share.own]

"""Network in training, and the loss of a batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galaxy_da.errors import TableError
from galaxy_da.images.inputs import Inputs
from galaxy_da.models.latents import join_latents
from galaxy_da.models.networks import Posterior, VariationalAutoencoder
from galaxy_da.space import LatentSpace
from training.anchor.images import N_TARGETS
from training.anchor.recipe import AnchorRecipe
from training.losses import contrastive, dependence, kl_divergence, known_error

_LARGEST_SCALE = 100.0  # of squared distances in the contrast


class Views(NamedTuple):
    """Observations of n galaxies: all by the anchor, all by others, all by these rotated.

    `clean`, (m, bands of both grids, y, x), are the anchor's images of the first m galaxies
    without noise, aligned with the first two; `targets`, (n, `N_TARGETS`), what is known of them.
    """

    inputs: Inputs
    clean: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Views:
        """Move to a device."""
        return Views(self.inputs.to(device), self.clean.to(device), self.targets.to(device))


class AnchorLearner(VariationalAutoencoder):
    """Autoencoder with the temperature of the contrast, and a linear map to the truth."""

    def __init__(self, recipe: AnchorRecipe) -> None:
        super().__init__(recipe.architecture)
        self.log_scale = nn.Parameter(torch.tensor(math.log(5.0)))
        self.truth = nn.Linear(recipe.architecture.galaxy_latents, N_TARGETS)

    def continue_from(self, space: LatentSpace) -> None:
        """Take the networks of a space, or raise TableError if they have another architecture."""
        encoder = space.encoder(space.anchor).network
        try:
            self.encoder.load_state_dict(encoder.state_dict())
            self.decoder.load_state_dict(space.decoder.state_dict())
        except RuntimeError as error:
            raise TableError(
                f"space {space.id}: its networks are not those of the recipe ({error})"
            ) from error

    def contrast(self, first: Tensor, second: Tensor) -> Tensor:
        """Contrast [nat] of paired latents, by squared distances over a learnt temperature."""
        scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE) / first.shape[1]
        return contrastive(first, second, 1 / scale)


def loss_of(
    learner: AnchorLearner, views: Views, recipe: AnchorRecipe
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and its terms before their weights.

    Observations of one galaxy are told from those of the others of the batch (van den Oord et al.
    2018, arXiv 1807.03748). The clean image is decoded from the galaxy latents of another
    instrument and the nuisance latents of the anchor.
    """
    losses, galaxy, n = recipe.losses, recipe.architecture.galaxy_latents, len(views.inputs) // 3
    posterior = learner.encoder(views.inputs)
    anchor, other, rotated = (
        Posterior(*parts)
        for parts in zip(posterior.mean.split(n), posterior.variance.split(n), strict=True)
    )
    aligned = learner.contrast(anchor.mean, other.mean)
    turned = learner.contrast(anchor.mean[:, :galaxy], rotated.mean[:, :galaxy])
    turned = turned + 0.5 * learner.contrast(other.mean[:, :galaxy], rotated.mean[:, :galaxy])
    means = posterior.mean[:, :galaxy].float()
    known = known_error(learner.truth(means).float(), views.targets.repeat(3, 1))
    instrument = dependence(means[: 2 * n], views.inputs.conditions[: 2 * n].float())
    few = slice(0, len(views.clean))
    drawn = [p.mean + p.variance.sqrt() * torch.randn_like(p.mean) for p in (anchor, other)]
    own, seen = (latents[few] for latents in drawn)
    mixed = join_latents(seen[:, :galaxy], own[:, galaxy:])
    decoded = learner.decoder(torch.cat([own, mixed])).float()
    error = _squared_error(decoded, views)
    divergence = kl_divergence(posterior).sum(1).mean()
    loss = (
        losses.aligned * aligned
        + losses.rotated * turned
        + losses.reconstruction * error / (2 * losses.noise**2)
        + losses.divergence * divergence
        + losses.truth * known
        + losses.instrument * instrument
    )
    terms = {
        "aligned": aligned, "rotated": turned, "reconstruction": error, "divergence": divergence,
        "truth": known, "instrument": instrument,
    }  # fmt: skip
    return loss, terms


def _squared_error(decoded: Tensor, views: Views) -> Tensor:
    """Mean squared error of both decoded halves, where the anchor's image has data."""
    clean, bands = views.clean.float(), views.clean.shape[1] // 2
    coverage = views.inputs.images[: len(clean), 2 * bands :].float()
    weight = coverage.repeat_interleave(bands, 1)
    squared = (decoded.reshape(2, *clean.shape) - clean).square() * weight
    return squared.sum() / (2 * weight.sum()).clamp_min(1)

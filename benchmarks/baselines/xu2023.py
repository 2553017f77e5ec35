"""Adapt by the method of Xu et al. (2023): a frozen source, a trained target, and an MMD.

As published: the target's network is a copy of the pretrained autoencoder and trains as a whole;
the source's copy is frozen; partners are shuffled once, so that no pairing is used; the loss, its
weights and its reductions; Adam at 1e-5, 128 images a batch, 20 epochs, no augmentation.

Different: the network, frame and pixels are those of this library (asinh of surface brightness,
64 px, a linear last layer, the instrument as a condition) instead of max pooling, 256 px and
nanomaggies. Missing bands do not count. The original keeps the epoch of least training loss, the
last one in its log; here the last epoch is kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.baselines.autoencoder import Autoencoder, Pass, shuffled
from benchmarks.baselines.interface import AdaptationData, Fitted
from training.losses import kl_divergence, mmd
from training.parallel.fabric import make_fabric

_KERNEL_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels over the mean squared distance."""
_MMD_WEIGHT = 10.0


@dataclass(frozen=True)
class Xu2023:
    """Fine-tuning of the whole autoencoder on unpaired images.

    Attributes
    ----------
    epochs, batch : int
        Passes over the target's images, and images per step.
    learning_rate : float
        Learning rate of Adam.

    References
    ----------
    Xu et al. (2023), MNRAS 526, 6391, and the notebooks published with it.
    """

    epochs: int = 20
    batch: int = 128
    learning_rate: float = 1e-5

    name: ClassVar[str] = "xu2023"

    def fit(self, data: AdaptationData) -> Fitted:
        """Train the target's network against the frozen source."""
        fabric = make_fabric()
        space = data.space
        trained = Autoencoder(data.encoder.network, space.decoder)
        source = Autoencoder(space.encoder(space.anchor).network, space.decoder)
        source.requires_grad_(False).eval()
        model, optimiser = fabric.setup(
            trained, torch.optim.Adam(trained.parameters(), lr=self.learning_rate)
        )
        frozen = fabric.setup_module(source)
        target, anchor = data.target, data.anchor
        curves = []
        with torch.random.fork_rng():
            torch.manual_seed(data.seed)
            partners = torch.randint(len(anchor), (len(target),))
            if len(anchor) == len(target):
                partners = torch.randperm(len(target))
            for epoch in range(self.epochs):
                sums: dict[str, float] = {}
                for rows in shuffled(len(target), self.batch):
                    own, other = (
                        inputs.to(fabric.device)
                        for inputs in (target[rows], anchor[partners[rows]])
                    )
                    with torch.no_grad():
                        reference = frozen(other.images, other.conditions)
                    loss, terms = xu2023_loss(model(own.images, own.conditions), reference)
                    optimiser.zero_grad(set_to_none=True)
                    fabric.backward(loss)
                    optimiser.step()
                    for name, term in terms.items():
                        sums[name] = sums.get(name, 0.0) + float(term) * len(rows) / len(target)
                curves.append({"epoch": epoch + 1, **sums})
        network = trained.encoder.cpu().requires_grad_(False).eval()
        return Fitted(
            anchor=data.encode_anchor,
            target=lambda inputs: data.encode_target(inputs, network),
            record={"settings": asdict(self), "curves": curves},
        )


def xu2023_loss(target: Pass, source: Pass) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean of both evidence bounds plus the weighted MMD, as published.

    Parameters
    ----------
    target, source : Pass
        Passes of the network in training and of its frozen original, on any galaxies.

    Returns
    -------
    loss : scalar tensor
        Ten times the batch size times the sum of the kernels' MMD is added. The squared error is a
        mean over pixels and galaxies and the divergence a sum over latents and galaxies, so that
        reconstruction hardly counts.
    terms : dict of scalar tensors
        ``loss`` and ``kl`` per galaxy, the target's mean squared ``error``, and ``mmd``.
    """
    n = len(target.images)
    means = target.posterior.mean, source.posterior.mean
    width = mean_squared_distance(torch.cat(means).detach())
    distance = len(_KERNEL_FACTORS) * mmd(*means, bandwidth=width, factors=_KERNEL_FACTORS)
    errors = [(p.decoded - p.images).square().mean() for p in (target, source)]
    divergences = [kl_divergence(p.posterior).sum() for p in (target, source)]
    loss = (sum(errors) + sum(divergences)) / 2 + _MMD_WEIGHT * n * distance
    terms = {"loss": loss / n, "kl": divergences[0] / n, "error": errors[0], "mmd": distance}
    return loss, {name: term.detach() for name, term in terms.items()}


def mean_squared_distance(latents: Tensor) -> Tensor:
    """Mean squared distance between different rows of (n, latents)."""
    return torch.nn.functional.pdist(latents).square().mean()

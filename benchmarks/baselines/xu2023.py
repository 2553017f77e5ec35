"""Adapt by the method of Xu et al. (2023): a frozen source, a trained target, and an MMD.

As published: the target's network is a copy of the pretrained autoencoder and trains as a whole;
the source's copy is frozen; partners are shuffled once, so that no pairing is used; the loss, its
weights and its reductions; Adam at 1e-5, 128 images a batch, 20 epochs, no augmentation.

Different: the network, frame and pixels are those of this library (asinh of surface brightness,
64 px, a linear last layer) instead of max pooling, 256 px and nanomaggies. A survey with other
bands enters through the band stem and is compared with its nearest bands. The original keeps the
epoch of least training loss, the last one in its log; here the last epoch is kept.
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

__all__ = ["Xu2023", "mean_squared_distance", "xu2023_loss"]

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
    needs_pairs: ClassVar[bool] = False

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
        wanted = data.in_frame_bands(data.target_images)
        curves = []
        with torch.random.fork_rng():
            torch.manual_seed(data.seed)
            partners = torch.randint(len(data.anchor_images), (len(wanted),))
            if len(data.anchor_images) == len(wanted):
                partners = torch.randperm(len(wanted))
            for epoch in range(self.epochs):
                sums: dict[str, float] = {}
                for rows in shuffled(len(wanted), self.batch):
                    inputs, clean, other = (
                        images.to(fabric.device, memory_format=torch.channels_last)
                        for images in (
                            data.target_images[rows],
                            wanted[rows],
                            data.anchor_images[partners[rows]],
                        )
                    )
                    with torch.no_grad():
                        reference = Pass(other, *frozen(other))
                    loss, terms = xu2023_loss(Pass(clean, *model(inputs)), reference)
                    optimiser.zero_grad(set_to_none=True)
                    fabric.backward(loss)
                    optimiser.step()
                    for name, term in terms.items():
                        sums[name] = sums.get(name, 0.0) + float(term) * len(rows) / len(wanted)
                curves.append({"epoch": epoch + 1, **sums})
        network = trained.encoder.cpu().requires_grad_(False).eval()
        return Fitted(
            anchor=data.encode_anchor,
            target=lambda images: data.encode_target(images, network),
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

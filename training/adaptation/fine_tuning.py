"""Fine-tuning of all weights of an encoder on pairs, while held-out pairs improve.

Each process computes its share of a batch; every loss is that of the whole batch
(`training.parallel.processes`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.files import json_hash
from galaxy_da.models.networks import Encoder
from galaxy_da.models.space_parts import network_hash
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from training.adaptation.candidates import FINE_TUNED
from training.adaptation.images import PairedImages
from training.adaptation.settings import AdaptSettings
from training.checkpoints import load_best, load_checkpoint, save_checkpoint
from training.losses import contrastive, paired
from training.parallel.fabric import make_fabric
from training.parallel.processes import Share, agreed, check_process_group, is_first


class PairLosses:
    """Squared distance of paired latents, and contrast over galaxy latents and over all.

    The median squared distance of some pairs in a network is the temperature of the contrast.
    """

    def __init__(self, pairs: PairedImages, network: Encoder) -> None:
        space = pairs.space
        self._widths = sorted({space.galaxy_latents, space.architecture.latents})
        self._spread = pairs.mean.var(0).clamp_min(1e-3)
        squared = (pairs.encode(network).mean - pairs.mean).square()
        self._temperatures = [
            float(squared[:, :width].sum(1).median().clamp_min(1e-3)) for width in self._widths
        ]

    def __call__(self, mean: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of (n, latents) before their weights, by the name of their weight."""
        contrasts = [
            contrastive(mean[:, :width], wanted[:, :width], temperature)
            for width, temperature in zip(self._widths, self._temperatures, strict=True)
        ]
        return {
            "paired": paired(mean, wanted, self._spread.to(mean.device)),
            "contrastive": torch.stack(contrasts).mean(),
        }


class MeanOfTensors(nn.Module):
    """Posterior mean from images and conditions, as tensors that DDP can pass on."""

    def __init__(self, network: Encoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Return (n, latents)."""
        posterior = self.network(Inputs(images, conditions))
        mean: Tensor = posterior.mean
        return mean


@dataclass
class _Progress:
    """Best score and weights so far, and losses and score at each check."""

    best: float
    state: dict[str, Tensor]
    curves: list[dict[str, float]]

    @property
    def steps(self) -> int:
        return int(self.curves[-1]["step"]) if self.curves else 0

    @property
    def checks_since_best(self) -> int:
        """Checks since the best one, or since the start if none was better than it."""
        scores = [row["held_out_mrr"] for row in self.curves]
        return len(scores) - 1 - scores.index(self.best) if self.best in scores else len(scores)

    def note(self, step: int, losses: dict[str, Tensor], score: float, network: Encoder) -> None:
        logged = {name: float(loss.detach()) for name, loss in losses.items()}
        self.curves.append({"step": step, **logged, "held_out_mrr": score})
        if score > self.best:
            self.best, self.state = score, copy.deepcopy(network.state_dict())

    def restore(self, path: Path, identity: str, record: dict[str, object]) -> None:
        if record["identity"] != identity:
            raise StorageError(
                f"{path}: is left over from another adaptation; delete it, or choose another output"
            )
        self.best, self.curves = record["best"], record["curves"]  # type: ignore[assignment]
        self.state = load_best(path)


def fine_tune(
    network: Encoder, pairs: PairedImages, held: PairedImages, settings: AdaptSettings
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train a copy of a network on pairs, and return its best state on held-out ones.

    Each check writes the file ``fine-tuned`` of the checkpoint folder; an interrupted training
    continues from it. Also returns every loss and the held-out mean reciprocal rank at each check.
    """
    fabric, tuning = make_fabric(), settings.fine_tuning
    share = Share.of(min(tuning.batch, len(pairs)))
    if share.rows < share.processes:
        raise CatalogError(
            f"batches of {share.rows} pairs are too few for {share.processes} processes; start "
            "fewer, or match a larger area"
        )
    trained = copy.deepcopy(network).train()
    trained.to(memory_format=torch.channels_last)
    for parameter in trained.parameters():
        parameter.requires_grad_(parameter.numel() > 0)  # processes wait for every gradient
    trained.log_variance.requires_grad_(False)
    plain = torch.optim.AdamW(
        trained.parameters(), lr=tuning.learning_rate, weight_decay=tuning.weight_decay
    )
    model, optimiser = fabric.setup(MeanOfTensors(trained), plain)
    losses_of, wanted, others = PairLosses(held, network), anchor_latents(pairs), pairs.mean
    score = _score(held, network, others)
    progress = _Progress(score, copy.deepcopy(trained.state_dict()), [])
    before = network_hash(pairs.encoder.network)  # the same for any number of processes
    identity = json_hash([before, tuning.model_dump(), settings.seed, len(pairs)])
    checkpoint = settings.checkpoint_file(f"{FINE_TUNED}.safetensors")
    if checkpoint is not None:
        if checkpoint.is_file():
            progress.restore(checkpoint, identity, load_checkpoint(checkpoint, trained, plain))
        check_process_group(checkpoint, progress.steps)
    done = progress.steps
    batches = islice(_batches(len(pairs), share.rows, settings.seed), done, None)
    hidden = not (settings.progress and is_first())
    steps = range(done + 1, tuning.steps + 1)
    for step in tqdm(steps, desc="fine-tuning", initial=done, disable=hidden):
        if progress.checks_since_best >= tuning.patience:
            break
        for group in plain.param_groups:
            group["lr"] = tuning.rate(step)
        rows, symmetry = next(batches)
        mean = batch_means(model, pairs.target, rows, symmetry)
        losses = losses_of(mean, wanted[symmetry, rows].to(mean.device))
        fabric.backward(
            torch.stack([getattr(tuning, name) * loss for name, loss in losses.items()]).sum()
        )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % tuning.check_every and step != tuning.steps:
            continue
        progress.note(step, losses, _score(held, trained, others), trained)
        if checkpoint is not None and is_first():
            record = {"identity": identity, "best": progress.best, "curves": progress.curves}
            save_checkpoint(checkpoint, trained, plain, record, progress.state)
    trained.load_state_dict(progress.state)
    return trained.cpu().requires_grad_(False).eval(), progress.curves


def batch_means(model: nn.Module, target: Inputs, rows: Tensor, symmetry: int) -> Tensor:
    """Return the means of some images in a symmetry, each process computing its share."""
    share = Share.of(len(rows))
    own = target[rows[share.own]]
    inputs = own.with_images(apply_symmetry(own.images, symmetry))
    inputs = inputs.to(next(model.parameters()).device)
    return share.whole(model(inputs.images, inputs.conditions))


def anchor_latents(pairs: PairedImages) -> Tensor:
    """Return the anchor's latents in every symmetry, (8, n, latents), each process its share."""
    share = Share.of(len(pairs))
    network = pairs.space.encoder(pairs.space.anchor).network
    return share.whole(means_by_symmetry(network, pairs.anchor[share.own]), dim=1)


def means_by_symmetry(network: Encoder, inputs: Inputs) -> Tensor:
    """Return posterior means of inputs in each of the symmetries, (8, n, latents) float32.

    Galaxy latents of a symmetric architecture are the same in all eight.
    """
    rotated = (inputs.with_images(apply_symmetry(inputs.images, k)) for k in range(SYMMETRIES))
    means = torch.stack([network.encode(some, pooled=False).mean for some in rotated])
    if network.symmetric:
        galaxy = means[:, :, : network.galaxy_latents]
        galaxy[:] = galaxy.mean(0)
    return means


def _score(held: PairedImages, network: Encoder, others: Tensor) -> float:
    return agreed(float(held.reciprocal_ranks(held.encode(network).mean, others).mean()))


def _batches(n: int, size: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Yield endless shuffled batches of row numbers, each with a random symmetry."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        for i in range(0, n - size + 1, size):
            yield torch.from_numpy(order[i : i + size]), int(rng.integers(SYMMETRIES))

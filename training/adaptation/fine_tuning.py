"""The trained candidate: refine an encoder on pairs while held-out pairs improve.

The loss is explicit and every term is logged: paired latents, contrast over true pairs, MMD, and a
denoising term in which the frozen decoder must draw the anchor's image of a galaxy from the
target's latents. Each galaxy has one or two looks, over which the terms are averaged: the target's
image, and the anchor's as the target would have seen it, with new noise each time
(`training.adaptation.image_matching`). Processes that train together share each batch, and every
term is that of the whole (`training.parallel.processes`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from tqdm import tqdm

from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.files import json_hash
from galaxy_da.models.networks import Encoder
from galaxy_da.models.space_parts import network_hash
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from training.adaptation.candidates import Training
from training.adaptation.image_matching import ImageMatch
from training.adaptation.paired_images import PairedImages
from training.checkpoints import load_best, load_checkpoint, save_checkpoint
from training.losses import contrastive, mmd, paired
from training.parallel.fabric import make_fabric
from training.parallel.processes import Share, agreed, check_process_group, is_first

__all__ = ["FineTuningSettings", "fine_tune"]


_DRAWN = 4
"""One in so many galaxies of a batch is drawn by the decoder, as dear as the encoder."""


class FineTuningSettings(BaseModel):
    """How the trained candidate is refined.

    Attributes
    ----------
    steps, batch : int
        Most steps, and pairs per step.
    learning_rate, weight_decay : float
        Of AdamW, with cosine decay.
    check_every, patience : int
        Steps between looks at the held-out pairs, and looks without gain before stopping.
    paired, contrastive, mmd, denoising : float
        Weights of the terms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=400, ge=0)
    batch: int = Field(default=128, gt=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    check_every: int = Field(default=50, gt=0)
    patience: int = Field(default=3, gt=0)
    paired: float = Field(default=1.0, ge=0)
    contrastive: float = Field(default=1.0, ge=0)
    mmd: float = Field(default=0.5, ge=0)
    denoising: float = Field(default=1.0, ge=0)

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1."""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / self.steps))


def fine_tune(
    network: Encoder,
    training: Training,
    held: PairedImages,
    *,
    settings: FineTuningSettings,
    seed: int,
    degrade: ImageMatch | None = None,
    use_target: bool = True,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train from a candidate.

    Parameters
    ----------
    network : Encoder
        Where to start; not modified.
    training : Training
        Pairs to learn from.
    held : PairedImages
        Pairs that say when to stop.
    settings : FineTuningSettings
        Steps, rates, weights.
    seed : int
        Of the order, the symmetries and the noise.
    degrade : ImageMatch, optional
        Makes the anchor's images look like the target's: a further look at each galaxy.
    use_target : bool
        Whether the target's own images are a look; they need not be where there is another.
    checkpoint : Path, optional
        Where each look leaves what resuming needs; a file there is gone on from, with any number of
        processes.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Encoder
        The state that was best on `held`, the start included.
    list of dict
        Every term and the held-out mean reciprocal rank at each look.

    Raises
    ------
    StorageError
        If the checkpoint is of other settings, seed, network or number of pairs, or not every
        process sees it.
    CatalogError
        If the batches are too small for the number of processes.
    """
    fabric = make_fabric()
    share = Share.of(min(settings.batch, len(training)))
    if share.rows < _DRAWN * share.processes:
        raise CatalogError(
            f"batches of {share.rows} pairs are too few for {share.processes} processes, which "
            f"need {_DRAWN} each; start fewer, or match a larger area"
        )
    trained = copy.deepcopy(network).requires_grad_(True).train()
    trained.to(memory_format=torch.channels_last)
    trained.log_variance.requires_grad_(False)
    plain = torch.optim.AdamW(
        trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    model, optimiser = fabric.setup(trained, plain)
    terms_of = _Terms(training, network, held, fabric, degrade, use_target, seed)
    others = training.pairs.mean
    best, best_state = _score(held, network, others), copy.deepcopy(trained.state_dict())
    curves: list[dict[str, float]] = []
    observations = [use_target, degrade is not None]
    plainest = network_hash(training.network)
    identity = json_hash([plainest, settings.model_dump(), seed, len(training), observations])
    if checkpoint is not None and checkpoint.is_file():
        record = load_checkpoint(checkpoint, trained, plain)
        if record["identity"] != identity:
            raise StorageError(
                f"{checkpoint}: is left over from another adaptation; delete it, or choose another "
                "output"
            )
        best, curves = record["best"], record["curves"]
        best_state = load_best(checkpoint)
    done = int(curves[-1]["step"]) if curves else 0
    if checkpoint is not None:
        check_process_group(checkpoint, done)
    steps = range(done + 1, settings.steps + 1)
    batches = islice(_batches(len(training), share.rows, seed), done, None)
    for step in tqdm(
        steps, desc="fine-tuning", initial=done, disable=not (progress and is_first())
    ):
        if _idle(curves, best) >= settings.patience:
            break
        for group in plain.param_groups:
            group["lr"] = settings.rate(step)
        rows, k = next(batches)
        terms = terms_of(model, rows, k, step, share)
        fabric.backward(
            torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()
        )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % settings.check_every and step != settings.steps:
            continue
        score = _score(held, trained, others)
        logged = {name: float(term.detach()) for name, term in terms.items()}
        curves.append({"step": step, **logged, "held_out_mrr": score})
        if score > best:
            best, best_state = score, copy.deepcopy(trained.state_dict())
        if checkpoint is not None and is_first():
            record = {"identity": identity, "best": best, "curves": curves}
            save_checkpoint(checkpoint, trained, plain, record, best_state)
    trained.load_state_dict(best_state)
    return trained.cpu().requires_grad_(False).eval(), curves


class _Terms:
    """The terms of the loss on some of the pairs."""

    def __init__(
        self,
        training: Training,
        network: Encoder,
        held: PairedImages,
        fabric: Fabric,
        degrade: ImageMatch | None,
        use_target: bool,
        seed: int,
    ) -> None:
        self.training, self.fabric = training, fabric
        self.degrade, self.use_target, self.seed = degrade, use_target, seed
        if degrade is not None:
            self.seen, self.lacking = degrade.spread(training.pairs.anchor)
        space = training.pairs.space
        self.widths = sorted({space.galaxy_latents, space.architecture.latents})
        self.decoder = copy.deepcopy(training.pairs.space.decoder).to(fabric.device)
        spread = training.latents.flatten(0, 1).var(0)
        self.scale = spread.clamp_min(1e-3).to(fabric.device)
        off = (held.encode(network).mean - held.mean).square()
        self.temperatures = [
            float(off[:, :width].sum(1).median().clamp_min(1e-3)) for width in self.widths
        ]

    def __call__(
        self, model: nn.Module, rows: Tensor, k: int, step: int, share: Share
    ) -> dict[str, Tensor]:
        device, own = self.fabric.device, rows[share.own]
        observations = self._observations(rows, step, share)
        images = apply_symmetry(torch.cat(observations), k).to(
            device, memory_format=torch.channels_last
        )
        means = model(images).mean.split(len(own))
        wanted = self.training.latents[k, rows].to(device)
        drawn = Share(max(len(rows) // _DRAWN, 1), share.number, share.processes)
        image = apply_symmetry(self.training.pairs.anchor[own[: len(drawn)]], k).to(device)
        terms = [
            self._terms(share.whole(mean), wanted)
            | {"denoising": drawn.mean(self._denoising(mean[: len(drawn)], image), len(drawn))}
            for mean in means
        ]
        return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    def _observations(self, rows: Tensor, step: int, share: Share) -> list[Tensor]:
        own = rows[share.own]
        observations = [self.training.pairs.target[own]] if self.use_target else []
        if self.degrade is not None:
            draws = torch.Generator().manual_seed(
                int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
            )
            white = self.degrade.noise(len(rows), self.seen.shape[-2:], draws)[share.own]
            observations.append(self.degrade.observed(self.seen[own], self.lacking, white))
        return observations

    def _denoising(self, mean: Tensor, image: Tensor) -> Tensor:
        with self.fabric.autocast():
            drawn = self.decoder(mean).float()
        error: Tensor = (drawn - image).square().mean()
        return error

    def _terms(self, mean: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        contrasts = [
            contrastive(mean[:, :width], wanted[:, :width], temperature)
            for width, temperature in zip(self.widths, self.temperatures, strict=True)
        ]
        galaxy = self.widths[0]
        return {
            "paired": paired(mean, wanted, self.scale),
            "contrastive": torch.stack(contrasts).mean(),
            "mmd": mmd(mean[:, :galaxy], wanted[:, :galaxy]),
        }


def _score(held: PairedImages, network: Encoder, others: Tensor) -> float:
    return agreed(float(held.reciprocal_ranks(held.encode(network).mean, others).mean()))


def _idle(curves: list[dict[str, float]], best: float) -> int:
    """Count looks since the best one, or since the start where none was better than it."""
    scores = [row["held_out_mrr"] for row in curves]
    return len(scores) - 1 - scores.index(best) if best in scores else len(scores)


def _batches(n: int, size: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Endless shuffled batches of row numbers, each with a random symmetry."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        for i in range(0, n - size + 1, size):
            yield torch.from_numpy(order[i : i + size]), int(rng.integers(SYMMETRIES))

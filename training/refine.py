"""The trained candidate: refine an encoder on pairs while held-out pairs improve.

The loss is explicit and every term is logged: paired latents, contrast over true pairs, MMD, and a
denoising term in which the frozen decoder must draw the anchor's image of a galaxy from the
target's latents.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from tqdm import tqdm

from galaxy_da.models import Encoder
from training.alignment import contrastive, mmd, paired
from training.fabric import make_fabric
from training.paired_images import PairedImages
from training.symmetry import SYMMETRIES, turn

__all__ = ["RefineSettings", "refine"]


class RefineSettings(BaseModel):
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
    contrastive: float = Field(default=0.3, ge=0)
    mmd: float = Field(default=0.5, ge=0)
    denoising: float = Field(default=1.0, ge=0)


def refine(
    network: Encoder,
    train: PairedImages,
    latents: Tensor,
    held: PairedImages,
    *,
    settings: RefineSettings,
    seed: int,
    progress: bool = False,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train from a candidate.

    Parameters
    ----------
    network : Encoder
        Where to start; not modified.
    train, held : PairedImages
        Pairs to learn from, and pairs that say when to stop.
    latents : (8, n, latents) float tensor
        The anchor's posterior means of `train` in every symmetry.
    settings : RefineSettings
        Steps, rates, weights.
    seed : int
        Of the order and the symmetries.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Encoder
        The state that was best on `held`, the start included.
    list of dict
        Every term and the held-out mean reciprocal rank at each look.
    """
    fabric = make_fabric()
    trained = copy.deepcopy(network).requires_grad_(True).train()
    trained.log_variance.requires_grad_(False)
    weights = [p for p in trained.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(settings.steps, 1))
    model, optimiser = fabric.setup(trained, optimiser)
    decoder = copy.deepcopy(train.space.decoder).to(fabric.device)
    scale = latents.flatten(0, 1).var(0).clamp_min(1e-3).to(fabric.device)
    temperature = _median_squared_distance(network, held)
    best, best_state = held.score(network), copy.deepcopy(trained.state_dict())
    curves: list[dict[str, float]] = []
    idle = 0
    batches = _batches(len(train), settings.batch, seed)
    for step in tqdm(range(1, settings.steps + 1), desc="refine", disable=not progress):
        rows, k = next(batches)
        mean = model(turn(train.target[rows], k).to(fabric.device)).mean
        anchor_mean = latents[k, rows].to(fabric.device)
        with fabric.autocast():
            drawn = decoder(mean).float()
        clean = turn(train.anchor[rows], k).to(fabric.device)
        terms = {
            "paired": paired(mean, anchor_mean, scale),
            "contrastive": contrastive(mean, anchor_mean, temperature),
            "mmd": mmd(mean, anchor_mean),
            "denoising": (drawn - clean).square().mean(),
        }
        fabric.backward(
            torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()
        )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        if step % settings.check_every and step != settings.steps:
            continue
        score = held.score(trained)
        logged = {name: float(term.detach()) for name, term in terms.items()}
        curves.append({"step": step, **logged, "held_out_mrr": score.mean_reciprocal_rank})
        idle += 1
        if score.mean_reciprocal_rank > best.mean_reciprocal_rank:
            best, best_state, idle = score, copy.deepcopy(trained.state_dict()), 0
        if idle >= settings.patience:
            break
    trained.load_state_dict(best_state)
    return trained.cpu().requires_grad_(False).eval(), curves


def _batches(n: int, size: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Endless shuffled batches of row numbers, each with a random symmetry."""
    rng = np.random.default_rng(seed)
    size = min(size, n)
    while True:
        order = rng.permutation(n)
        for i in range(0, n - size + 1, size):
            yield torch.from_numpy(order[i : i + size]), int(rng.integers(SYMMETRIES))


def _median_squared_distance(network: Encoder, held: PairedImages) -> float:
    """Median squared distance of held-out pairs, the natural temperature of the contrast."""
    squared = (held.encode(network).mean - held.mean).square().sum(1)
    return float(squared.median().clamp_min(1e-3))

"""Fine-tuning of an encoder on pairs, while held-out pairs improve.

Each process computes its share of a batch; every loss is that of the whole batch
(`training.parallel.processes`). `training.adaptation.fine_tuning_losses` defines the losses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.files import json_hash
from galaxy_da.models.networks import Encoder
from galaxy_da.models.space_parts import network_hash
from galaxy_da.models.symmetries import SYMMETRIES
from training.adaptation.candidates import DEGRADED, FINE_TUNED, EncodedPairs
from training.adaptation.fine_tuning_losses import LEAST_PER_PROCESS, FineTuningLosses, Observer
from training.adaptation.image_matching import ImageMatch
from training.adaptation.images import PairedImages
from training.adaptation.settings import AdaptSettings
from training.checkpoints import load_best, load_checkpoint, save_checkpoint
from training.parallel.fabric import make_fabric
from training.parallel.processes import Share, agreed, check_process_group, is_first

__all__ = ["fine_tune"]


def fine_tune(
    network: Encoder,
    training: EncodedPairs,
    held: PairedImages,
    settings: AdaptSettings,
    *,
    degrade: ImageMatch | None = None,
    use_target: bool = True,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train a copy of a network on pairs, and return its best state on held-out ones.

    Each check writes the file ``fine-tuned`` or, without the target's images, ``degraded`` of the
    checkpoint folder; an interrupted training continues from it. `degrade` makes an image of the
    target survey from each anchor image, with new noise in each step; without it, `use_target` must
    be true. Also returns every loss and the held-out mean reciprocal rank at each check.
    """
    fabric, tuning = make_fabric(), settings.fine_tuning
    share = Share.of(min(tuning.batch, len(training)))
    if share.rows < LEAST_PER_PROCESS * share.processes:
        raise CatalogError(
            f"batches of {share.rows} pairs are too few for {share.processes} processes, which "
            f"need {LEAST_PER_PROCESS} each; start fewer, or match a larger area"
        )
    trained = copy.deepcopy(network).requires_grad_(True).train()
    trained.to(memory_format=torch.channels_last)
    trained.log_variance.requires_grad_(False)
    plain = torch.optim.AdamW(
        trained.parameters(), lr=tuning.learning_rate, weight_decay=tuning.weight_decay
    )
    model, optimiser = fabric.setup(trained, plain)
    observer = Observer(training.pairs, degrade, use_target, settings.seed)
    losses_of = FineTuningLosses(training, network, held, observer, fabric)
    others = training.pairs.mean
    best, best_state = _score(held, network, others), copy.deepcopy(trained.state_dict())
    curves: list[dict[str, float]] = []
    identity = json_hash(
        [
            network_hash(training.network),
            tuning.model_dump(),
            settings.seed,
            len(training),
            [use_target, degrade is not None],
        ]
    )
    name = FINE_TUNED if use_target else DEGRADED
    checkpoint = settings.checkpoint_file(f"{name}.safetensors")
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
    steps = range(done + 1, tuning.steps + 1)
    batches = islice(_batches(len(training), share.rows, settings.seed), done, None)
    hidden = not (settings.progress and is_first())
    for step in tqdm(steps, desc="fine-tuning", initial=done, disable=hidden):
        if _checks_since_best(curves, best) >= tuning.patience:
            break
        for group in plain.param_groups:
            group["lr"] = tuning.rate(step)
        rows, k = next(batches)
        losses = losses_of(model, rows, k, step, share)
        fabric.backward(
            torch.stack([getattr(tuning, name) * loss for name, loss in losses.items()]).sum()
        )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % tuning.check_every and step != tuning.steps:
            continue
        score = _score(held, trained, others)
        logged = {name: float(loss.detach()) for name, loss in losses.items()}
        curves.append({"step": step, **logged, "held_out_mrr": score})
        if score > best:
            best, best_state = score, copy.deepcopy(trained.state_dict())
        if checkpoint is not None and is_first():
            record = {"identity": identity, "best": best, "curves": curves}
            save_checkpoint(checkpoint, trained, plain, record, best_state)
    trained.load_state_dict(best_state)
    return trained.cpu().requires_grad_(False).eval(), curves


def _score(held: PairedImages, network: Encoder, others: Tensor) -> float:
    return agreed(float(held.reciprocal_ranks(held.encode(network).mean, others).mean()))


def _checks_since_best(curves: list[dict[str, float]], best: float) -> int:
    """Count checks since the best one, or since the start if none was better than it."""
    scores = [row["held_out_mrr"] for row in curves]
    return len(scores) - 1 - scores.index(best) if best in scores else len(scores)


def _batches(n: int, size: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Yield endless shuffled batches of row numbers, each with a random symmetry."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        for i in range(0, n - size + 1, size):
            yield torch.from_numpy(order[i : i + size]), int(rng.integers(SYMMETRIES))

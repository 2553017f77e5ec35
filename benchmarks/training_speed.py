"""Measure training speed beside plain fp32 training of the same model, and as the data grow.

``python -m benchmarks.training_speed [--images N] [--rounds N]`` prints two tables on one thread.
Candidates alternate and processor time is measured, so that other load affects all alike. Medians
over rounds are reported.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.images.inputs import Inputs
from galaxy_da.models.devices import Precision, autocast
from galaxy_da.models.networks import Architecture
from training.losses import kl_divergence
from training.parallel.fabric import make_fabric
from training.pretraining.learner import Batch, Learner, loss_of
from training.pretraining.loop import SplitRows, train
from training.pretraining.prepared_images import TrainingImages
from training.pretraining.recipe import Objective, Optimiser, Recipe, Sky

_CPU = torch.device("cpu")
_BATCH, _IMAGES, _ROUNDS = 256, 2048, 5
_NOISE, _RATE = 0.2, 1e-3
_VALIDATION = 16
_AT_ONCE = 2048


def training_rows(n: int = _IMAGES, rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Measure training of the default network, plain and with each optimisation.

    Returns
    -------
    list of dict
        ``variant``, ``images_per_s``, and ``to_first``, the median ratio to the plain loop of the
        same round. "as trained" is `training.pretraining.loop.train`, with reading of images.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = _data(Path(folder), n)
        images = torch.from_numpy(data.read(np.arange(n)))
        variants: dict[str, Callable[[], float]] = {
            "plain fp32 eager": _plain(images),
            "fp32, channels last": _step(images, "fp32", last=True),
            "bf16": _step(images, "auto", last=False),
            "bf16, channels last": _step(images, "auto", last=True),
            "bf16, channels last, batch 64": _step(images, "auto", last=True, batch=64),
            "bf16, channels last, batch 1024": _step(images, "auto", last=True, batch=1024),
            "bf16, channels last, compiled": _step(images, "auto", last=True, compiled=True),
            "as trained": lambda: _epoch(data, Path(folder)),
        }
        return _alternate(variants, "plain fp32 eager", rounds)


def growth_rows(
    sizes: tuple[int, ...] = (2048, 8192, 32768), rounds: int = 3
) -> list[dict[str, Any]]:
    """Measure an epoch of `training.pretraining.loop.train` on growing numbers of images.

    Returns
    -------
    list of dict
        ``images``, ``epoch_s``, ``images_per_s``, and ``to_first``, the median ratio of the rate to
        that of the first size.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(n) for n in sizes]
        data = [_data(path, n) for path, n in zip(paths, sizes, strict=True)]
        rates = np.array(
            [
                [_epoch(images, path) for images, path in zip(data, paths, strict=True)]
                for _ in range(rounds)
            ]
        )
    middle = np.median(rates, 0)
    ratio = np.median(rates / rates[:, :1], 0)
    return [
        {"images": n, "epoch_s": n / rate, "images_per_s": rate, "to_first": r}
        for n, rate, r in zip(sizes, middle.tolist(), ratio.tolist(), strict=True)
    ]


def _alternate(
    variants: Mapping[str, Callable[[], float]], first: str, rounds: int
) -> list[dict[str, Any]]:
    """Run variants alternately; the first round is a warm-up."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, variant in variants.items():
            rate = variant()
            if turn:
                rates[name].append(rate)
    return [
        {
            "variant": name,
            "images_per_s": float(np.median(found)),
            "to_first": float(np.median(np.divide(found, rates[first]))),
        }
        for name, found in rates.items()
    ]


def _plain(images: Tensor) -> Callable[[], float]:
    """Return an epoch of plain training on the ELBO: fp32, default memory layout."""
    torch.manual_seed(1)
    model = Learner(Architecture())
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE)

    def once() -> float:
        start = time.process_time()
        for batch in torch.split(images, _BATCH):
            posterior = model.encoder(Inputs.plain(batch))
            drawn = posterior.mean + posterior.variance.sqrt() * torch.randn_like(posterior.mean)
            error = (model.decoder(drawn) - batch).square().mean() / (2 * _NOISE**2)
            loss = error + kl_divergence(posterior).sum(1).mean() / batch[0].numel()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return len(images) / (time.process_time() - start)

    return once


def _step(
    images: Tensor,
    precision: Precision,
    *,
    last: bool,
    batch: int = _BATCH,
    compiled: bool = False,
) -> Callable[[], float]:
    """Return an epoch of training by the library's objective, without reading images."""
    torch.manual_seed(1)
    recipe = _recipe(batch)
    layout = torch.channels_last if last else torch.contiguous_format
    learner = Learner(recipe.architecture)
    learner.to(memory_format=layout)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=_RATE)
    run: nn.Module = torch.compile(learner) if compiled else learner  # type: ignore[assignment]

    def forward(*arguments: Any) -> Any:
        with autocast(_CPU, precision):
            return run(*arguments)

    def once() -> float:
        start = time.process_time()
        for some in torch.split(images, batch):
            none = torch.full((len(some),), torch.nan)
            unknown = torch.full((len(some),), -1)
            given = Batch(some.contiguous(memory_format=layout), none, unknown)
            loss, _ = loss_of(recipe, learner, forward, given, 0.0)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return len(images) / (time.process_time() - start)

    return once


def _epoch(data: TrainingImages, folder: Path) -> float:
    """Return images per second of one epoch, initialisation and checkpoint included."""
    work = Path(tempfile.mkdtemp(dir=folder))
    fabric, rows = make_fabric(), np.arange(len(data.part))
    start = time.process_time()
    train(_recipe(_BATCH), data, SplitRows(rows, rows[:_VALIDATION]), work, fabric)
    return len(rows) / (time.process_time() - start)


def _recipe(batch: int) -> Recipe:
    return Recipe(
        name="speed",
        sky=Sky(galaxies=1),
        objective=Objective(noise=_NOISE),
        optimiser=Optimiser(epochs=1, batch=batch, learning_rate=_RATE),
    )


def _data(folder: Path, n: int) -> TrainingImages:
    """Store noise images in the default frame, as prepared images are."""
    folder.mkdir(exist_ok=True)
    shape = (n, 3, 64, 64)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float16, shape)
    rng = np.random.default_rng(1)
    for start in range(0, n, _AT_ONCE):
        images[start : start + _AT_ONCE] = rng.normal(size=(min(_AT_ONCE, n - start), *shape[1:]))
    images.flush()
    nothing = pa.nulls(n, pa.string()), pa.nulls(n, pa.float32())
    rows = pa.table({"part": ["train"] * n, "label": nothing[0], "redshift": nothing[1]})
    return TrainingImages((np.load(folder / "images.npy", mmap_mode="r"),), rows)


def main() -> None:
    """Print the tables."""
    parser = command_parser("training_speed", __doc__)
    parser.add_argument("--images", type=int, default=_IMAGES, help="images of an epoch")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    n, rounds = given.images, given.rounds
    print_rows("Training the default network [images/s], one thread", training_rows(n, rounds))
    print_rows("Epochs as the data grow", growth_rows((n, 4 * n, 16 * n), min(rounds, 3)))


if __name__ == "__main__":
    main()

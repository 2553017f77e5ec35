"""Networks and objectives at equal latent size and equal training time, on one simulated sky.

``python -m training.comparisons --minutes 3`` prints: ours, the seed's network and PCA-40, and ours
with the MMD objective; then training's images/s against plain fp32 eager, and against the amount of
data. One thread, so that times compare.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from catalogs.simulate import sky_chunks
from catalogs.splits import sky_split
from evaluation.benchmarks.tables import print_rows
from evaluation.denoising import compare_images
from evaluation.retrieval import match_ranks, recall_of
from galaxy_da.devices import Precision, autocast
from galaxy_da.images import Frame
from galaxy_da.models import Architecture
from galaxy_da.surveys import get_survey
from galaxy_da.symmetry import SYMMETRIES, turn
from training.health import sky_bias
from training.image_source import prepare_view
from training.learner import Batch, Learner, loss_of
from training.objectives import kl_divergence
from training.recipes import Objective, Optimiser, Recipe, Sky

__all__ = ["compare", "speed_rows"]

_CPU = torch.device("cpu")
_QUANTITIES = ("r_mag", "half_light_arcsec", "g_minus_r", "bulge_fraction", "axis_ratio")
_BATCH, _RATE = 128, 1.5e-3
_Project = Callable[[Tensor], np.ndarray]


def compare(galaxies: int, seconds: float, seed: int = 1) -> list[dict[str, Any]]:
    """Train each network for so long and measure all on galaxies none has seen.

    Parameters
    ----------
    galaxies : int
        Of the sky, seen twice by DECaLS; the test part of it measures.
    seconds : float
        Wall time of each training; PCA takes what it takes.
    seed : int
        Of the sky and the networks.

    Returns
    -------
    list of dict
        ``psnr`` and ``ssim`` (sigma 1.5 px, over the range of the test images), ``probe_r2`` (mean
        over magnitude, radius, colour, bulge fraction and axis ratio of cross-validated ridges),
        ``recall`` (at 1, of the second look among all), ``sky_bias``, ``active``, ``kl``,
        ``images_seen``.
    """
    looks, truth = _sky(galaxies, seed)
    part = sky_split(truth["ra"].to_numpy(), truth["dec"].to_numpy())
    train, test = looks[0][part != "test"], [look[part == "test"] for look in looks]
    quantities = truth.filter(pa.array(part == "test")).select(_QUANTITIES)
    rows = []
    for name, recipe in _recipes(galaxies, seed).items():
        learner, seen = _train(recipe, train, seconds)
        with torch.no_grad():
            posteriors = [learner.encoder(look) for look in test]
            decoded = learner.decoder(posteriors[0].mean)
        kl = kl_divergence(posteriors[0]).mean(0)
        means = [posterior.mean.numpy() for posterior in posteriors]
        row = _measured(means, decoded, test[0], quantities)
        counts = {"active": int((kl > 0.1).sum()), "kl": float(kl.sum()), "images_seen": seen}
        rows.append({"network": name, **row, **counts})
    return [*rows, {"network": "PCA-40", **_pca_row(train, test, quantities, seed)}]


def speed_rows(seconds: float = 6.0, seed: int = 1) -> list[dict[str, Any]]:
    """Training images per second, as pretrain trains and in plain fp32 eager, by amount of data.

    Returns
    -------
    list of dict
        ``what``, ``data`` (images), ``images_per_s``.
    """
    recipe = _recipes(1, seed)["ours, ELBO"]
    rows = []
    ways: tuple[tuple[Precision, bool, int], ...] = (
        ("fp32", False, 1024),
        ("fp32", True, 1024),
        ("auto", True, 1024),
        ("auto", True, 8192),
    )
    for precision, last, data in ways:
        images = torch.randn(data, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        start = time.perf_counter()
        _, seen = _train(recipe, images, seconds, precision=precision, channels_last=last)
        took = time.perf_counter() - start
        layout = "channels last" if last else "plain eager"
        rows.append({"what": f"{precision}, {layout}", "data": data, "images_per_s": seen / took})
    return rows


def _recipes(galaxies: int, seed: int) -> dict[str, Recipe]:
    settings = {
        "ours, ELBO": ({}, {}),
        "seed's network, ELBO": ({"kind": "galaxy-vae"}, {}),
        "ours, MMD": ({}, {"beta": 0.0, "mmd": 1000.0}),
    }
    return {
        name: Recipe(
            name=name,
            seed=seed,
            sky=Sky(galaxies=galaxies),
            architecture=Architecture.model_validate(architecture),
            objective=Objective.model_validate({"noise": 0.2, **objective}),
            optimiser=Optimiser(epochs=1, batch=_BATCH, learning_rate=_RATE),
        )
        for name, (architecture, objective) in settings.items()
    }


def _sky(galaxies: int, seed: int) -> tuple[list[Tensor], pa.Table]:
    survey, frame = get_survey("decals"), Frame()
    names = ["decals", "decals-repeat"]
    looks: list[list[Tensor]] = [[], []]
    tables = []
    for chunk in sky_chunks([survey], galaxies, seed=seed, repeat_anchor=True):
        for images, view in zip(looks, chunk.look(names).values(), strict=True):
            images.append(prepare_view(view, frame))
        tables.append(chunk.truth)
    return [torch.cat(images) for images in looks], pa.concat_tables(tables)


def _train(
    recipe: Recipe,
    images: Tensor,
    seconds: float,
    *,
    precision: Precision = "auto",
    channels_last: bool = True,
) -> tuple[Learner, int]:
    """Train for so long, the rate falling to zero by then; also how many images it took."""
    torch.manual_seed(recipe.seed)
    learner = Learner(recipe.architecture)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    learner.to(memory_format=layout)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=_RATE)
    none, unknown = torch.full((_BATCH,), torch.nan), torch.full((_BATCH,), -1)

    def forward(*arguments: Any) -> Any:
        with autocast(_CPU, precision):
            return learner(*arguments)

    start, seen = time.perf_counter(), 0
    while (share := (time.perf_counter() - start) / seconds) < 1:
        warm = min(1.0, (seen / _BATCH + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * warm * 0.5 * (1 + np.cos(np.pi * share))
        chosen = turn(
            images[torch.randint(len(images), (_BATCH,))], int(torch.randint(SYMMETRIES, ()))
        )
        batch = Batch(chosen.contiguous(memory_format=layout), none, unknown)
        loss, _ = loss_of(recipe, learner, forward, batch, 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen += _BATCH
    return learner.requires_grad_(False).eval(), seen


def _pca_row(
    train: Tensor, test: list[Tensor], quantities: pa.Table, seed: int
) -> dict[str, float | None]:
    from sklearn.decomposition import PCA

    pca = PCA(40, svd_solver="randomized", random_state=seed).fit(train.flatten(1).numpy())
    latents = [pca.transform(look.flatten(1).numpy()) for look in test]
    decoded = torch.from_numpy(pca.inverse_transform(latents[0])).float().view_as(test[0])
    return _measured(latents, decoded, test[0], quantities)


def _measured(
    latents: list[np.ndarray], decoded: Tensor, images: Tensor, quantities: pa.Table
) -> dict[str, float | None]:
    value_range = float(images.quantile(0.999) if images.numel() < 2**24 else images.max())
    scores = compare_images(decoded.float(), images, value_range - float(images.min()))
    whitened = [StandardScaler().fit(latents[0]).transform(some) for some in latents]
    ranks = match_ranks(whitened[1], whitened[0])
    return {
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        "probe_r2": _probe_r2(whitened[0], quantities),
        "recall": recall_of(ranks, len(ranks)).recall_at_1,
        "sky_bias": sky_bias(images, decoded.float()),
    }


def _probe_r2(latents: np.ndarray, quantities: pa.Table) -> float:
    from sklearn.model_selection import cross_val_score

    scores = [
        cross_val_score(RidgeCV(np.logspace(-2, 4, 13)), latents, quantities[name].to_numpy(), cv=5)
        for name in quantities.column_names
    ]
    return float(np.mean(scores))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each training")
    parser.add_argument("--galaxies", type=int, default=6000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = compare(asked.galaxies, 60 * asked.minutes)
    print_rows(f"40 latents, {asked.minutes:g} min each, {asked.galaxies} galaxies", rows)
    print_rows("Training speed [images/s], one thread", speed_rows())


if __name__ == "__main__":
    main()

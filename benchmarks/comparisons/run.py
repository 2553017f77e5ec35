"""Train every candidate and measure it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.comparisons.measure import latent_scores, reconstruction_scores
from benchmarks.comparisons.networks import NETWORKS, ours
from benchmarks.comparisons.orientation import canonical
from benchmarks.comparisons.sky import ComparisonSky
from benchmarks.comparisons.train import Trained, recipe_of, train
from benchmarks.measures.reconstruction import active_latents, encode_for_decoder, kl_per_latent
from galaxy_da.models.devices import autocast
from galaxy_da.models.networks import Architecture, Encoder
from galaxy_da.space import LatentSpace
from training.pretraining.recipe import Recipe

__all__ = ["compare_networks", "compare_poses", "measure_space"]

_LATENTS, _NUISANCE = 40, 12
_MMD, _CONTRAST = 1000.0, 500.0
_CPU = torch.device("cpu")
_Encode = Callable[[Tensor], np.ndarray]
_Change = Callable[[Tensor], Tensor]


def compare_networks(
    sky: ComparisonSky, seconds: float, folder: Path, seed: int = 1
) -> Iterator[dict[str, Any]]:
    """Fit PCA and train each network, and ours with the MMD objective, for equal time.

    Parameters
    ----------
    sky : ComparisonSky
    seconds : float
        Processor time of each training.
    folder : Path
        Folder that keeps trained networks; those are not trained again.
    seed : int
        Seed of weights, order and noise.

    Yields
    ------
    dict
        ``network``; the scores of `benchmarks.comparisons.measure`; ``active`` (latents in use)
        and ``kl`` [nat]; ``images_per_s`` and ``images`` of training.
    """
    pca = PCA(_LATENTS, svd_solver="randomized", random_state=seed)
    pca.fit(sky.train.flatten(0, 1).flatten(1).float().numpy())
    drawn = torch.from_numpy(pca.inverse_transform(pca.transform(sky.first.flatten(1).numpy())))
    yield {
        "network": f"PCA-{_LATENTS}",
        **reconstruction_scores(sky.first, drawn.float().view_as(sky.first)),
        **_scores(sky, lambda images: pca.transform(images.flatten(1).numpy())),
    }
    plain = recipe_of(Architecture(latents=_LATENTS), seed)
    infovae = recipe_of(Architecture(latents=_LATENTS), seed, beta=0.0, mmd=_MMD)
    candidates = [(name, plain, build) for name, build in NETWORKS.items()]
    for name, recipe, build in [*candidates, ("ours-mmd", infovae, ours)]:
        trained = train(recipe, build, sky.train, seconds, folder / f"{name}.safetensors")
        encoder, decoder = trained.learner.encoder, trained.learner.decoder
        with torch.no_grad():
            posterior = encoder(sky.first)
            decoded = decoder(posterior.mean)
        mean, variance = posterior.mean.numpy(), posterior.variance.numpy()
        yield {
            "network": name,
            **reconstruction_scores(sky.first, decoded),
            **_scores(sky, _means(encoder)),
            "active": int(active_latents(mean).sum()),
            "kl": float(kl_per_latent(mean, variance).sum()),
            "images_per_s": trained.images_per_s,
            "images": trained.images,
        }


def compare_poses(
    sky: ComparisonSky, seconds: float, folder: Path, seed: int = 1
) -> Iterator[dict[str, Any]]:
    """Compare treatments of pose, each trained for equal time.

    Parameters
    ----------
    sky, seconds, folder, seed
        As for `compare_networks`; "ours" is the same network.

    Yields
    ------
    dict
        ``pose``; scores of the galaxy latents (`benchmarks.comparisons.measure`);
        ``train_per_s`` and ``encode_per_s``, images per second of one thread.
    """
    plain = recipe_of(Architecture(latents=_LATENTS), seed)
    apart = recipe_of(
        Architecture(latents=_LATENTS, nuisance_latents=_NUISANCE), seed, contrast=_CONTRAST
    )

    def upright(images: Tensor) -> Tensor:
        return canonical(images)[0]

    def trained(name: str, recipe: Recipe, before: _Change | None = None) -> Trained:
        keep = folder / f"{name}.safetensors"
        return train(recipe, ours, sky.train, seconds, keep, before)

    augmented, observations = trained("ours", plain), trained("two-observations", apart)
    oriented = trained("canonical", plain, upright)
    means = _means(oriented.learner.encoder)
    for name, network, encode in (
        ("augmentation", augmented, _means(augmented.learner.encoder)),
        ("augmentation, pooled", augmented, _pooled(augmented.learner.encoder)),
        ("canonical orientation", oriented, lambda images: means(upright(images))),
        ("two observations", observations, _means(observations.learner.encoder)),
        ("two observations, pooled", observations, _pooled(observations.learner.encoder)),
    ):
        start = time.process_time()
        encode(sky.first)
        encode_per_s = len(sky.first) / (time.process_time() - start)
        yield {
            "pose": name,
            **_scores(sky, encode),
            "train_per_s": network.images_per_s,
            "encode_per_s": encode_per_s,
        }


def measure_space(sky: ComparisonSky, name: str) -> dict[str, Any]:
    """Measure a finished space as `compare_networks` does.

    Parameters
    ----------
    sky : ComparisonSky
        Sky of galaxies that the space was not trained on.
    name : str
        Folder or shipped name of a space with the default frame.
    """
    space = LatentSpace.load(name)
    galaxy = space.galaxy_latents

    def embedded(images: Tensor) -> np.ndarray:
        return space.encode(images, space.anchor).mean[:, :galaxy].numpy()

    posterior = encode_for_decoder(space, sky.first)
    mean, variance = posterior.mean.numpy(), posterior.variance.numpy()
    return {
        "network": name,
        **reconstruction_scores(sky.first, space.decode(posterior.mean)),
        **_scores(sky, embedded),
        "active": int(active_latents(mean).sum()),
        "kl": float(kl_per_latent(mean, variance).sum()),
    }


def _scores(sky: ComparisonSky, encode: _Encode) -> dict[str, float]:
    return latent_scores(encode(sky.first), encode(sky.rotated), encode(sky.second), sky.truth)


def _means(encoder: Encoder) -> _Encode:
    """Return a function from images to means of galaxy latents, in bf16 where native."""
    return lambda images: _encoded(encoder, images, symmetric=False)


def _pooled(encoder: Encoder) -> _Encode:
    return lambda images: _encoded(encoder, images, symmetric=True)


@torch.no_grad()
def _encoded(encoder: Encoder, images: Tensor, *, symmetric: bool) -> np.ndarray:
    encoder.symmetric = symmetric
    with autocast(_CPU, "auto"):
        means = [
            encoder.pooled(some.contiguous(memory_format=torch.channels_last)).mean
            for some in torch.split(images, 256)
        ]
    return torch.cat(means)[:, : encoder.galaxy_latents].float().numpy()

"""Fit a normalising flow to the latents and compare its decoded draws with real images.

``python -m benchmarks.flow SPACE SAMPLE [--draws FILE.npy]`` prints Frechet distances of draws from
the flow and from the unit Gaussian. The file receives draws of a flow fitted to the whole sample,
for ``python -m benchmarks.anchor --drawn``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import zuko
from sklearn.decomposition import PCA
from torch import Tensor, nn

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.loading import load_images
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace

__all__ = ["LatentFlow", "fit_flow", "frechet_distance", "sample_quality"]

_BATCH = 256
_COMPONENTS = 40


class LatentFlow(nn.Module):
    """Neural spline flow over standardised latents.

    Parameters
    ----------
    centre, spread : (latents,) float tensor
        Mean and standard deviation of the latents.

    References
    ----------
    Durkan et al. (2019), Neural spline flows, arXiv 1906.04032.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.flow = zuko.flows.NSF(len(centre), transforms=3, hidden_features=(128, 128))

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the (n,) natural logarithm of the density at (n, latents)."""
        standard = (latents - self.centre) / self.spread
        result: Tensor = self.flow().log_prob(standard) - self.spread.log().sum()
        return result

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw n latent vectors, (n, latents)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: Tensor = self.centre + self.spread * self.flow().sample((n,))
            return drawn


def fit_flow(latents: Tensor, *, steps: int = 2000, seed: int = 0) -> LatentFlow:
    """Fit a flow by maximum likelihood.

    Parameters
    ----------
    latents : (n, latents) float tensor
        Draws from posteriors, or their means. A random tenth chooses the step to keep.
    steps : int
        Steps of Adam on 256 latents, with a learning rate that decays to zero.
    seed : int
        Seed of weights, order and the tenth.

    Raises
    ------
    ValueError
        If there are fewer than 20 vectors.
    """
    if len(latents) < 20:
        raise ValueError(f"a flow needs at least 20 latent vectors but got {len(latents)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(len(latents))
        validation, rows = latents[order[: len(order) // 10]], latents[order[len(order) // 10 :]]
        flow = LatentFlow(rows.mean(0), rows.std(0).clamp_min(1e-6))
        optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        best, best_state = -np.inf, flow.state_dict()
        for step in range(steps):
            batch = rows[torch.randint(len(rows), (min(_BATCH, len(rows)),))]
            optimiser.zero_grad()
            (-flow.log_density(batch).mean()).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            optimiser.step()
            decay.step()
            if (step + 1) % max(steps // 20, 1) == 0:
                with torch.no_grad():
                    score = float(flow.log_density(validation).mean())
                if score > best:
                    best = score
                    best_state = {k: v.clone() for k, v in flow.state_dict().items()}
        flow.load_state_dict(best_state)
    return flow.requires_grad_(False).eval()


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared Wasserstein distance of Gaussians with the moments of two samples.

    Parameters
    ----------
    a, b : (n, d), (m, d) float array

    References
    ----------
    Dowson & Landau (1982), J. Multivariate Anal. 12, 450; for images Heusel et al. (2017), arXiv
    1706.08500, there with features of Inception.
    """
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues = np.linalg.eigvals(first @ second)
    overlap = np.sqrt(eigenvalues.real.clip(min=0)).sum()
    shift = np.square(a.mean(0) - b.mean(0)).sum()
    return float(shift + np.trace(first) + np.trace(second) - 2 * overlap)


def sample_quality(
    space: LatentSpace, inputs: Inputs, steps: int = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """Compare decoded draws of a flow and of the prior with real images.

    Parameters
    ----------
    space : LatentSpace
    inputs : Inputs
        Anchor images. The first half fits the flow, the second is the reference.
    steps : int
        Steps of the fit.
    seed : int
        Seed of the flow and the draws.

    Returns
    -------
    list of dict
        For ``decoded images`` (of the second half, the lower limit), ``flow`` and ``N(0, I)``: the
        Frechet distance to decoded images of the first half, and to images of the second half, in
        their first 40 principal components [asinh units^2].
    """
    half = len(inputs) // 2
    posterior = space.encode(inputs, space.anchor, pooled=False)
    pixels = inputs.images[:, : len(space.frame.bands)].flatten(1).numpy()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(posterior.mean.shape, generator=generator)
    drawn = posterior.mean + posterior.variance.sqrt() * noise
    flow = fit_flow(drawn[:half], steps=steps, seed=seed)
    pca = PCA(min(_COMPONENTS, half // 2), random_state=seed).fit(pixels[:half])

    def project(latents: Tensor) -> np.ndarray:
        return np.asarray(pca.transform(space.decode(latents).flatten(1).numpy()))

    reference = project(drawn[:half])
    draws = {
        "decoded images": drawn[half:],
        "flow": flow.sample(half, seed),
        "N(0, I)": torch.randn(half, drawn.shape[1], generator=generator),
    }
    return [
        {
            "latents": name,
            "frechet_to_decoded": frechet_distance(project(latents), reference),
            "frechet_to_images": frechet_distance(project(latents), pca.transform(pixels[half:])),
        }
        for name, latents in draws.items()
    ]


def main() -> None:
    """Print the table of `sample_quality` for a space and a sample of its anchor."""
    parser = command_parser("flow", __doc__)
    parser.add_argument("space")
    parser.add_argument("sample", type=Path)
    parser.add_argument("--draws", type=Path, help=".npy file for one draw per galaxy")
    given = parser.parse_args()
    space, sample = LatentSpace.load(given.space), Sample(given.sample)
    encoder = space.encoder(space.anchor)
    inputs, ok = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    print_rows("Draws beside images (Frechet distance)", sample_quality(space, inputs[ok]))
    if given.draws is not None:
        means = space.encode(inputs[ok], space.anchor).mean
        with atomic_path(given.draws) as temporary, temporary.open("wb") as file:
            np.save(file, fit_flow(means).sample(len(means)).numpy())


if __name__ == "__main__":
    main()

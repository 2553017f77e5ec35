"""Networks of the anchor: a small residual encoder, and a decoder that mirrors it.

Both are strided convolutions. A 64 px image costs the encoder about 16 million multiply-adds.
There is no batch normalisation, so the latents of an image do not depend on its batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from galaxy_da.models import xu2023 as seed_network
from galaxy_da.models.devices import Precision, autocast, best_device
from galaxy_da.models.smoothing import Smoothing
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

__all__ = ["Architecture", "Decoder", "Encoder", "Posterior", "VariationalAutoencoder"]

_BATCH = 512


class Architecture(BaseModel):
    """Sizes of the networks.

    Attributes
    ----------
    kind : {"residual", "galaxy-vae"}
        Networks of this module, or those of `galaxy_da.models.xu2023`, which ignore `patch`,
        `blocks` and `features`.
    pixels, bands : int
        Side and number of planes of the frame. If the stages do not divide the side, images are
        padded with zeros and decoded images cropped.
    latents : int
        Size of the latent space.
    nuisance_latents : int
        Number of nuisance latents, the last ones. They describe the observation (orientation,
        seeing, centring); the others describe the galaxy.
    symmetric : bool
        Average the galaxy latents over the eight dihedral symmetries after training. They are
        then invariant to rotations by 90 degrees and to mirroring, at eight times the cost.
    patch : int
        Side of the first, non-overlapping convolution [pixels].
    widths : tuple of int
        Channels of each stage; each stage halves the side.
    blocks : tuple of int
        Residual blocks of each stage.
    features : int
        Size of the last layer before the heads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["residual", "galaxy-vae"] = "residual"
    pixels: int = Field(default=64, gt=0)
    bands: int = Field(default=3, gt=0)
    latents: int = Field(default=40, gt=0)
    nuisance_latents: int = Field(default=0, ge=0)
    symmetric: bool = False
    patch: int = Field(default=4, gt=0)
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 1)
    features: int = Field(default=256, gt=0)

    @model_validator(mode="after")
    def _has_galaxy_latents(self) -> Architecture:
        if self.nuisance_latents >= self.latents:
            raise ValueError(
                f"nuisance_latents must be fewer than the {self.latents} latents but are "
                f"{self.nuisance_latents}"
            )
        return self

    @property
    def galaxy_latents(self) -> int:
        """Number of galaxy latents, the first ones."""
        return self.latents - self.nuisance_latents

    @property
    def grid(self) -> int:
        """Side of the last feature map."""
        return -(-self.pixels // self._stride)

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros before and after each axis of an image [pixel]."""
        spare = self.grid * self._stride - self.pixels
        return spare // 2, spare - spare // 2

    @property
    def map_size(self) -> int:
        """Number of values in the last feature map."""
        return self.widths[-1] * self.grid**2

    @property
    def _stride(self) -> int:
        if self.kind == "galaxy-vae":
            return int(seed_network.STEP ** len(self.widths))
        return self.patch << (len(self.widths) - 1)


class Posterior(NamedTuple):
    """Gaussian posterior of each image: mean and variance, both (n, latents)."""

    mean: Tensor
    variance: Tensor


class _Block(nn.Module):
    """Residual block, x + conv(gelu(conv(x))), whose last convolution is zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (n, width, y, x)."""
        branch: Tensor = self.last(nn.functional.gelu(self.first(nn.functional.gelu(x))))
        return x + branch


class Encoder(nn.Module):
    """Image to Gaussian posterior.

    A 1x1 convolution maps `planes` input bands, by default those of the anchor, to the anchor's.
    """

    def __init__(self, architecture: Architecture, planes: int | None = None) -> None:
        super().__init__()
        a = architecture
        self.galaxy_latents, self.symmetric = a.galaxy_latents, a.symmetric
        self._padding = a.padding * 2
        self.smoothing: nn.Module = nn.Identity()
        self.stem = nn.Conv2d(planes or a.bands, a.bands, 1)
        if a.kind == "galaxy-vae":
            self.body, features = seed_network.encoder_body(a.bands, a.widths), a.map_size
        else:
            self.body, features = _residual_body(a), a.features
        self.mean = nn.Linear(features, a.latents)
        self.log_variance = nn.Linear(features, a.latents)
        nn.init.dirac_(self.stem.weight)
        nn.init.zeros_(self.stem.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def with_planes(self, planes: int, source: Sequence[int]) -> Encoder:
        """Return a copy for images of other planes: ``images[:, source]`` replace the bands."""
        other = copy.deepcopy(self)
        other.stem = nn.Conv2d(planes, self.stem.out_channels, 1)
        other.stem.weight.zero_().index_add_(1, torch.tensor(source), self.stem.weight)
        other.stem.bias.copy_(self.stem.bias)  # type: ignore[union-attr, arg-type]
        return other

    def with_smoothing(self, smoothing: Smoothing) -> Encoder:
        """Return a copy that smooths its input images first."""
        other = copy.deepcopy(self)
        other.smoothing = smoothing
        return other

    def features(self, images: Tensor) -> Tensor:
        """Return the last features, (n, features), of (n, planes, y, x) images."""
        return self._features(self.smoothing(images))

    def forward(self, images: Tensor) -> Posterior:
        """Return the posterior of (n, planes, y, x) images in the frame."""
        return self._posterior(self.smoothing(images))

    def pooled(self, images: Tensor) -> Posterior:
        """Return the posterior, galaxy latents averaged over symmetries if `symmetric`.

        Nuisance latents are those of the images in their own orientation.
        """
        smoothed = self.smoothing(images)
        mean, variance = self._posterior(smoothed)
        if self.symmetric:
            galaxy = self.galaxy_latents
            rotated = [self._posterior(apply_symmetry(smoothed, k)) for k in range(1, SYMMETRIES)]
            for own, others in (
                (mean, [other.mean for other in rotated]),
                (variance, [other.variance for other in rotated]),
            ):
                own[:, :galaxy] = torch.stack([own, *others])[:, :, :galaxy].mean(0)
        return Posterior(mean, variance)

    def encode(
        self,
        images: Tensor,
        *,
        pooled: bool = True,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Posterior:
        """Encode many images, a batch at a time; see `galaxy_da.space.LatentSpace.encode`."""
        place = device or best_device()
        self.to(place)
        empty = torch.empty(0, self.mean.out_features)
        means, variances = [empty], [empty]
        with torch.inference_mode(), autocast(place, precision):
            for batch in torch.split(images, _BATCH):
                batch = batch.to(place, memory_format=torch.channels_last)
                posterior = self.pooled(batch) if pooled else self(batch)
                means.append(posterior.mean.cpu())
                variances.append(posterior.variance.cpu())
        return Posterior(torch.cat(means), torch.cat(variances))

    def _features(self, smoothed: Tensor) -> Tensor:
        planes = self.stem(smoothed)
        if any(self._padding):
            planes = nn.functional.pad(planes, self._padding)
        result: Tensor = self.body(planes)
        return result

    def _posterior(self, smoothed: Tensor) -> Posterior:
        features = self._features(smoothed)
        log_variance = self.log_variance(features).float().clamp(-12, 6)
        return Posterior(self.mean(features).float(), log_variance.exp())


class Decoder(nn.Module):
    """Latents to the anchor's image. The last layer is linear, so that sky may be negative."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self._margin, self._pixels = a.padding[0], a.pixels
        unflatten = nn.Unflatten(1, (a.widths[-1], a.grid, a.grid))
        if a.kind == "galaxy-vae":
            self.start = nn.Sequential(nn.Linear(a.latents, a.map_size), unflatten)
            self.body = seed_network.decoder_body(a.bands, a.widths)
            return
        self.start = nn.Sequential(
            nn.Linear(a.latents, a.features),
            nn.GELU(),
            nn.Linear(a.features, a.map_size),
            unflatten,
        )
        widths = a.widths[::-1]
        stages: list[nn.Module] = []
        for i, width in enumerate(widths):
            if i:
                stages.append(nn.ConvTranspose2d(widths[i - 1], width, 2, 2))
            stages.extend(_Block(width) for _ in range(a.blocks[len(widths) - 1 - i]))
        self.body = nn.Sequential(
            *stages,
            nn.GELU(),
            nn.Conv2d(widths[-1], a.bands * a.patch**2, 3, padding=1),
            nn.PixelShuffle(a.patch),
            nn.Conv2d(a.bands, a.bands, 5, padding=2),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Return (n, bands, y, x) images in the frame for (n, latents)."""
        images: Tensor = self.body(self.start(latents))
        inner = slice(self._margin, self._margin + self._pixels)
        return images[..., inner, inner]


class VariationalAutoencoder(nn.Module):
    """Variational autoencoder of the anchor (Kingma & Welling 2014)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = Encoder(architecture)
        self.decoder = Decoder(architecture)

    def forward(
        self, images: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Posterior, Tensor]:
        """Encode images, draw one latent vector from each posterior, change it, and decode it."""
        posterior: Posterior = self.encoder(images)
        drawn = posterior.mean + posterior.variance.sqrt() * torch.randn_like(posterior.mean)
        decoded: Tensor = self.decoder(drawn if change is None else change(drawn))
        return posterior, decoded.float()


def _residual_body(a: Architecture) -> nn.Sequential:
    stages: list[nn.Module] = [nn.Conv2d(a.bands, a.widths[0], a.patch, a.patch)]
    for i, (width, blocks) in enumerate(zip(a.widths, a.blocks, strict=True)):
        if i:
            stages.append(nn.Conv2d(a.widths[i - 1], width, 2, 2))
        stages.extend(_Block(width) for _ in range(blocks))
    return nn.Sequential(
        *stages, nn.GELU(), nn.Flatten(), nn.Linear(a.map_size, a.features), nn.GELU()
    )

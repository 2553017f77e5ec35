"""Networks of the anchor: a small residual encoder, and a decoder that mirrors it.

A 64 px image costs the encoder about 16 million multiply-adds. There is no batch normalisation, so
the latents of an image do not depend on its batch.

A conditioned encoder knows the instrument: its numbers scale and shift the feature maps (FiLM:
Perez et al. 2018, arXiv 1709.07871), so that one network reads the images of every survey.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import PER_BAND, PER_CUTOUT
from galaxy_da.models import xu2023 as seed_network
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.models.devices import Precision, autocast, best_device, placed
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

_BATCH = 512
_CONDITION_FEATURES = 64  # of the network that modulates the encoder


class Architecture(BaseModel):
    """Sizes of the networks.

    Attributes
    ----------
    kind : {"residual", "galaxy-vae"}
        Networks of this module, or of `xu2023`, which ignore `patch`, `blocks` and `features`.
    pixels, bands, grids : int
        Side, bands and grids of the frame. If the stages do not divide the side, images are padded
        with zeros and decoded images cropped.
    conditioned : bool
        Condition the encoder on the instrument; see `galaxy_da.images.instrument`.
    latents : int
        Size of the latent space.
    nuisance_latents : int
        Number of nuisance latents, the last ones. They describe the observation (orientation,
        seeing, centring); the others describe the galaxy.
    symmetric : bool
        Average the galaxy latents over the eight dihedral symmetries after training, which makes
        them invariant to rotations by 90 degrees and mirroring at eight times the cost.
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
    grids: int = Field(default=1, gt=0)
    conditioned: bool = False
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
    def input_planes(self) -> int:
        """Planes of the encoder's images: bands of each grid, and coverage if there are two."""
        return self.output_planes + (self.grids if self.grids > 1 else 0)

    @property
    def output_planes(self) -> int:
        """Planes of a decoded image: the bands of each grid."""
        return self.bands * self.grids

    @property
    def conditions(self) -> int:
        """Numbers that describe an instrument."""
        return self.bands * PER_BAND + PER_CUTOUT if self.conditioned else 0

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
        branch: Tensor = self.last(functional.gelu(self.first(functional.gelu(x))))
        return x + branch


class _Body(nn.Module):
    """Images and conditions to the last features."""

    def __init__(self, a: Architecture, planes: int) -> None:
        super().__init__()
        first = nn.Conv2d(planes, a.widths[0], a.patch, a.patch)
        shrink = [nn.Conv2d(*pair, 2, 2) for pair in pairwise(a.widths)]
        self.shrink = nn.ModuleList([first, *shrink])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(blocks)))
            for width, blocks in zip(a.widths, a.blocks, strict=True)
        )
        self.last = nn.Linear(a.map_size, a.features)
        self.modulation: nn.Module | None = None
        self._sizes = [2 * size for size in (*a.widths, a.features)]
        if a.conditioned:
            last = nn.Linear(_CONDITION_FEATURES, sum(self._sizes))
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.modulation = nn.Sequential(
                nn.Linear(a.conditions, _CONDITION_FEATURES), nn.GELU(), last
            )

    def forward(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Return (n, features)."""
        changes: Sequence[Tensor | None] = [None] * len(self._sizes)
        if self.modulation is not None:
            changes = self.modulation(conditions).split(self._sizes, 1)
        x = images
        for shrink, stage, change in zip(self.shrink, self.stages, changes, strict=False):
            x = stage(_modulated(shrink(x), change))
        x = functional.gelu(x).flatten(1)
        return _modulated(functional.gelu(self.last(x)), changes[-1])


def _modulated(x: Tensor, change: Tensor | None) -> Tensor:
    """Scale and shift the channels of (n, channels, ...) features."""
    if change is None:
        return x
    scale, shift = change.reshape(*change.shape, *[1] * (x.ndim - 2)).chunk(2, 1)
    return x * (1 + scale) + shift


class _PlainBody(nn.Module):
    """Network that ignores the conditions."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor, conditions: Tensor) -> Tensor:
        """Return (n, features)."""
        return self.layers(images)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Image and conditions of its instrument to Gaussian posterior.

    `planes` is the number of planes of an image, by default that of the architecture.
    """

    def __init__(self, architecture: Architecture, planes: int | None = None) -> None:
        super().__init__()
        a = architecture
        self.galaxy_latents, self.symmetric = a.galaxy_latents, a.symmetric
        self._pixels, self._padding = a.pixels, a.padding * 2
        self.correction: nn.Module = nn.Identity()
        planes = planes or a.input_planes
        self.body: nn.Module
        if a.kind == "galaxy-vae":
            self.body = _PlainBody(seed_network.encoder_body(planes, a.widths))
            features = a.map_size
        else:
            self.body, features = _Body(a, planes), a.features
        self.mean = nn.Linear(features, a.latents)
        self.log_variance = nn.Linear(features, a.latents)

    def corrected(self, correction: InstrumentCorrection) -> Encoder:
        """Return a copy that corrects the instrument of its inputs first."""
        other = copy.deepcopy(self)
        other.correction = correction
        return other

    @torch.no_grad()
    def absorb_last_plane(self, value: float) -> None:
        """Drop the last plane of the images, as if it had one value everywhere."""
        body = self.body
        assert isinstance(body, _Body)
        first = body.shrink[0]
        assert isinstance(first, nn.Conv2d)
        kept = copy.deepcopy(first)
        kept.in_channels -= 1
        kept.weight = nn.Parameter(first.weight[:, :-1].clone())
        assert kept.bias is not None
        kept.bias += value * first.weight[:, -1].sum((1, 2))
        body.shrink[0] = kept

    def features(self, inputs: Inputs) -> Tensor:
        """Return the last features, (n, features)."""
        inputs = self.correction(inputs)
        result: Tensor = self.body(self.padded(inputs.images), inputs.conditions)
        return result

    def padded(self, images: Tensor) -> Tensor:
        """Pad (n, planes, y, x) images with zeros to the side that the stages divide."""
        if images.shape[-1] == self._pixels and any(self._padding):
            return functional.pad(images, self._padding)
        return images

    def forward(self, inputs: Inputs) -> Posterior:
        """Return the posterior of n inputs."""
        features = self.features(inputs)
        log_variance = self.log_variance(features).float().clamp(-12, 6)
        return Posterior(self.mean(features).float(), log_variance.exp())

    def pooled(self, inputs: Inputs) -> Posterior:
        """Return the posterior, galaxy latents averaged over symmetries if `symmetric`.

        Nuisance latents are those of the images in their own orientation.
        """
        mean, variance = self(inputs)
        if self.symmetric:
            galaxy = self.galaxy_latents
            rotated = [
                self(inputs.with_images(apply_symmetry(inputs.images, k)))
                for k in range(1, SYMMETRIES)
            ]
            for own, *others in zip((mean, variance), *rotated, strict=True):
                own[:, :galaxy] = torch.stack([own, *others])[:, :, :galaxy].mean(0)
        return Posterior(mean, variance)

    def encode(
        self,
        inputs: Inputs,
        *,
        pooled: bool = True,
        precision: Precision = "auto",
        device: torch.device | None = None,
    ) -> Posterior:
        """Encode many images, a batch at a time; see `galaxy_da.space.LatentSpace.encode`."""
        place = device or best_device()
        empty = torch.empty(0, self.mean.out_features)
        means, variances = [empty], [empty]
        with placed(self, place), torch.inference_mode(), autocast(place, precision):
            for batch in inputs.split(_BATCH):
                batch = batch.to(place)
                posterior = self.pooled(batch) if pooled else self(batch)
                means.append(posterior.mean.cpu())
                variances.append(posterior.variance.cpu())
        return Posterior(torch.cat(means), torch.cat(variances))


class Decoder(nn.Module):
    """Latents to the anchor's image. The last layer is linear, so that sky may be negative."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self._margin, self._pixels, self._patch = a.padding[0], a.pixels, a.patch
        unflatten = nn.Unflatten(1, (a.widths[-1], a.grid, a.grid))
        if a.kind == "galaxy-vae":
            self.start = nn.Sequential(nn.Linear(a.latents, a.map_size), unflatten)
            self.body = seed_network.decoder_body(a.output_planes, a.widths)
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
            nn.Conv2d(widths[-1], a.output_planes * a.patch**2, 3, padding=1),
            nn.PixelShuffle(a.patch),
            nn.Conv2d(a.output_planes, a.output_planes, 5, padding=2),
        )

    def forward(self, latents: Tensor, planes: slice | None = None) -> Tensor:
        """Return (n, bands of each grid, y, x) images in the frame for (n, latents).

        Some planes, contiguous, take less time on CPUs: the last convolution of the residual
        network makes them alone, and all pixels of a patch at once.
        """
        whole = self.body(self.start(latents)) if planes is None else self._some(latents, planes)
        inner = slice(self._margin, self._margin + self._pixels)
        return whole[..., inner, inner]

    def _some(self, latents: Tensor, planes: slice) -> Tensor:
        spread, last, patch = self.body[-3], self.body[-1], self._patch
        if not isinstance(self.body[-2], nn.PixelShuffle):
            images: Tensor = self.body(self.start(latents))
            return images[:, planes].contiguous()
        assert isinstance(spread, nn.Conv2d) and isinstance(last, nn.Conv2d)
        assert spread.bias is not None and last.bias is not None
        x: Tensor = self.body[:-3](self.start(latents))
        n, grid, channels = len(x), x.shape[-1], last.in_channels
        side = grid * patch
        # Channels in the order of row, column, plane: those of a row of a patch lie side by side.
        order = torch.arange(channels * patch**2).reshape(channels, -1).T.flatten()
        weight, bias = spread.weight[order], spread.bias[order]
        x = functional.conv2d(x, weight, bias, padding=spread.padding).permute(0, 2, 3, 1)
        x = x.reshape(n, grid, grid, patch, patch * channels).transpose(2, 3)
        x = x.reshape(n, side, side, channels).permute(0, 3, 1, 2)
        weight, bias = _by_patch(last.weight[planes], last.bias[planes], patch)
        x = functional.conv2d(x, weight, bias, patch, last.padding)
        x = x.reshape(n, x.shape[1] // patch**2, patch, patch, grid, grid)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(n, x.shape[1], side, side)


def _by_patch(weight: Tensor, bias: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Return a convolution with a stride of a patch whose channels are the pixels of the patch."""
    planes, channels, size, _ = weight.shape
    wide = weight.new_zeros(planes, patch, patch, channels, patch + size - 1, patch + size - 1)
    for y in range(patch):
        for x in range(patch):
            wide[:, y, x, :, y : y + size, x : x + size] = weight
    return wide.flatten(0, 2), bias.repeat_interleave(patch**2)


class VariationalAutoencoder(nn.Module):
    """Variational autoencoder of the anchor (Kingma & Welling 2014)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = Encoder(architecture)
        self.decoder = Decoder(architecture)

    def forward(
        self, inputs: Inputs, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Posterior, Tensor]:
        """Encode images, draw one latent vector from each posterior, change it, and decode it."""
        posterior: Posterior = self.encoder(inputs)
        drawn = posterior.mean + posterior.variance.sqrt() * torch.randn_like(posterior.mean)
        decoded: Tensor = self.decoder(drawn if change is None else change(drawn))
        return posterior, decoded.float()

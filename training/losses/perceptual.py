"""Images should look alike to a network that was trained, or not, on other pictures."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from galaxy_da.errors import StorageError

__all__ = ["PerceptualDistance"]

_LAYERS = (2, 5, 8, 12)
"""Outputs of SqueezeNet that are compared: after each change of scale and the last."""
_SMALL = 1e-6


class PerceptualDistance(nn.Module):
    """Distance between features of SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360).

    Parameters
    ----------
    weights : path, optional
        A safetensors file of torchvision's ``squeezenet1_1`` state. By default the network keeps
        random weights, always the same, which already tell textures apart.

    Raises
    ------
    StorageError
        If the file does not hold that network's weights.

    References
    ----------
    Johnson, Alahi & Fei-Fei (2016), arXiv 1603.08155; channels at unit length as in Zhang et al.
    (2018), arXiv 1801.03924; random weights: Ulyanov et al. (2018), arXiv 1711.10925.
    """

    def __init__(self, weights: Path | str | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = squeezenet1_1(weights=None)
        if weights is not None:
            try:
                network.load_state_dict(safetensors.torch.load_file(weights))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise StorageError(
                    f"{weights}: expected the state of torchvision's squeezenet1_1 as safetensors "
                    f"({error})"
                ) from error
        self.layers = network.features[: _LAYERS[-1] + 1]
        for layer in self.layers.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        """Return features of (n, bands, y, x) images, each position's channels at unit length.

        One band is shown as grey; of more than three, the first three are shown.
        """
        bands = images.shape[1]
        seen = images[:, :3] if bands >= 3 else images[:, [0, bands // 2, bands - 1]]
        found = []
        for i, layer in enumerate(self.layers):
            seen = layer(seen)
            if i in _LAYERS:
                found.append(seen / (seen.norm(dim=1, keepdim=True) + _SMALL))
        return found

    def forward(self, images: Tensor, decoded: Tensor) -> Tensor:
        """Return the squared distance, summed over layers, mean over positions and images."""
        pairs = zip(self.features(images), self.features(decoded), strict=True)
        distances = [(a - b).square().sum(1).mean() for a, b in pairs]
        return torch.stack(distances).sum()

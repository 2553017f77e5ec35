"""Autoencoders at known redshift, whose latents need not hold it.

================  ==================================================================================
``cvae``          the encoder gets a constant plane of redshift beside the image; the decoder too
``cvae2``         the redshift joins the encoder's last features; the decoder gets it too
``cvae-predict``  the encoder predicts the redshift from the image; the decoder gets the known one
================  ==================================================================================

The redshift enters linearly in all three. At one fixed redshift each is exactly a plain autoencoder
with other biases (`ConditionalAutoencoder.plain`). A latent space holds this plain autoencoder, and
its folder also holds the whole network.

References
----------
Sohn, Lee & Yan (2015), NeurIPS 28, 3483, equation 4.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from galaxy_da.errors import StorageError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.files import atomic_path
from galaxy_da.models.networks import (
    Architecture,
    Decoder,
    Encoder,
    Posterior,
    VariationalAutoencoder,
)
from training.pretraining.learner import Batch, Learner
from training.pretraining.recipe import Condition

FILE = "conditional.safetensors"
"""File of the whole network in the folder of a space."""


class ConditionalAutoencoder(Learner):
    """Autoencoder of images at known redshift.

    `centre` and `spread` are mean and standard deviation of the sample's redshifts, for scaling.
    The latents of `architecture` do not include the redshift.
    """

    def __init__(
        self,
        architecture: Architecture,
        condition: Condition,
        *,
        centre: float,
        spread: float,
        classes: int = 0,
    ) -> None:
        super().__init__(architecture, classes)
        if not spread > 0:
            raise ValueError(
                f"redshifts must differ, so that they can be scaled, but spread by {spread}"
            )
        self.architecture, self.condition = architecture, condition
        self.centre, self.spread = centre, spread
        planes = architecture.bands + (condition == "cvae")
        self.encoder = Encoder(architecture, planes)
        self.decoder = Decoder(
            architecture.model_copy(update={"latents": architecture.latents + 1})
        )
        latents, features = architecture.latents, self.encoder.mean.in_features
        self.join = nn.Linear(1, 2 * latents, bias=False) if condition == "cvae2" else None
        self.predictor = nn.Linear(features, 1) if condition == "cvae-predict" else None

    def scaled(self, redshift: Tensor) -> Tensor:
        """Return (n,) redshifts in standard deviations of the sample's."""
        return (redshift - self.centre) / self.spread

    def encode(self, batch: Batch) -> tuple[Posterior, Tensor | None]:
        """Return the posterior of images at their redshift, and the predicted scaled redshift."""
        images, known = batch.images, self.scaled(batch.redshift)[:, None]
        if self.condition == "cvae":
            images = self.encoder.padded(images)
            plane = known[:, :, None, None].expand(-1, -1, *images.shape[2:])
            images = torch.cat([images, plane], 1)
        features = self.encoder.features(Inputs.plain(images))
        both = torch.cat([self.encoder.mean(features), self.encoder.log_variance(features)], 1)
        if self.join is not None:
            both = both + self.join(known)
        mean, log_variance = both.float().chunk(2, 1)
        predicted = None if self.predictor is None else self.predictor(features)[:, 0].float()
        return Posterior(mean, log_variance.clamp(-12, 6).exp()), predicted

    def decode(self, latents: Tensor, redshift: Tensor) -> Tensor:
        """Return images of (n, latents) at (n,) redshifts."""
        known = self.scaled(redshift)[:, None].to(latents)
        images: Tensor = self.decoder(torch.cat([latents, known], 1))
        return images

    def predict(self, images: Tensor) -> Tensor:
        """Predict the (n,) redshifts of (n, bands, y, x) images, if the network does."""
        if self.predictor is None:
            raise ValueError(f"{self.condition} does not predict redshifts; cvae-predict does")
        scaled = self.predictor(self.encoder.features(Inputs.plain(images)))[:, 0].float()
        result: Tensor = self.centre + self.spread * scaled
        return result

    @torch.no_grad()
    def plain(self, redshift: float) -> VariationalAutoencoder:
        """Return the plain autoencoder that equals this network for every image at one redshift."""
        known = float(self.scaled(torch.tensor(redshift)))
        a = self.architecture
        result = VariationalAutoencoder(a)
        encoder, decoder = copy.deepcopy(self.encoder), copy.deepcopy(self.decoder)
        if self.condition == "cvae":
            encoder.absorb_last_plane(known)
        if self.join is not None:
            mean, log_variance = (self.join.weight[:, 0] * known).chunk(2)
            encoder.mean.bias.add_(mean)
            encoder.log_variance.bias.add_(log_variance)
        first = decoder.start[0]
        assert isinstance(first, nn.Linear)
        without = nn.Linear(a.latents, first.out_features)
        without.weight.copy_(first.weight[:, :-1])
        without.bias.copy_(first.bias + first.weight[:, -1] * known)
        decoder.start[0] = without
        result.encoder, result.decoder = encoder, decoder
        return result


def save_conditional(model: ConditionalAutoencoder, folder: Path) -> None:
    """Write the whole network to `FILE` in a space's folder."""
    settings = {
        "architecture": model.architecture.model_dump(mode="json"),
        "condition": model.condition,
        "centre": model.centre,
        "spread": model.spread,
        "classes": model.classifier.out_features if model.classifier else 0,
    }
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    data = safetensors.torch.save(state, metadata={"settings": json.dumps(settings)})
    with atomic_path(folder / FILE) as temporary:
        temporary.write_bytes(data)


def load_conditional(folder: str | os.PathLike[str]) -> ConditionalAutoencoder:
    """Read the network of a conditional recipe from its space, or raise StorageError."""
    path = Path(folder) / FILE
    try:
        with safetensors.safe_open(path, framework="pt") as handle:
            settings = json.loads(handle.metadata()["settings"])
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        architecture = Architecture.model_validate(settings.pop("architecture"))
        model = ConditionalAutoencoder(architecture, settings.pop("condition"), **settings)
        model.load_state_dict(state)
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise StorageError(
            f"{path}: holds no conditional network ({error}); recipes with a condition write one"
        ) from error
    return model.requires_grad_(False).eval()

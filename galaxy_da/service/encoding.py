"""Uploaded images to latents: prepared one by one, encoded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from galaxy_da.errors import SpaceError
from galaxy_da.extraction.pipeline import reconstruction_error
from galaxy_da.images.cutouts import Cutout
from galaxy_da.service.executor import Batcher
from galaxy_da.service.limits import Limits
from galaxy_da.service.pictures import encoder_for
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["Encoded", "Encoding", "encoding_batcher", "prepare_upload"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One prepared image that waits for the network.

    Attributes
    ----------
    image : (bands, pixels, pixels) float32 tensor
    problem : (str, str), optional
        Status and message, where the image must not be used.
    """

    encoder: SurveyEncoder
    image: Tensor
    flags: int
    problem: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What the network says of one image.

    Attributes
    ----------
    mean, variance : (latents,) float32 arrays
    reconstruction_error : float
    """

    mean: np.ndarray
    variance: np.ndarray
    reconstruction_error: float


def prepare_upload(
    cutout: Cutout, survey: Survey, space: LatentSpace, *, unadapted: bool
) -> Encoding:
    """Bring an uploaded image into the frame.

    Raises
    ------
    SpaceError
        If the space has no encoder for its survey and `unadapted` is false.
    """
    if survey.name not in space.surveys and not unadapted:
        raise SpaceError(
            f"this space has no encoder for {survey.name!r}; it has {', '.join(space.surveys)}; "
            "ask for the un-adapted anchor with unadapted=true"
        )
    encoder = encoder_for(space, survey, cutout)
    prepared = encoder.prepare([cutout], space.frame)
    return Encoding(
        encoder=encoder,
        image=prepared.images[0],
        flags=int(prepared.flags[0]),
        problem=prepared.problems[0],
    )


def encoding_batcher(
    space: LatentSpace, limits: Limits, observe: Callable[[float], object]
) -> Batcher[Encoding, Encoded]:
    """Return what encodes the images of many requests in one pass of each network."""

    def compute(items: Sequence[Encoding]) -> list[Encoded | Exception]:
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for place, item in enumerate(items):
            key = (item.encoder.survey.name, item.encoder.bands)
            groups.setdefault(key, []).append(place)
        results: dict[int, Encoded] = {}
        for members in groups.values():
            encoder = items[members[0]].encoder
            images = torch.stack([items[place].image for place in members])
            posterior = space.encode(images, encoder)
            error = reconstruction_error(space, encoder, images, posterior.mean)
            for row, place in enumerate(members):
                results[place] = Encoded(
                    mean=posterior.mean[row].numpy(),
                    variance=posterior.variance[row].numpy(),
                    reconstruction_error=float(error[row]),
                )
        return [results[place] for place in range(len(items))]

    return Batcher(
        compute,
        most=limits.batch,
        waiting=limits.waiting,
        seconds=limits.seconds,
        observe=observe,
    )

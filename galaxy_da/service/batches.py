"""Work computed together for many clients: encoding images and searching for neighbours."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from galaxy_da.errors import GalaxyDAError, SpaceError
from galaxy_da.extraction.encoding import reconstruction_error
from galaxy_da.images.cutouts import Cutout
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import Batcher
from galaxy_da.service.limits import Limits
from galaxy_da.service.pictures import encoder_for
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = [
    "EncodedImage",
    "NeighbourQuery",
    "PreparedImage",
    "encoding_batcher",
    "neighbour_batcher",
    "prepare_upload",
]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """One image that is ready for the network.

    Attributes
    ----------
    image : (bands, pixels, pixels) float32 tensor
    flags : int
        Quality flags of the image.
    problem : (str, str), optional
        Status and message, if the image must not be used.
    """

    encoder: SurveyEncoder
    image: Tensor
    flags: int
    problem: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """Output of the network for one image.

    Attributes
    ----------
    mean, variance : (latents,) float32 arrays
    reconstruction_error : float
    """

    mean: np.ndarray
    variance: np.ndarray
    reconstruction_error: float


@dataclass(frozen=True)
class NeighbourQuery:
    """Search for the `k` neighbours of an object of the index, in one survey or all."""

    key: str
    k: int
    survey: str | None


def prepare_upload(
    cutout: Cutout, survey: Survey, space: LatentSpace, *, unadapted: bool
) -> PreparedImage:
    """Bring an uploaded image into the space's frame.

    Raises
    ------
    SpaceError
        If the space has no encoder for its survey and `unadapted` is false.
    """
    if survey.name not in space.surveys and not unadapted:
        raise SpaceError(
            f"this space has no encoder for {survey.name!r}; it has {', '.join(space.surveys)}; "
            "send unadapted=true to use the anchor's encoder"
        )
    encoder = encoder_for(space, survey, cutout)
    prepared = encoder.prepare([cutout], space.frame)
    return PreparedImage(
        encoder=encoder,
        image=prepared.images[0],
        flags=int(prepared.flags[0]),
        problem=prepared.problems[0],
    )


def encoding_batcher(
    space: LatentSpace, limits: Limits, observe: Callable[[float], object]
) -> Batcher[PreparedImage, EncodedImage]:
    """Return a batcher that encodes the images of many requests, one pass for each network."""

    def encode(group: Sequence[PreparedImage]) -> list[EncodedImage | Exception]:
        encoder = group[0].encoder
        images = torch.stack([item.image for item in group])
        posterior = space.encode(images, encoder)
        error = reconstruction_error(space, encoder, images, posterior.mean)
        return [
            EncodedImage(
                mean=posterior.mean[row].numpy(),
                variance=posterior.variance[row].numpy(),
                reconstruction_error=float(error[row]),
            )
            for row in range(len(group))
        ]

    return _batcher(
        encode, lambda item: (item.encoder.survey.name, item.encoder.bands), limits, observe
    )


def neighbour_batcher(
    index: LatentIndex, limits: Limits, observe: Callable[[float], object]
) -> Batcher[NeighbourQuery, pa.Table]:
    """Return a batcher that answers many requests, one search for each `k` and survey."""

    def search(group: Sequence[NeighbourQuery]) -> list[pa.Table | Exception]:
        keys = [query.key for query in group]
        try:
            return index.similar_to_each(keys, group[0].k, group[0].survey)
        except GalaxyDAError as error:
            return [error] * len(group)

    return _batcher(search, lambda query: (query.k, query.survey), limits, observe)


def _batcher(
    compute: Callable[[Sequence[T]], list[R | Exception]],
    group_of: Callable[[T], Hashable],
    limits: Limits,
    observe: Callable[[float], object],
) -> Batcher[T, R]:
    """Return a batcher that computes each group of items at once."""

    def compute_groups(items: Sequence[T]) -> list[R | Exception]:
        groups: dict[Hashable, list[int]] = {}
        for position, item in enumerate(items):
            groups.setdefault(group_of(item), []).append(position)
        results: dict[int, R | Exception] = {}
        for positions in groups.values():
            results.update(zip(positions, compute([items[i] for i in positions]), strict=True))
        return [results[position] for position in range(len(items))]

    return Batcher(
        compute_groups,
        batch_size=limits.batch_size,
        max_waiting=limits.waiting_requests,
        timeout_s=limits.request_seconds,
        observe=observe,
    )

"""Work computed together for many clients: encoding images and searching for neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_da.extraction.encoding import reconstruction_error
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import Batcher
from galaxy_da.service.limits import Limits
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


@dataclass(frozen=True)
class PreparedImage:
    """One image for the network, or the status and message instead."""

    encoder: SurveyEncoder
    inputs: Inputs
    flags: int
    problem: tuple[str, str] | None


@dataclass(frozen=True)
class EncodedImage:
    """Mean and variance of the latents of one image, (latents,) float32."""

    mean: np.ndarray
    variance: np.ndarray
    reconstruction_error: float


@dataclass(frozen=True)
class NeighbourQuery:
    """Search for the `k` neighbours of an object of the index, in one survey or all."""

    key: str
    k: int
    survey: str | None


def prepare_upload(cutout: Cutout, survey: Survey, space: LatentSpace) -> PreparedImage:
    """Bring an image into the space's frame."""
    encoder = space.encoder(survey, cutout.bands)
    prepared = encoder.prepare([cutout], space.frame)
    flags, problem = int(prepared.flags[0]), prepared.problems[0]
    return PreparedImage(encoder, prepared.inputs, flags, problem)


def encoding_batcher(
    space: LatentSpace, limits: Limits, observe: Callable[[float], object]
) -> Batcher[PreparedImage, EncodedImage]:
    """Return a batcher that encodes the images of many requests, one pass for each network."""

    def encode(group: Sequence[PreparedImage]) -> list[EncodedImage | Exception]:
        encoder = group[0].encoder
        inputs = Inputs.join([item.inputs for item in group])
        posterior = space.encode(inputs, encoder)
        errors = reconstruction_error(space, inputs, posterior.mean)
        means, variances = posterior.mean.numpy(), posterior.variance.numpy()
        return [
            EncodedImage(mean, variance, float(error))
            for mean, variance, error in zip(means, variances, errors, strict=True)
        ]

    return Batcher(
        encode,
        limits.batch_size,
        limits.waiting_requests,
        limits.request_seconds,
        group_of=lambda item: (item.encoder.survey.name, item.encoder.bands),
        observe=observe,
    )


def neighbour_batcher(
    index: LatentIndex, limits: Limits, observe: Callable[[float], object]
) -> Batcher[NeighbourQuery, pa.Table]:
    """Return a batcher that answers many requests, one search for each `k` and survey."""

    def search(group: Sequence[NeighbourQuery]) -> list[pa.Table | Exception]:
        keys = [query.key for query in group]
        return index.similar_to_each(keys, group[0].k, group[0].survey)

    return Batcher(
        search,
        limits.batch_size,
        limits.waiting_requests,
        limits.request_seconds,
        group_of=lambda query: (query.k, query.survey),
        observe=observe,
    )

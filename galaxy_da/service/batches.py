"""Work computed together for many clients: encoding images and searching for neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

<<<<<<< HEAD
from galaxy_da.extraction.encoding import reconstruction_error
=======
from galaxy_da.errors import SpaceError
>>>>>>> main
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import Batcher
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import Crew
from galaxy_da.service.limits import Limits
<<<<<<< HEAD
from galaxy_da.space import LatentSpace, SurveyEncoder
=======
from galaxy_da.service.pictures import encoder_for
from galaxy_da.service.worker import Question
from galaxy_da.space import LatentSpace
>>>>>>> main
from galaxy_da.surveys import Survey

__all__ = [
    "EncodedImage",
    "NeighbourQuery",
    "PreparedImage",
    "encode_images",
    "encoding_batcher",
    "neighbour_batcher",
    "prepare_upload",
]


@dataclass(frozen=True)
class PreparedImage:
<<<<<<< HEAD
    """One image for the network, or the status and message instead."""

    encoder: SurveyEncoder
    inputs: Inputs
=======
    """Image for the network, (bands, pixels, pixels) float32, or the status and message instead.

    `bands` are those of the cutout.
    """

    survey: str
    bands: tuple[str, ...]
    image: np.ndarray
>>>>>>> main
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


<<<<<<< HEAD
def prepare_upload(cutout: Cutout, survey: Survey, space: LatentSpace) -> PreparedImage:
    """Bring an image into the space's frame."""
    encoder = space.encoder(survey, cutout.bands)
    prepared = encoder.prepare([cutout], space.frame)
    flags, problem = int(prepared.flags[0]), prepared.problems[0]
    return PreparedImage(encoder, prepared.inputs, flags, problem)
=======
def prepare_upload(
    cutout: Cutout, survey: Survey, space: LatentSpace, *, unadapted: bool
) -> PreparedImage:
    """Bring an image into the space's frame; SpaceError if only the anchor's encoder would do."""
    if survey.name not in space.surveys and not unadapted:
        raise SpaceError(
            f"this space has no encoder for {survey.name!r}; it has {', '.join(space.surveys)}; "
            "send unadapted=true to use the anchor's encoder"
        )
    prepared = encoder_for(space, survey, cutout.bands).prepare([cutout], space.frame)
    flags, problem = int(prepared.flags[0]), prepared.problems[0]
    image = prepared.images[0].numpy()
    return PreparedImage(survey.name, cutout.bands, image, flags, problem)


def encode_images(
    service: Holdings, survey: str, bands: tuple[str, ...], images: np.ndarray
) -> list[EncodedImage]:
    """Encode prepared images of one survey with the same bands, (n, bands, y, x) float32."""
    import torch

    from galaxy_da.extraction.encoding import reconstruction_error

    space = service.space
    encoder = encoder_for(space, space.survey(survey), bands)
    tensor = torch.from_numpy(images)
    posterior = space.encode(tensor, encoder)
    errors = reconstruction_error(space, encoder, tensor, posterior.mean)
    means, variances = posterior.mean.numpy(), posterior.variance.numpy()
    return [
        EncodedImage(mean, variance, float(error))
        for mean, variance, error in zip(means, variances, errors, strict=True)
    ]
>>>>>>> main


def encoding_batcher(
    crew: Crew, limits: Limits, observe: Callable[[float], object]
) -> Batcher[PreparedImage, EncodedImage]:
    """Return a batcher that encodes the images of many requests, one pass for each network."""

    def encode(group: Sequence[PreparedImage]) -> list[EncodedImage | Exception]:
<<<<<<< HEAD
        encoder = group[0].encoder
        inputs = Inputs.join([item.inputs for item in group])
        posterior = space.encode(inputs, encoder)
        errors = reconstruction_error(space, inputs, posterior.mean)
        means, variances = posterior.mean.numpy(), posterior.variance.numpy()
        return [
            EncodedImage(mean, variance, float(error))
            for mean, variance, error in zip(means, variances, errors, strict=True)
        ]
=======
        images = np.stack([item.image for item in group])
        arguments = {"survey": group[0].survey, "bands": group[0].bands, "images": images}
        question = Question(__name__, encode_images.__name__, arguments, limits.request_seconds)
        encoded: list[EncodedImage | Exception] = crew.answer(question)
        return encoded
>>>>>>> main

    return Batcher(
        encode,
        limits.batch_size,
        limits.waiting_requests,
        limits.request_seconds,
        group_of=lambda item: (item.survey, item.bands),
        observe=observe,
    )


def neighbour_batcher(
    index: Callable[[], LatentIndex], limits: Limits, observe: Callable[[float], object]
) -> Batcher[NeighbourQuery, pa.Table]:
    """Return a batcher that answers many requests, one search for each `k` and survey."""

    def search(group: Sequence[NeighbourQuery]) -> list[pa.Table | Exception]:
        keys = [query.key for query in group]
        return index().similar_to_each(keys, group[0].k, group[0].survey)

    return Batcher(
        search,
        limits.batch_size,
        limits.waiting_requests,
        limits.request_seconds,
        group_of=lambda query: (query.k, query.survey),
        observe=observe,
    )

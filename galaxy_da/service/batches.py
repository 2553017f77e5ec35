"""Work computed together for many clients: encoding images and searching for neighbours."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import Batcher
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import Crew
from galaxy_da.service.limits import Limits
from galaxy_da.service.tables import encode_tables
from galaxy_da.service.worker import Question
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

_SEARCH_THREADS = max(1, (os.cpu_count() or 1) // 2)
"""Threads of a search; FAISS' threads spin for milliseconds, and the event loop needs a core."""


@dataclass(frozen=True)
class PreparedImage:
    """Image (planes, pixels, pixels) and conditions for the network, or the problem instead.

    `bands` are those of the cutout; `problem` is a status and a message.
    """

    survey: str
    bands: tuple[str, ...]
    image: np.ndarray
    conditions: np.ndarray
    flags: int
    problem: tuple[str, str] | None


@dataclass(frozen=True)
class EncodedImage:
    """Mean and variance of the latents of one image, (latents,) float32.

    `outside` is the reason why the image lies outside the domain; None if it does not.
    """

    mean: np.ndarray
    variance: np.ndarray
    reconstruction_error: float
    outside: str | None


@dataclass(frozen=True)
class NeighbourQuery:
    """Search for the `k` neighbours of an object of the index, in one survey or all."""

    key: str
    k: int
    survey: str | None


def prepare_upload(cutout: Cutout, survey: Survey, space: LatentSpace) -> PreparedImage:
    """Bring an image into the space's frame."""
    prepared = space.encoder(survey, cutout.bands).prepare([cutout], space.frame)
    image, conditions = (part[0].numpy() for part in vars(prepared.inputs).values())
    flags, problem = int(prepared.flags[0]), prepared.problems[0]
    return PreparedImage(survey.name, cutout.bands, image, conditions, flags, problem)


def encode_images(
    service: Holdings,
    survey: str,
    bands: tuple[str, ...],
    images: np.ndarray,
    conditions: np.ndarray,
) -> list[EncodedImage]:
    """Encode prepared images of one survey with the same bands, (n, planes, y, x) float32."""
    import torch

    from galaxy_da.extraction.checks import domain_scores
    from galaxy_da.extraction.summary import reconstruction_error, summarise

    space = service.space
    inputs = Inputs(torch.from_numpy(images), torch.from_numpy(conditions))
    posterior = space.encode(inputs, space.encoder(space.survey(survey), bands))
    outside: list[str | None] = [None] * len(images)
    if space.domain is None:
        errors = reconstruction_error(space, inputs, posterior.mean)
    else:
        summaries = summarise(space, inputs, posterior)
        errors = summaries.reconstruction_error
        outside = domain_scores(space.domain, summaries.values, space.frame).reasons
    means, variances = posterior.mean.numpy(), posterior.variance.numpy()
    return [
        EncodedImage(mean, variance, float(error), reason)
        for mean, variance, error, reason in zip(means, variances, errors, outside, strict=True)
    ]


def encoding_batcher(
    crew: Crew, limits: Limits, observe: Callable[[float], object]
) -> Batcher[PreparedImage, EncodedImage]:
    """Return a batcher that encodes the images of many requests, one pass for each network."""

    def encode(group: Sequence[PreparedImage]) -> list[EncodedImage | Exception]:
        arguments = {
            "survey": group[0].survey,
            "bands": group[0].bands,
            "images": np.stack([item.image for item in group]),
            "conditions": np.stack([item.conditions for item in group]),
        }
        question = Question(__name__, encode_images.__name__, arguments, limits.request_seconds)
        encoded: list[EncodedImage | Exception] = crew.answer(question)
        return encoded

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
) -> Batcher[NeighbourQuery, bytes]:
    """Return a batcher that answers many requests in JSON, one search for each `k` and survey."""

    def search(group: Sequence[NeighbourQuery]) -> list[bytes | Exception]:
        faiss.omp_set_num_threads(_SEARCH_THREADS)  # of this thread
        keys = [query.key for query in group]
        found = index().similar_to_each(keys, group[0].k, group[0].survey)
        known = [
            (table, {"query": [key]})
            for key, table in zip(keys, found, strict=True)
            if isinstance(table, pa.Table)
        ]
        answers = iter(encode_tables(known))
        return [next(answers) if isinstance(item, pa.Table) else item for item in found]

    return Batcher(
        search,
        limits.batch_size,
        limits.waiting_requests,
        limits.request_seconds,
        group_of=lambda query: (query.k, query.survey),
        observe=observe,
    )

"""Routes that ask the index; each is one of its queries."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.service.errors import RequestError, asking
from galaxy_da.service.executor import worked
from galaxy_da.service.neighbours import Neighbours
from galaxy_da.service.parameters import Key, Within, read_cone
from galaxy_da.service.parts import Parts, Service
from galaxy_da.service.tables import TABLE_RESPONSES, Format, table_response

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["queries"])

Method = Literal["combined", "knn", "lof", "forest", "reconstruction", "disagreement"]
Vector = list[Annotated[float, Field(allow_inf_nan=False)]]


class Similar(Within):
    """What to be like: objects, or the object at a position."""

    id: list[Key] = Field(default=[], max_length=64, description="Objects to be like.")
    dislike: list[Key] = Field(default=[], max_length=64, description="Objects to be unlike.")
    ra: float | None = Field(default=None, allow_inf_nan=False)
    dec: float | None = Field(default=None, allow_inf_nan=False)
    radius_arcsec: float = Field(default=5.0, ge=0, le=3600, allow_inf_nan=False)
    k: int = Field(default=10, ge=1, le=10_000)
    survey: str | None = Field(default=None, max_length=100)


class SimilarTo(BaseModel):
    """The same with latent vectors among the examples."""

    model_config = ConfigDict(extra="forbid")

    like: list[Key | Vector] = Field(min_length=1, max_length=64)
    dislike: list[Key | Vector] = Field(default=[], max_length=64)
    k: int = Field(default=10, ge=1, le=10_000)
    survey: str | None = Field(default=None, max_length=100)
    where: list[Annotated[str, Field(max_length=1024)]] = Field(default=[], max_length=32)
    cone: tuple[float, float, float] | None = None
    format: Format | None = None


@router.get("/similar", responses=TABLE_RESPONSES, response_class=Response)
async def similar(request: Request, service: Parts, asked: Annotated[Similar, Query()]) -> Response:
    """Find the galaxies most like one, like some and unlike others, or like that at a position."""
    alone = len(asked.id) == 1 and (asked.ra, asked.dec) == (None, None)
    if alone and not (asked.dislike or asked.where or asked.cone):
        found = await service.neighbours.ask(Neighbours(asked.id[0], asked.k, asked.survey))
        return table_response(request, found, asked.format, {"query": asked.id}, "similar")
    return await service.workers.run(partial(_similar, request, service, asked))


def _similar(request: Request, service: Service, asked: Similar) -> Response:
    likes, meta = list(asked.id), {}
    if (asked.ra is None) != (asked.dec is None) or (asked.ra is not None) == bool(likes):
        raise RequestError(422, "give id (repeatable), or ra and dec")
    with asking():
        if asked.ra is not None and asked.dec is not None:
            likes = [service.index.at_position(asked.ra, asked.dec, asked.radius_arcsec)]
        meta["query"] = likes
        found = service.index.similar(
            likes,
            asked.k,
            asked.survey,
            dislike=asked.dislike,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    return table_response(request, found, asked.format, meta, "similar")


@router.post("/similar", responses=TABLE_RESPONSES, response_class=Response)
@worked
def similar_to(request: Request, service: Parts, asked: Annotated[SimilarTo, Body()]) -> Response:
    """Find the galaxies like some and unlike other objects or latent vectors."""
    with asking():
        found = service.index.similar(
            [_example(item) for item in asked.like],
            asked.k,
            asked.survey,
            dislike=[_example(item) for item in asked.dislike],
            where=asked.where,
            cone=asked.cone,
        )
    return table_response(request, found, asked.format, name="similar")


class Same(Within):
    """Which object, and how far its counterparts may be."""

    id: Key
    radius_arcsec: float = Field(default=1.0, ge=0, le=3600, allow_inf_nan=False)
    prior: float = Field(default=0.5, gt=0, lt=1)


@router.get("/same", responses=TABLE_RESPONSES, response_class=Response)
@worked
def same(request: Request, service: Parts, asked: Annotated[Same, Query()]) -> Response:
    """Find a galaxy in the other surveys, and compare its images."""
    with asking():
        found = service.index.same(
            asked.id,
            asked.radius_arcsec,
            space=service.space,
            prior=asked.prior,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    return table_response(request, found, asked.format, name="same")


class Outliers(Within):
    """Whose outliers, and what is odd."""

    survey: str | None = Field(default=None, max_length=100)
    k: int = Field(default=50, ge=1, le=10_000)
    method: Method = "combined"
    neighbours: int | None = Field(default=None, ge=1, le=1000)
    radius_arcsec: float = Field(default=1.0, ge=0, le=3600, allow_inf_nan=False)
    clean: bool = False


@router.get("/outliers", responses=TABLE_RESPONSES, response_class=Response)
@worked
def outliers(request: Request, service: Parts, asked: Annotated[Outliers, Query()]) -> Response:
    """Rank the oddest galaxies, or those of which two surveys show different things."""
    with asking():
        found = service.index.outliers(
            asked.survey,
            asked.k,
            asked.method,
            neighbours=asked.neighbours,
            radius_arcsec=asked.radius_arcsec,
            clean=asked.clean,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    return table_response(request, found, asked.format, name="outliers")


class Scored(BaseModel):
    """What a person thinks of one galaxy."""

    model_config = ConfigDict(extra="forbid")

    id: Key
    score: float = Field(ge=0, le=5)


class Rank(Within):
    """A person's scores of some galaxies."""

    survey: str | None = Field(default=None, max_length=100)
    scores: list[Scored] = Field(min_length=1, max_length=10_000)
    method: Literal["combined", "knn", "lof", "forest", "reconstruction"] = "combined"
    k: int = Field(default=50, ge=1, le=10_000)
    clean: bool = False


@router.post("/rank", responses=TABLE_RESPONSES, response_class=Response)
@worked
def rank(request: Request, service: Parts, asked: Annotated[Rank, Body()]) -> Response:
    """Rank the odd galaxies anew by what a person's scores of some of them teach."""
    names = [item.id.partition(":") for item in asked.scores]
    scores = pa.table(
        {
            "survey": [name[0] for name in names],
            "object_id": [name[2] for name in names],
            "score": [item.score for item in asked.scores],
        }
    )
    with asking():
        found = service.index.rank(
            scores,
            asked.survey,
            asked.method,
            clean=asked.clean,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    return table_response(request, found.slice(0, asked.k), asked.format, name="ranking")


class Duplicates(Within):
    """Which survey, and how near is a duplicate."""

    survey: str = Field(max_length=100)
    arcsec: float | None = Field(default=None, ge=0, le=3600, allow_inf_nan=False)
    distance: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    clean: bool = False


@router.get("/duplicates", responses=TABLE_RESPONSES, response_class=Response)
@worked
def duplicates(request: Request, service: Parts, asked: Annotated[Duplicates, Query()]) -> Response:
    """Group objects of a survey that are nearly the same, on the sky, in latents, or both."""
    with asking():
        found = service.index.duplicates(
            asked.survey,
            arcsec=asked.arcsec,
            distance=asked.distance,
            clean=asked.clean,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    return table_response(
        request, found.slice(0, service.limits.rows), asked.format, name="duplicates"
    )


def _example(item: str | list[float]) -> str | np.ndarray:
    return item if isinstance(item, str) else np.array(item, np.float64)

"""Routes that query the index: neighbours, counterparts, distances, outliers, duplicates."""

from __future__ import annotations

from typing import Annotated, cast

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.index import Subset
from galaxy_da.service.batches import NeighbourQuery
from galaxy_da.service.errors import RequestError, error_responses, report_bad_arguments
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import slow
from galaxy_da.service.parts import Owner, Parts
from galaxy_da.service.routes.parameters import (
    FORMAT_TEXT,
    Accept,
    Clean,
    Count,
    FilteredQuery,
    Key,
    QueryRoute,
    Radius,
    SurveyName,
    TableQuery,
    Where,
)
from galaxy_da.service.tables import (
    BINARY,
    MEDIA,
    TABLE_RESPONSES,
    Format,
    accepted_format,
    table_response,
)
from galaxy_da.service.uploads.forms import JsonBody, json_schema, parse_json
from galaxy_da.service.uploads.parquet import read_parquet

router = APIRouter(prefix="/api", tags=["queries"], route_class=QueryRoute)

_PAIR_COLUMNS = ("anchor_id", "target_id", "separation_arcsec", "n_candidates", "ambiguous")
_PARQUET_BODY = {
    "requestBody": {"required": True, "content": {MEDIA[Format.PARQUET]: {"schema": BINARY}}}
}
_PRIOR = "Prior probability that two objects are the same galaxy."

_FEW = 100
"""Most neighbours of a quick question."""


Vector = Annotated[list[float], Field(max_length=4096)]


class Similar(FilteredQuery):
    """Search for neighbours of objects, or of the object at a position."""

    id: list[Key] = Field([], max_length=64, description="Objects to resemble, `survey:object_id`.")
    dislike: list[Key] = Field(
        [], max_length=64, description="Objects to avoid, `survey:object_id`."
    )
    ra: float | None = Field(None, description="Right ascension, ICRS [deg].")
    dec: float | None = Field(None, description="Declination, ICRS [deg].")
    radius_arcsec: Radius = 5.0
    k: Count = 10
    survey: SurveyName = None


class SimilarTo(TableQuery):
    """Search for neighbours of objects and latent vectors."""

    like: list[Key | Vector] = Field(
        min_length=1, max_length=64, description="Objects and galaxy latents to resemble."
    )
    dislike: list[Key | Vector] = Field(
        [], max_length=64, description="Objects and galaxy latents to avoid."
    )
    k: Count = 10
    survey: SurveyName = None
    where: Where = Field([])
    cone: tuple[float, float, float] | None = Field(
        None, description="Right ascension [deg], declination [deg], radius [arcsec]."
    )


@router.get("/similar", responses=TABLE_RESPONSES, response_class=Response)
async def similar(service: Parts, accept: Accept, query: Annotated[Similar, Query()]) -> Response:
    """Find the galaxies most similar to one or several objects.

    Give `id` (repeatable), or `ra` and `dec` for the object nearest to a position. `dislike` names
    objects that the results should not resemble. Results are ordered by distance in the latent
    space.
    """
    single = len(query.id) == 1 and (query.ra, query.dec) == (None, None)
    plain = not (query.dislike or query.where or query.cone)
    chosen = query.format or accepted_format(accept)
    if single and plain and query.k <= _FEW and chosen is Format.JSON:
        found = await service.neighbours.run(NeighbourQuery(query.id[0], query.k, query.survey))
        return Response(found, media_type=MEDIA[Format.JSON], headers={"Vary": "Accept"})
    if (query.ra is None) != (query.dec is None) or (query.ra is not None) == bool(query.id):
        raise RequestError(422, "give id (repeatable), or ra and dec")
    lane = service.quick if query.k <= _FEW else service.slow
    found = await lane.ask(__name__, _similar.__name__, accept=accept, query=query)
    return cast(Response, found)


def _similar(service: Holdings, accept: str, query: Similar) -> Response:
    likes = query.id
    with report_bad_arguments():
        if query.ra is not None and query.dec is not None:
            likes = [service.index.at_position(query.ra, query.dec, query.radius_arcsec)]
        found = service.index.similar(
            likes, query.k, query.survey, dislike=query.dislike, within=query.subset()
        ).table
    return table_response(accept, found, query.format, {"query": likes}, "similar")


@router.post(
    "/similar",
    responses=TABLE_RESPONSES,
    response_class=Response,
    openapi_extra=json_schema(SimilarTo),
)
@slow
def similar_to(service: Parts, accept: Accept, body: JsonBody) -> Response:
    """Find the galaxies most similar to objects and latent vectors.

    This is `GET /api/similar` for queries that contain points of the latent space.
    """
    query = parse_json(SimilarTo, body)
    with report_bad_arguments():
        found = service.index.similar(
            [_example(item) for item in query.like],
            query.k,
            query.survey,
            dislike=[_example(item) for item in query.dislike],
            within=Subset(where=query.where, cone=query.cone),
        ).table
    return table_response(accept, found, query.format, name="similar")


class Same(FilteredQuery):
    """Search for the counterparts of an object."""

    id: Key
    radius_arcsec: Radius = 1.0
    prior: float = Field(0.5, gt=0, lt=1, description=_PRIOR)


@router.get("/same", responses=TABLE_RESPONSES, response_class=Response)
@slow
def same(service: Parts, accept: Accept, query: Annotated[Same, Query()]) -> Response:
    """Find a galaxy in the other surveys.

    Each counterpart has its separation, its latent distance and, where the space has been
    calibrated, the probability that both images show the same galaxy.
    """
    with report_bad_arguments():
        within, space = query.subset(), service.space
        found = service.index.same(
            query.id, query.radius_arcsec, space=space, prior=query.prior, within=within
        ).table
    return table_response(accept, found, query.format, name="same")


class PairQuery(TableQuery):
    """Measurement of pairs."""

    anchor: str
    target: str
    prior: float | None


@router.post(
    "/distances",
    responses=TABLE_RESPONSES | error_responses(401, 404, 415, 422),
    response_class=Response,
    openapi_extra=_PARQUET_BODY,
)
async def distances(
    request: Request,
    service: Parts,
    accept: Accept,
    owner: Owner,
    anchor: Annotated[str, Query(max_length=100, description="Survey of `anchor_id`.")],
    target: Annotated[str, Query(max_length=100, description="Survey of `target_id`.")],
    prior: Annotated[float | None, Query(gt=0, lt=1, description=_PRIOR)] = None,
    format: Annotated[Format | None, Query(description=FORMAT_TEXT)] = None,
) -> Response:
    """Measure the latent distance between the two images of each pair.

    The body is a Parquet pair table with the columns `anchor_id` and `target_id`, as
    `galaxy-da crossmatch` writes it.
    """
    query = PairQuery(anchor=anchor, target=target, prior=prior, format=format)
    data = await request.body()
    return await _distances(service=service, accept=accept, query=query, data=data)


@slow
def _distances(service: Holdings, accept: str, query: PairQuery, data: bytes) -> Response:
    pairs = read_parquet(data, _PAIR_COLUMNS)
    anchor, target, space = query.anchor, query.target, service.space
    record = space.encoder(target).record if anchor == space.anchor else {}
    with report_bad_arguments():
        found = service.index.distances(
            pairs,
            anchor=anchor,
            target=target,
            space=space if "match_probability" in record else None,
            prior=query.prior,
        ).table
    return table_response(accept, found, query.format, name="distances")


class Outliers(FilteredQuery):
    """Search for outliers; `k` is the number of each ranking."""

    survey: SurveyName = None
    k: Count = 50


@router.get("/outliers", responses=TABLE_RESPONSES, response_class=Response)
@slow
def outliers(service: Parts, accept: Accept, query: Annotated[Outliers, Query()]) -> Response:
    """Rank bad data and strange galaxies, with the reasons."""
    with report_bad_arguments():
        found = service.index.outliers(query.survey, query.k, within=query.subset()).table
    return table_response(accept, found, query.format, name="outliers")


class ScoredObject(BaseModel):
    """A person's score of one object."""

    model_config = ConfigDict(extra="forbid")

    id: Key
    score: float = Field(ge=0, le=5, description="0 is uninteresting, 5 very interesting.")


class Rank(FilteredQuery):
    """Ranking of strange galaxies by a person's scores."""

    survey: SurveyName = None
    scores: list[ScoredObject] = Field(min_length=1, max_length=10_000)
    k: Count = 50


@router.post(
    "/rank", responses=TABLE_RESPONSES, response_class=Response, openapi_extra=json_schema(Rank)
)
@slow
def rank(service: Parts, accept: Accept, body: JsonBody) -> Response:
    """Rank strange galaxies by a model trained on a person's scores of some of them."""
    query = parse_json(Rank, body)
    surveys, _, ids = zip(*(item.id.partition(":") for item in query.scores), strict=True)
    scores = [item.score for item in query.scores]
    scored = pa.table({"survey": surveys, "object_id": ids, "score": scores})
    with report_bad_arguments():
        found = service.index.rank(scored, query.survey, within=query.subset()).table
    return table_response(accept, found.slice(0, query.k), query.format, name="ranking")


class Duplicates(FilteredQuery):
    """Search for duplicates in one survey."""

    survey: str = Field(max_length=100, description="Survey to search.")
    arcsec: float | None = Field(
        None, ge=0, le=3600, description="Largest separation on the sky [arcsec]."
    )
    distance: float | None = Field(None, ge=0, description="Largest latent distance.")
    clean: Clean = False


@router.get("/duplicates", responses=TABLE_RESPONSES, response_class=Response)
@slow
def duplicates(service: Parts, accept: Accept, query: Annotated[Duplicates, Query()]) -> Response:
    """Group the objects of a survey that are close on the sky, in the latent space, or both."""
    with report_bad_arguments():
        within = query.subset(clean=query.clean)
        found = service.index.duplicates(
            query.survey, arcsec=query.arcsec, distance=query.distance, within=within
        ).table
    found = found.slice(0, service.limits.rows)
    return table_response(accept, found, query.format, name="duplicates")


def _example(item: str | list[float]) -> str | np.ndarray:
    return item if isinstance(item, str) else np.array(item, np.float64)

"""Routes that describe the service and single objects."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from galaxy_da.errors import LatentIndexError
from galaxy_da.io.column_types import json_value
from galaxy_da.queries.latent_effects import latent_effects
from galaxy_da.queries.rows import all_latents, rows_of
from galaxy_da.service.errors import error_responses
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import quick, slow
from galaxy_da.service.links import Link, sky_links
from galaxy_da.service.parts import Parts
from galaxy_da.service.routes.parameters import FORMAT_TEXT, Accept, Key, TableQuery
from galaxy_da.service.tables import (
    TABLE_RESPONSES,
    Format,
    describe_columns,
    table_response,
)
from galaxy_da.service.uploads.forms import JsonBody, json_schema, parse_json
from galaxy_da.surveys import Survey, builtin_surveys

router = APIRouter(prefix="/api", tags=["objects"])

_FIELDS = ("survey", "object_id", "ra", "dec", "flags")
_HIDDEN = ("variance", "nuisance")
_STD_ROWS = 20_000


class ObjectAnswer(BaseModel):
    """One object."""

    key: str
    survey: str
    object_id: str
    ra: float | None
    dec: float | None
    flags: int
    columns: dict[str, Any]
    has_cutout: bool
    links: list[Link]


class ObjectList(TableQuery):
    """List of objects."""

    ids: list[Key] = Field(min_length=1, max_length=100_000)


class LatentsAnswer(BaseModel):
    """Latents of an object, and the standard deviation of each latent over the index.

    `changes` names what each latent changes in the decoded image as it grows, in at most two words
    or phrases; `strengths` is the share of the light that moves.
    """

    latents: list[float]
    std: list[float]
    changes: list[list[str]]
    strengths: list[float]


@router.get("/info")
def info(service: Parts) -> dict[str, Any]:
    """Describe the space, the index and the limits of the service."""
    space, index, frame = service.space, service.index, service.space.frame
    spans = {name: index.span(name) for name in index.surveys}
    return {
        "version": version("galaxy_da"),
        "space": {
            "id": space.id,
            "anchor": space.anchor,
            "latents": space.architecture.latents,
            "galaxy_latents": space.galaxy_latents,
            "surveys": list(space.surveys),
            "frame": {
                "pixels": frame.pixels,
                "pixel_scale_arcsec": frame.pixel_scale_arcsec,
                "bands": list(frame.bands),
            },
        },
        "uploads": {"surveys": _upload_surveys(service)},
        "index": {
            "objects": len(index),
            "dimension": index.dimension,
            "generation": index.generation,
            "surveys": {name: stop - start for name, (start, stop) in spans.items()},
            "columns": describe_columns(_flat(index.rows.schema)),
        },
        "has_cutouts": service.cutouts is not None,
        "takes_jobs": service.jobs is not None,
        "writes_need_token": service.tokens is not None,
        "limits": service.limits.model_dump(),
    }


@router.get("/objects", response_model=ObjectAnswer, responses=error_responses(404, 422))
def get_object(service: Parts, id: Annotated[Key, Query()]) -> ObjectAnswer:
    """Return an object with all its columns."""
    index = service.index
    row = index.row(id)
    names = [name for name in index.rows.column_names if name not in _HIDDEN]
    (values,) = index.take(np.array([row]), names).to_pylist()
    survey, object_id = values["survey"], values["object_id"]
    return ObjectAnswer(
        key=f"{survey}:{object_id}",
        **{name: values[name] for name in _FIELDS},
        columns={name: json_value(values[name]) for name in names if name not in _FIELDS},
        has_cutout=service.cutouts is not None and service.cutouts.has(survey, object_id),
        links=sky_links(values["ra"], values["dec"], _shown_surveys(service)),
    )


@router.post(
    "/objects/table",
    responses=TABLE_RESPONSES,
    response_class=Response,
    openapi_extra=json_schema(ObjectList),
)
@slow
def objects(service: Parts, accept: Accept, body: JsonBody) -> Response:
    """Return the listed objects with all their columns, in the order of the list."""
    query = parse_json(ObjectList, body)
    return table_response(accept, _table(service, query.ids), query.format, name="objects")


@router.get("/objects/table", responses=TABLE_RESPONSES, response_class=Response)
@slow
def objects_at_url(
    service: Parts,
    accept: Accept,
    id: Annotated[list[Key], Query(min_length=1, max_length=1000)],
    format: Annotated[Format | None, Query(description=FORMAT_TEXT)] = None,
) -> Response:
    """Return the objects whose keys the URL lists, for programs that are sent an address."""
    return table_response(accept, _table(service, id), format, name="objects")


@router.get("/objects/complete", response_model=list[str], responses=error_responses(422))
@quick
def complete(
    service: Parts,
    prefix: Annotated[str, Query(max_length=1024, description="Start of a key or object id.")],
    k: Annotated[int, Query(ge=1, le=100, description="Number of keys to return.")] = 10,
) -> list[str]:
    """Complete a key: list the keys or object ids that start with a prefix."""
    index, keys = service.index, []
    survey_name, colon, rest = prefix.partition(":")
    for survey in index.surveys:
        start, stop = index.span(survey)
        ids = index.rows["object_id"].slice(start, stop - start)
        if colon and survey_name == survey:
            ids = ids.filter(pc.starts_with(ids, rest))
        elif not survey.startswith(prefix):
            ids = ids.filter(pc.starts_with(ids, prefix))
        keys += [f"{survey}:{object_id}" for object_id in ids.slice(0, k).to_pylist()]
    return keys[:k]


@router.get("/latents", response_model=LatentsAnswer, responses=error_responses(404, 422))
@quick
def latents(service: Parts, id: Annotated[Key, Query()]) -> LatentsAnswer:
    """Return the latents of an object: the galaxy latents, then the nuisance latents."""
    (values,) = all_latents(service.index, np.array([service.index.row(id)]))
    std = _std(service)
    effects = latent_effects(service.space, values, std)
    return LatentsAnswer(
        latents=values.tolist(),
        std=std.tolist(),
        changes=[list(effect.words) for effect in effects],
        strengths=[effect.strength for effect in effects],
    )


def _table(service: Holdings, keys: list[str]) -> pa.Table:
    """Return objects with all their columns of single values, in the order of their keys."""
    return service.index.take(_rows(service, keys), _flat(service.index.rows.schema).names)


def _flat(schema: pa.Schema) -> pa.Schema:
    """Return the fields of single values."""
    return pa.schema([field for field in schema if not pa.types.is_nested(field.type)])


def _upload_surveys(service: Holdings) -> dict[str, dict[str, Any]]:
    """Describe every survey that an image may come from, those of the index first."""
    space = service.space
    known = set(space.surveys) | set(builtin_surveys())
    own = [name for name in service.index.surveys if name in known]
    names = dict.fromkeys([*own, *space.surveys, *sorted(known)])
    surveys = {name: space.survey(name) for name in names}
    return {
        name: {
            "stretches": list(survey.stretches),
            "pixel_scale_arcsec": survey.pixel_scale_arcsec,
        }
        for name, survey in surveys.items()
    }


def _shown_surveys(service: Holdings) -> list[Survey]:
    """Return the surveys of the index whose definitions are known."""
    known = _upload_surveys(service)
    return [service.space.survey(name) for name in service.index.surveys if name in known]


def _rows(service: Holdings, keys: list[str]) -> np.ndarray:
    """Return the row numbers of keys, in their order."""
    parts = np.array([key.partition(":") for key in keys], object)
    surveys, ids = parts[:, 0], parts[:, 2]
    rows = np.full(len(keys), -1)
    for survey in set(surveys) & set(service.index.surveys):
        mask = surveys == survey
        wanted = pa.chunked_array([pa.array(ids[mask], pa.string())])
        rows[mask] = rows_of(service.index, survey, wanted)
    if (rows < 0).any():
        missing = keys[int(np.argmax(rows < 0))]
        raise LatentIndexError(
            f"no object {missing!r} in this index ({(rows < 0).sum()} of {len(keys)} are missing)"
        )
    return rows


def _std(service: Holdings) -> np.ndarray:
    """Return the standard deviation of each latent, over at most 20,000 random rows."""
    index = service.index
    rows = np.sort(np.random.default_rng(0).permutation(len(index))[:_STD_ROWS])
    return np.asarray(all_latents(index, rows).std(axis=0, dtype=np.float64))

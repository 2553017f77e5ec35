"""Route of the map: the positions of the objects in the plane."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from galaxy_da.errors import LatentIndexError
from galaxy_da.io.column_types import json_values
from galaxy_da.io.tables import with_metadata
from galaxy_da.service.errors import RequestError, error_responses
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import slow
from galaxy_da.service.parts import Parts
from galaxy_da.service.tables import BINARY, MEDIA, Format, encode_arrow, encode_json

router = APIRouter(prefix="/api", tags=["map"])

_DECIMALS = 4
_SEED = 0


class MapAnswer(BaseModel):
    """Points by column; each `survey` is a position in `surveys`, from 0."""

    meta: dict[str, Any]
    surveys: list[str]
    x: list[float]
    y: list[float]
    survey: list[int]
    object_id: list[str]
    value: list[Any] | None


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": MapAnswer,
        "description": "Arrow stream, or JSON by column.",
        "content": {MEDIA[Format.ARROW]: {"schema": BINARY}},
    },
    **error_responses(404, 422),
}


@router.get("/map", responses=_RESPONSES, response_class=Response)
@slow
def latent_map(
    service: Parts,
    limit: Annotated[int, Query(ge=1, le=1_000_000, description="Number of objects.")] = 100_000,
    column: Annotated[
        str | None, Query(max_length=200, description="Column of the index to return as `value`.")
    ] = None,
    format: Annotated[Literal["arrow", "json"], Query(description="Format.")] = "arrow",
) -> Response:
    """Return the positions of objects on the map of the latent space.

    If the index has more than `limit` objects, a random choice is returned, the same each time.
    """
    table = _points(service, limit, column)
    if format == "arrow":
        return Response(encode_arrow(table), media_type=MEDIA[Format.ARROW])
    survey = table["survey"].combine_chunks()
    x, y = (np.round(table[name].to_numpy().astype(float), _DECIMALS).tolist() for name in "xy")
    answer = {
        "meta": _metadata(service),
        "surveys": survey.dictionary.to_pylist(),
        "x": x,
        "y": y,
        "survey": survey.indices.to_pylist(),
        "object_id": table["object_id"].to_pylist(),
        "value": None if column is None else json_values(table["value"]),
    }
    return Response(encode_json(answer), media_type=MEDIA[Format.JSON])


def _points(service: Holdings, limit: int, column: str | None) -> pa.Table:
    index, points = service.index, service.latent_map.points
    if column is not None:
        if column not in index.rows.column_names:
            raise LatentIndexError(f"column {column!r} is not in this index")
        if pa.types.is_nested(index.rows.schema.field(column).type):
            raise RequestError(422, f"column {column!r} does not hold single values")
    rows = np.arange(len(index))
    if limit < len(rows):
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, limit, replace=False))
    names = ["survey", "object_id", *([column] if column else [])]
    taken = index.take(rows, list(dict.fromkeys(names)))
    columns = {
        "x": points[rows, 0].astype(np.float32),
        "y": points[rows, 1].astype(np.float32),
        "survey": taken["survey"].dictionary_encode().unify_dictionaries().combine_chunks(),
        "object_id": taken["object_id"],
    }
    if column is not None:
        columns["value"] = taken[column]
    return with_metadata(pa.table(columns), _metadata(service))


def _metadata(service: Holdings) -> dict[str, Any]:
    return {
        "method": service.latent_map.method,
        "generation": service.latent_map.generation,
        "fitted_on": service.latent_map.fitted_on,
        "objects": len(service.index),
    }

"""Route of the latent space drawn flat."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from galaxy_da.errors import LatentIndexError
from galaxy_da.io.tables import with_metadata
from galaxy_da.service.errors import RequestError, documented
from galaxy_da.service.executor import worked
from galaxy_da.service.parts import Parts, Service
from galaxy_da.service.tables import MEDIA, Format, to_arrow

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["map"])

_DECIMALS = 4
_SEED = 0


class MapAnswer(BaseModel):
    """Points by column; `survey` counts from 0 in `surveys`."""

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
        "description": "An Arrow stream, or JSON by column.",
        "content": {MEDIA[Format.ARROW]: {"schema": {"type": "string", "format": "binary"}}},
    },
    **documented(404, 422),
}


@router.get("/map", responses=_RESPONSES, response_class=Response)
@worked
def latent_map(
    service: Parts,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    column: Annotated[str | None, Query(max_length=200)] = None,
    format: Literal["arrow", "json"] = "arrow",
) -> Response:
    """Return where objects lie in the plane, a random choice where there are more than `limit`."""
    table = _points(service, limit, column)
    if format == "arrow":
        return Response(to_arrow(table), media_type=MEDIA[Format.ARROW])
    survey = table["survey"].combine_chunks()
    answer = MapAnswer(
        meta=_about(service),
        surveys=survey.dictionary.to_pylist(),
        survey=survey.indices.to_pylist(),
        object_id=table["object_id"].to_pylist(),
        value=None if column is None else _plain(table["value"]),
        **{
            name: np.round(table[name].to_numpy().astype(float), _DECIMALS).tolist()
            for name in ("x", "y")
        },
    )
    text = json.dumps(answer.model_dump(), separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json")


def _points(service: Service, limit: int, column: str | None) -> pa.Table:
    index, drawn = service.index, service.drawn
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
        "x": drawn.points[rows, 0].astype(np.float32),
        "y": drawn.points[rows, 1].astype(np.float32),
        "survey": taken["survey"].dictionary_encode().unify_dictionaries().combine_chunks(),
        "object_id": taken["object_id"],
    }
    if column is not None:
        columns["value"] = taken[column]
    return with_metadata(pa.table(columns), _about(service))


def _about(service: Service) -> dict[str, Any]:
    drawn = service.drawn
    return {
        "method": drawn.method,
        "generation": drawn.generation,
        "fitted_on": drawn.fitted_on,
        "objects": len(service.index),
    }


def _plain(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_floating(column.type):
        values = column.to_numpy().astype(float)
        return [value if np.isfinite(value) else None for value in values.tolist()]
    if pa.types.is_temporal(column.type) or pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    return list(column.to_pylist())

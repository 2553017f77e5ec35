"""Simple Cone Search, version 1.03, of the International Virtual Observatory Alliance.

As the standard requires, an error is a VOTable with status 200.
"""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io.votable.tree import Info, Resource, VOTableFile
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.errors import GalaxyDAError, LatentIndexError
from galaxy_da.io.described_tables import add_descriptions
from galaxy_da.io.tables import with_metadata
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import slow
from galaxy_da.service.parts import Parts
from galaxy_da.service.tables import MEDIA, Format, encode_votable
from galaxy_da.service.uploads.forms import validation_error

router = APIRouter(prefix="/vo", tags=["virtual observatory"])

_UCD1 = {"key": "ID_MAIN", "ra": "POS_EQ_RA_MAIN", "dec": "POS_EQ_DEC_MAIN", "object_id": "meta.id"}
_COLUMNS = {
    1: ("ra", "dec"),
    2: ("ra", "dec", "survey", "object_id", "flags", "reconstruction_error"),
}


class ConeSearch(BaseModel):
    """Parameters of a cone search, named as in the standard."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    RA: float = Field(description="Right ascension, ICRS [deg].")
    DEC: float = Field(description="Declination, ICRS [deg].")
    SR: float = Field(ge=0, le=180, description="Radius [deg]; 0 returns only the columns.")
    VERB: int = Field(2, ge=1, le=3, description="Columns: 1 few, 2 more, 3 all.")
    MAXREC: int | None = Field(None, ge=0, description="Largest number of rows.")


_OPENAPI = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": field.is_required(),
            "description": field.description,
            "schema": {"type": "string"},
        }
        for name, field in ConeSearch.model_fields.items()
    ]
}


@router.get(
    "/conesearch",
    response_class=Response,
    responses={200: {"content": {MEDIA[Format.VOTABLE]: {}}, "description": "VOTable."}},
    openapi_extra=_OPENAPI,
)
async def cone_search(request: Request, service: Parts) -> Response:
    """List the objects within a radius of a position (IVOA Simple Cone Search).

    Parameter names may be in upper or lower case. An error is a VOTable with status 200.
    """
    given = {key.upper(): value for key, value in request.query_params.items()}
    return await _search(service=service, given=given)


@slow
def _search(service: Holdings, given: dict[str, str]) -> Response:
    try:
        query = ConeSearch.model_validate(given)
        table = _matches(service.index, query, service.limits.rows)
    except ValidationError as error:
        return _votable(_error_votable(str(validation_error(error))))
    except (ValueError, GalaxyDAError) as error:
        return _votable(_error_votable(str(error)))
    return _votable(encode_votable(table))


def _matches(index: LatentIndex, query: ConeSearch, max_rows: int) -> pa.Table:
    cone = (query.RA, query.DEC, query.SR * 3600)
    limit = max_rows if query.MAXREC is None else min(query.MAXREC, max_rows)
    try:
        rows = index.select(cone=cone).rows
    except LatentIndexError:  # the cone is empty
        rows = np.empty(0, np.int64)
    rows = rows if query.SR else rows[:0]
    columns = _COLUMNS.get(query.VERB, tuple(index.rows.column_names))
    names = [name for name in columns if name in index.rows.column_names]
    table = index.take(rows[:limit], list(dict.fromkeys(("survey", "object_id", *names))))
    table = add_descriptions(table)
    keys = [pc.cast(table[name], pa.string()) for name in ("survey", "object_id")]
    key = pa.field("key", pa.string(), metadata={"description": "survey:object_id"})
    table = table.select(names).add_column(0, key, pc.binary_join_element_wise(*keys, ":"))
    for place, field in enumerate(table.schema):
        if field.name in _UCD1:
            notes = {**(field.metadata or {}), b"ucd": _UCD1[field.name].encode()}
            table = table.set_column(place, field.with_metadata(notes), table[field.name])
    status = "OVERFLOW" if len(rows) > limit else "OK"
    return with_metadata(table, {"QUERY_STATUS": status, "REQUEST_CONE": list(cone)})


def _error_votable(message: str) -> bytes:
    votable = VOTableFile(version="1.4")
    resource = Resource()
    resource.type = "results"
    resource.infos.append(Info(ID="Error", name="Error", value=message))
    resource.infos.append(Info(name="QUERY_STATUS", value="ERROR"))
    votable.resources.append(resource)
    out = io.BytesIO()
    votable.to_xml(out)
    return out.getvalue()


def _votable(body: bytes) -> Response:
    return Response(body, media_type=MEDIA[Format.VOTABLE])

"""Simple Cone Search, version 1.03, of the International Virtual Observatory Alliance.

As the standard requires, an error is a VOTable with status 200.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io.votable.tree import Info, Resource, VOTableFile
from fastapi import APIRouter, Request
from fastapi.responses import Response

from galaxy_da.errors import GalaxyDAError, LatentIndexError
from galaxy_da.io.catalogue_output import add_descriptions
from galaxy_da.io.tables import with_metadata
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import in_thread
from galaxy_da.service.parts import Parts
from galaxy_da.service.tables import MEDIA, Format, to_votable

__all__ = ["router"]

router = APIRouter(prefix="/vo", tags=["virtual observatory"])

_UCD1 = {"key": "ID_MAIN", "ra": "POS_EQ_RA_MAIN", "dec": "POS_EQ_DEC_MAIN"}
_COLUMNS = {
    1: ("ra", "dec"),
    2: ("ra", "dec", "survey", "object_id", "flags", "reconstruction_error"),
}
_MAX_RADIUS_DEG = 180.0


def _parameter(name: str, description: str, required: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }


@router.get(
    "/conesearch",
    response_class=Response,
    responses={200: {"content": {MEDIA[Format.VOTABLE]: {}}, "description": "VOTable."}},
    openapi_extra={
        "parameters": [
            _parameter("RA", "Right ascension, ICRS [deg]."),
            _parameter("DEC", "Declination, ICRS [deg]."),
            _parameter("SR", "Radius [deg]; 0 returns the columns without rows."),
            _parameter("VERB", "Columns: 1 few, 2 more, 3 all.", required=False),
            _parameter("MAXREC", "Largest number of rows.", required=False),
        ]
    },
)
@in_thread
def cone_search(request: Request, service: Parts) -> Response:
    """List the objects within a radius of a position (IVOA Simple Cone Search).

    Parameter names may be in upper or lower case. An error is a VOTable with status 200.
    """
    try:
        parameters = {name.upper(): value for name, value in request.query_params.items()}
        ra, dec, radius = (_number(parameters, name) for name in ("RA", "DEC", "SR"))
        verbosity = _integer(parameters, "VERB", 2, 3)
        limit = _integer(parameters, "MAXREC", service.limits.rows, service.limits.rows)
        if not 0 <= radius <= _MAX_RADIUS_DEG:
            raise ValueError(f"SR must be 0 to 180 degrees but is {radius:g}")
        table = _matches(service.index, (ra, dec, radius * 3600), verbosity, limit)
    except (ValueError, GalaxyDAError) as error:
        return _votable(_error_votable(str(error)))
    return _votable(to_votable(table))


def _matches(
    index: LatentIndex, cone: tuple[float, float, float], verbosity: int, limit: int
) -> pa.Table:
    try:
        rows = index.select(cone=cone).rows
    except LatentIndexError:  # the cone is empty
        rows = np.empty(0, np.int64)
    rows = rows if cone[2] else rows[:0]
    columns = _COLUMNS.get(verbosity, tuple(index.rows.column_names))
    names = [name for name in columns if name in index.rows.column_names]
    taken = add_descriptions(
        index.take(rows[:limit], list(dict.fromkeys(("survey", "object_id", *names))))
    )
    keys = [
        f"{a}:{b}"
        for a, b in zip(taken["survey"].to_pylist(), taken["object_id"].to_pylist(), strict=True)
    ]
    key = pa.field("key", pa.string(), metadata={b"description": b"survey:object_id"})
    fields = {"key": key}
    fields |= {name: taken.schema.field(name) for name in names}
    ucds = _UCD1 | {"object_id": "meta.id"}
    schema = pa.schema(
        [
            field.with_metadata({**(field.metadata or {}), **_ucd(ucds, name)})
            for name, field in fields.items()
        ]
    )
    table = pa.table([pa.array(keys, pa.string()), *(taken[n] for n in names)], schema=schema)
    status = "OVERFLOW" if len(rows) > limit else "OK"
    return with_metadata(table, {"QUERY_STATUS": status, "REQUEST_CONE": list(cone)})


def _ucd(ucds: Mapping[str, str], name: str) -> dict[bytes, bytes]:
    return {b"ucd": ucds[name].encode()} if name in ucds else {}


def _number(parameters: Mapping[str, str], name: str) -> float:
    try:
        value = float(parameters[name])
    except KeyError:
        raise ValueError(f"{name} is missing; give RA, DEC and SR in degrees") from None
    except ValueError:
        raise ValueError(f"{name} must be a number but is {parameters[name]!r}") from None
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite")
    return value


def _integer(parameters: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = parameters.get(name, str(default))
    if not text.isascii() or not text.isdigit() or (name == "VERB" and text not in "123"):
        raise ValueError(f"{name} must be a whole number but is {text!r}")
    return min(int(text), largest)


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

"""Simple Cone Search, version 1.03, of the International Virtual Observatory Alliance.

Mistakes are VOTables too, with status 200, as that standard has it.
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
_FEW = ("ra", "dec")
_MORE = (*_FEW, "survey", "object_id", "flags", "reconstruction_error")
_MOST_RADIUS = 180.0


def _parameter(name: str, about: str, required: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": about,
        "schema": {"type": "string"},
    }


@router.get(
    "/conesearch",
    response_class=Response,
    responses={200: {"content": {MEDIA[Format.VOTABLE]: {}}, "description": "A VOTable."}},
    openapi_extra={
        "parameters": [
            _parameter("RA", "Right ascension, ICRS [deg]."),
            _parameter("DEC", "Declination, ICRS [deg]."),
            _parameter("SR", "Radius [deg]; 0 asks for the columns alone."),
            _parameter("VERB", "1: few columns, 2: more, 3: all.", required=False),
            _parameter("MAXREC", "Most rows.", required=False),
        ]
    },
)
@in_thread
def cone_search(request: Request, service: Parts) -> Response:
    """List the objects within a radius of a position."""
    try:
        asked = {name.upper(): value for name, value in request.query_params.items()}
        ra, dec, radius = (_number(asked, name) for name in ("RA", "DEC", "SR"))
        verbosity = _whole(asked, "VERB", 2, 3)
        most = _whole(asked, "MAXREC", service.limits.rows, service.limits.rows)
        if not 0 <= radius <= _MOST_RADIUS:
            raise ValueError(f"SR must be 0 to 180 degrees but is {radius:g}")
        table = _found(service.index, (ra, dec, radius * 3600), verbosity, most)
    except (ValueError, GalaxyDAError) as error:
        return _votable(_mistake(str(error)))
    return _votable(to_votable(table))


def _found(
    index: LatentIndex, cone: tuple[float, float, float], verbosity: int, most: int
) -> pa.Table:
    try:
        rows = index.select(cone=cone).rows
    except LatentIndexError:  # nothing is there
        rows = np.empty(0, np.int64)
    rows = rows if cone[2] else rows[:0]
    columns = {1: _FEW, 2: _MORE, 3: tuple(index.rows.column_names)}[verbosity]
    names = [name for name in columns if name in index.rows.column_names]
    taken = add_descriptions(
        index.take(rows[:most], list(dict.fromkeys(("survey", "object_id", *names))))
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
    full = "OVERFLOW" if len(rows) > most else "OK"
    return with_metadata(table, {"QUERY_STATUS": full, "REQUEST_CONE": list(cone)})


def _ucd(ucds: Mapping[str, str], name: str) -> dict[bytes, bytes]:
    return {b"ucd": ucds[name].encode()} if name in ucds else {}


def _number(asked: Mapping[str, str], name: str) -> float:
    try:
        value = float(asked[name])
    except KeyError:
        raise ValueError(f"{name} is missing; give RA, DEC and SR in degrees") from None
    except ValueError:
        raise ValueError(f"{name} must be a number but is {asked[name]!r}") from None
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite")
    return value


def _whole(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not text.isascii() or not text.isdigit() or (name == "VERB" and text not in "123"):
        raise ValueError(f"{name} must be a whole number but is {text!r}")
    return min(int(text), most)


def _mistake(message: str) -> bytes:
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

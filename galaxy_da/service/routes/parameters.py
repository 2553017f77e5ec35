"""Query parameters that many routes share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, get_origin, get_type_hints

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.index import Subset
from galaxy_da.service.tables import Format
from galaxy_da.service.uploads.forms import validation_error


class QueryRoute(APIRoute):
    """Route whose parameter `query` is a model of all parameters of the URL.

    The model alone reads them, in a tenth of the time that FastAPI takes. Such a function has two
    other parameters, `service` and `accept`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        model, function = get_type_hints(self.endpoint).get("query"), self.endpoint
        if model is None:
            return super().get_route_handler()
        fields = model.model_fields.items()
        lists = {name for name, field in fields if get_origin(field.annotation) is list}

        async def answer(request: Request) -> Response:
            given = request.query_params
            values = {key: given.getlist(key) if key in lists else given[key] for key in given}
            try:
                query = model.model_validate(values)
            except ValidationError as error:
                raise validation_error(error) from error
            accept, service = request.headers.get("accept", ""), request.app.state.service
            response: Response = await function(service=service, accept=accept, query=query)
            return response

        return answer


async def _accept(request: Request) -> str:
    return request.headers.get("accept", "")


Accept = Annotated[str, Depends(_accept)]
"""Parameter of a route: the header ``Accept``."""

FORMAT_TEXT = "Format of the table; by default the `Accept` header decides."

Key = Annotated[
    str, Field(max_length=1024, description="Key of an object, written `survey:object_id`.")
]
SurveyName = Annotated[
    str | None, Field(max_length=100, description="Survey to search; all surveys by default.")
]
Count = Annotated[int, Field(ge=1, le=10_000, description="Number of rows to return.")]
Radius = Annotated[float, Field(ge=0, le=3600, description="Radius of the search [arcsec].")]
Clean = Annotated[bool, Field(description="Exclude images with quality flags.")]
Where = Annotated[
    list[Annotated[str, Field(max_length=1024)]],
    Field(
        max_length=32,
        description="Conditions `column operator value`, such as `mag_r < 19`; all must hold.",
    ),
]


def _read_cone(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        ra, dec, radius = (float(item) for item in text.split(","))
    except ValueError:
        raise ValueError(f"cone must be RA,DEC,RADIUS_ARCSEC but is {text!r}") from None
    return ra, dec, radius


def _check_cone(text: str | None) -> str | None:
    _read_cone(text)
    return text


ConeText = Annotated[
    str | None,
    Field(
        max_length=200, description="Cone on the sky, `ra,dec,radius`: ICRS degrees and arcseconds."
    ),
    AfterValidator(_check_cone),
]


class TableQuery(BaseModel):
    """Query that a table answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Format | None = Field(None, description=FORMAT_TEXT)


class FilteredQuery(TableQuery):
    """Query restricted to objects that meet some conditions."""

    where: Where = []
    cone: ConeText = None

    def subset(self, *, clean: bool = False) -> Subset:
        """Return the conditions of a query of the index."""
        return Subset(where=self.where, cone=_read_cone(self.cone), clean=clean)

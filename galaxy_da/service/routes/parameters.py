"""Query parameters that many routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from galaxy_da.index import Subset
from galaxy_da.service.tables import Format

__all__ = [
    "FORMAT_TEXT",
    "Accept",
    "Clean",
    "Count",
    "FilteredQuery",
    "Key",
    "Radius",
    "SurveyName",
    "TableQuery",
    "Where",
]


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

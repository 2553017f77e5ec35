"""Parameters that many routes share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from galaxy_da.service.tables import Format

__all__ = ["Asked", "ConeText", "Key", "Within", "read_cone"]

Key = Annotated[str, Field(max_length=1024, description="`survey:object_id`.")]


def read_cone(text: str | None) -> tuple[float, float, float] | None:
    """Read ``ra,dec,radius_arcsec``.

    Raises
    ------
    ValueError
        If it is not three numbers.
    """
    if text is None:
        return None
    try:
        ra, dec, radius = (float(item) for item in text.split(","))
    except ValueError:
        raise ValueError(f"cone must be RA,DEC,RADIUS_ARCSEC but is {text!r}") from None
    return ra, dec, radius


def _is_cone(text: str | None) -> str | None:
    read_cone(text)
    return text


ConeText = Annotated[
    str | None,
    Field(max_length=200, description="Only within `ra,dec,radius`, ICRS degrees and arcsec."),
    AfterValidator(_is_cone),
]


class Asked(BaseModel):
    """Parameters of any answer that is a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format | None = None


class Within(Asked):
    """Which objects a question is about."""

    where: list[Annotated[str, Field(max_length=1024)]] = Field(
        default=[], max_length=32, description="`column op value`; all must hold."
    )
    cone: ConeText = None

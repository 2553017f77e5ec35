"""How much one request may ask for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Limits"]


class Limits(BaseModel):
    """Bounds on what one request may ask for and what all may hold together.

    Attributes
    ----------
    rows : int
        Most rows of one answer.
    body_bytes : int
        Largest body of a request without files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=10_000, gt=0)
    points: int = Field(default=200_000, gt=0)
    steps: int = Field(default=64, gt=1)
    image_px: int = Field(default=1024, gt=0)
    body_bytes: int = Field(default=1 << 20, gt=0)

"""How much a service bears."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one service bears, shared by all its users in a process.

    Attributes
    ----------
    requests_per_second : float
        Never exceeded in any one second.
    concurrency : int
        Most requests under way at a time.
    """

    requests_per_second: float
    concurrency: int

    def __post_init__(self) -> None:
        if not (self.requests_per_second > 0 and self.concurrency >= 1):
            raise ValueError(
                f"limits must be positive but are {self.requests_per_second} requests per second "
                f"and a concurrency of {self.concurrency}"
            )

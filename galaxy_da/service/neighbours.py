"""Neighbours of objects of the index, searched for together when many clients ask at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from galaxy_da.errors import GalaxyDAError
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.executor import Batcher
from galaxy_da.service.limits import Limits

__all__ = ["Neighbours", "neighbour_batcher"]


@dataclass(frozen=True)
class Neighbours:
    """Whose neighbours, how many, and of which survey."""

    key: str
    k: int
    survey: str | None


def neighbour_batcher(
    index: LatentIndex, limits: Limits, observe: Callable[[float], object]
) -> Batcher[Neighbours, pa.Table]:
    """Return what answers many requests with one search for each k and survey."""

    def compute(items: Sequence[Neighbours]) -> list[pa.Table | Exception]:
        groups: dict[tuple[int, str | None], list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault((item.k, item.survey), []).append(place)
        results: dict[int, pa.Table | Exception] = {}
        for (k, survey), members in groups.items():
            keys = [items[place].key for place in members]
            try:
                found = index.similar_to_each(keys, k, survey)
            except GalaxyDAError as error:
                found = [error] * len(members)
            results.update(zip(members, found, strict=True))
        return [results[place] for place in range(len(items))]

    return Batcher(
        compute,
        most=limits.batch,
        waiting=limits.waiting,
        seconds=limits.seconds,
        observe=observe,
    )

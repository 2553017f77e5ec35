"""Follow an index: when its folder changes, the service answers from the new state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from galaxy_da.errors import GalaxyDAError
from galaxy_da.index.latent_map import MAP_FILE, read_map
from galaxy_da.index.manifest import MANIFEST, read
from galaxy_da.index.stores import newest_manifest
from galaxy_da.io.storage import Location
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.parts import Service
from galaxy_da.service.telemetry import LOG

_SECONDS = 1.0
_STORE_SECONDS = 60.0


async def watch(service: Service) -> None:
    """Look for changes of the index or its map, and replace those of the service, without end.

    A state that cannot be used is logged once, and the service goes on with the one it has.
    """
    source = service.index.source
    if source is None:
        return
    seen, problem = await asyncio.to_thread(_first_stamp, source, service.index), ""
    while True:
        await asyncio.sleep(_SECONDS if isinstance(source, Path) else _STORE_SECONDS)
        try:
            stamp = await asyncio.to_thread(_stamp, source)
            if stamp == seen:
                continue
            replace = await asyncio.to_thread(_prepare, service, source)
        except (GalaxyDAError, OSError, EOFError) as error:
            if str(error) != problem:
                LOG.warning("the changed index cannot be used: %s", error)
            problem = str(error)
            continue
        replace()
        seen, problem = stamp, ""
        fields = {"generation": service.index.generation, "objects": len(service.index)}
        LOG.info("index replaced", extra={"fields": fields})


def _prepare(service: Service, source: Location) -> Callable[[], None]:
    index = LatentIndex.open(source)
    return service.replace_index(index, read_map(source, index))


def _stamp(source: Location) -> object:
    """Return what differs after a change of the index or its map."""
    if not isinstance(source, Path):
        return newest_manifest(source)
    paths = [path for name in (MANIFEST, MAP_FILE) if (path := source / name).exists()]
    return [
        (path.name, s.st_mtime_ns, s.st_ino, s.st_size) for path in paths for s in [path.stat()]
    ]


def _first_stamp(source: Location, index: LatentIndex) -> object:
    """Return the stamp of the open index, None if it has changed since it was opened."""
    try:
        stamp = _stamp(source)
        changed = isinstance(source, Path) and read(source).generation != index.generation
    except (GalaxyDAError, OSError):
        return None
    return None if changed else stamp

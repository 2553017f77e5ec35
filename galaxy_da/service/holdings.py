"""Space, index, cutouts and map that the service answers from, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galaxy_da.images.drawing import SampleCutouts
from galaxy_da.index.latent_map import LatentMap
from galaxy_da.index.manifest import Manifest
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.limits import Limits
from galaxy_da.space import LatentSpace


@dataclass(eq=False)
class Holdings:
    """Open parts that routes read; one object of a process, replaced when the index changes."""

    space: LatentSpace
    index: LatentIndex
    limits: Limits
    cutouts: SampleCutouts | None
    latent_map: LatentMap


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Files from which another process opens the same holdings."""

    space: Path
    index: Path
    state: Manifest | None
    samples: tuple[Location, ...]
    latent_map: LatentMap
    limits: Limits

    def open(self) -> Holdings:
        """Open the holdings; GalaxyDAError if a file is missing or damaged."""
        space = LatentSpace.load(self.space)
        cutouts = None
        if self.samples:
            cutouts = SampleCutouts([Sample(path) for path in self.samples], space.survey)
        if self.state is None:
            index = LatentIndex.open(self.index)
        else:  # the folder may have changed
            index = LatentIndex.reopen(self.index, self.state)
        return Holdings(space, index, self.limits, cutouts, self.latent_map)

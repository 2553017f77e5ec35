"""Where the service finds the pixels of an object: the sample tables its features came from."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

import pyarrow.compute as pc

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutout
from galaxy_da.io.tables import Sample
from galaxy_da.space import LatentSpace

__all__ = ["CutoutSource", "SampleCutouts"]


class CutoutSource(Protocol):
    """Gives the cutout of an object of the index."""

    def has(self, survey: str, object_id: str) -> bool:
        """Say whether there is one."""
        ...

    def cutout(self, survey: str, object_id: str) -> Cutout:
        """Return it.

        Raises
        ------
        CutoutError
            If there is none, or it cannot be read.
        """
        ...


class SampleCutouts:
    """Cutouts of sample tables on disk.

    Parameters
    ----------
    samples : sequence of Sample
        The first that has an object is asked for it.
    space : LatentSpace
        Says what the surveys are.
    """

    def __init__(self, samples: Sequence[Sample], space: LatentSpace) -> None:
        self._samples = tuple(samples)
        self._space = space
        self._reading = Lock()  # a Parquet file is read by one thread at a time

    def has(self, survey: str, object_id: str) -> bool:
        """Say whether a sample has the object."""
        return self._find(survey, object_id) is not None

    def cutout(self, survey: str, object_id: str) -> Cutout:
        """Read the cutout of an object.

        Raises
        ------
        CutoutError
            If no sample has it, or it cannot be read.
        """
        found = self._find(survey, object_id)
        if found is None:
            raise CutoutError(
                f"{survey}:{object_id}: is in none of the sample tables the service was started "
                "with (--sample)",
                status="no_data",
            )
        sample, number = found
        with self._reading:
            (row,) = sample.batches(1, number, number + 1)
        image = row["image"][0] if "image" in row.column_names else None
        light = row.drop_columns("image") if image is not None else row
        return read_cutout(light.to_pylist()[0], sample.folder, self._space.survey(survey), image)

    def _find(self, survey: str, object_id: str) -> tuple[Sample, int] | None:
        for sample in self._samples:
            if survey in sample.surveys:
                own = pc.and_(
                    pc.equal(sample.catalog["object_id"], object_id),
                    pc.equal(sample.catalog["survey"], survey),
                )
                number = pc.index(own, True).as_py()
                if number >= 0:
                    return sample, number
        return None

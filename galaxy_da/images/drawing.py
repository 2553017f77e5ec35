"""Draw cutouts of the objects of sample tables, as pixels or as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import pyarrow.compute as pc
import torch
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutout
from galaxy_da.images.display import to_decals_colour
from galaxy_da.images.preparation import Frame, prepare, to_surface_brightness
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import Survey, get_survey


class SampleCutouts:
    """Cutouts of sample tables on disk; the first table that has an object gives its cutout.

    `definition` returns the definition of a survey by its name.
    """

    def __init__(
        self, samples: Sequence[Sample], definition: Callable[[str], Survey] = get_survey
    ) -> None:
        self._samples = tuple(samples)
        self.paths = tuple(sample.path for sample in samples)
        self._definition = definition
        self._reading = Lock()  # a Parquet file is read by one thread at a time

    def has(self, survey: str, object_id: str) -> bool:
        """Return true if a sample has the object."""
        return self._find(survey, object_id) is not None

    def cutout(self, survey: str, object_id: str) -> Cutout:
        """Read the cutout of an object; CutoutError if there is none, or it is unreadable."""
        position = self._find(survey, object_id)
        if position is None:
            raise CutoutError(
                f"{survey}:{object_id}: is in none of the {len(self._samples)} sample tables given",
                status="no_data",
            )
        sample, number = position
        with self._reading:
            (row,) = sample.batches(1, number, number + 1)
        image = row["image"][0] if "image" in row.column_names else None
        light = row.drop_columns("image") if image is not None else row
        return read_cutout(light.to_pylist()[0], sample.folder, self._definition(survey), image)

    def pictures(
        self, keys: Sequence[tuple[str, str]], frame: Frame | None = None
    ) -> list[np.ndarray | None]:
        """Draw the cutouts of objects, (y, x, 3) uint8 each; None where there is no usable one.

        Parameters
        ----------
        keys : sequence of (str, str)
            Survey and id of each object.
        frame : Frame, optional
            Frame to draw all cutouts in, with one field of view; by default each is drawn as its
            survey took it.
        """
        return [self._picture(survey, object_id, frame) for survey, object_id in keys]

    def _picture(self, survey: str, object_id: str, frame: Frame | None) -> np.ndarray | None:
        definition = self._definition(survey)
        try:
            cutout = self.cutout(survey, object_id)
            if frame is None:
                return draw_cutout(cutout, definition, Frame())
            bands = frame.assign(definition, cutout.bands)
            return draw_prepared(cutout, definition, bands, frame)
        except CutoutError:
            return None

    def _find(self, survey: str, object_id: str) -> tuple[Sample, int] | None:
        for sample in self._samples:
            if survey in sample.surveys:
                same_id = pc.equal(sample.catalog["object_id"], object_id)
                same_survey = pc.equal(sample.catalog["survey"], survey)
                number = pc.index(pc.and_(same_id, same_survey), True).as_py()
                if number >= 0:
                    return sample, number
        return None


def draw_cutout(cutout: Cutout, survey: Survey, frame: Frame) -> np.ndarray:
    """Draw a cutout as its survey took it, (y, x, 3) uint8, north up.

    Fluxes of every survey are drawn in the colours of DECaLS.
    """
    if cutout.stretch is not None:
        return np.ascontiguousarray(np.moveaxis(cutout.pixels[:, ::-1], 0, -1))
    brightness = to_surface_brightness([cutout], survey)
    wavelengths = [survey.band(name).wavelength_nm for name in cutout.bands]
    softening = torch.tensor([frame.softening_at(nm) for nm in wavelengths])
    images = torch.asinh(torch.nan_to_num(brightness, 0, 0, 0) / softening[:, None, None])
    return np.asarray(to_decals_colour(images, survey, cutout.bands, frame)[0].numpy())


def draw_prepared(
    cutout: Cutout, survey: Survey, bands: Sequence[str | None], frame: Frame
) -> np.ndarray:
    """Draw a cutout as prepared for the network, (pixels, pixels, 3) uint8, north up."""
    images = prepare([cutout], survey, frame, bands).images
    return np.asarray(to_decals_colour(images, survey, bands, frame)[0].numpy())


def to_png(picture: np.ndarray, size: int | None = None, kind: str = "png") -> bytes:
    """Encode a picture as PNG, or as JPEG, its longer side resized to `size` pixels if given."""
    image = Image.fromarray(picture)
    if size is not None and size != max(image.size):
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()

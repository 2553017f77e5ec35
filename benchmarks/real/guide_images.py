"""Guide images of Galaxy Zoo as cutouts, with their class: smooth or featured.

The images were cut by multiples of each galaxy's Petrosian radius, which they do not give in
arcseconds. Galaxy Zoo 2 and DECaLS take 0.02 R90 per pixel of a 424-pixel frame. Here all galaxies
get the same R90, so that each fills the same share of the frame; the surface brightness, which the
stretch gives, does not depend on it.

DECaLS has Galaxy Zoo's own colours (`galaxy_da.images.galaxy_zoo_colours`). KiDS and UKIDSS have no
documented stretch and are read with that of SDSS, which is similar. Planes of UKIDSS are taken to
be K, J and Y, and its fluxes are good to a factor only.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from galaxy_da.errors import TableError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.surveys import Survey, get_survey

R90_ARCSEC = 4.0
"""Assumed Petrosian R90 of every guide galaxy [arcsec]. The whole image then fills the frame of the
shipped space, and galaxies have the sizes of those of the simulated sky."""

_R90_PER_PIXEL = 0.02  # of a 424-pixel image
_SIDE = 424

# Question numbers of the decision trees (zooniverse/Galaxy-Zoo, app/lib/*_tree.coffee) that apply
# only to galaxies with features or a disc, and the one that applies only to smooth galaxies.
_FEATURED = {
    "decals": range(1, 8),
    "kids": range(1, 8),
    "sdss": (1, 2, 3, 4, 8, 9, 10),
    "ukidss": (1, 2, 3, 4, 8, 9, 10),
}
_SMOOTH = {"decals": 8, "kids": 8, "sdss": 7, "ukidss": 7}
_GALAXY_ZOO = "galaxy-zoo"
_PLANES = {"ukidss": ("K", "J", "Y")}


@dataclass(frozen=True)
class GuideImages:
    """Distinct guide images of one survey, with their class by the decision tree.

    Attributes
    ----------
    survey : Survey
        Survey with the stretch of its images.
    cutouts : list of Cutout
        One cutout per distinct image.
    featured : (n,) bool array
        True for features or a disc, false for smooth galaxies.
    """

    survey: Survey
    cutouts: list[Cutout]
    featured: np.ndarray


def read_guide(
    path: str | os.PathLike[str], survey: str, r90_arcsec: float = R90_ARCSEC
) -> GuideImages:
    """Read the distinct images of one survey.

    The class follows from the answer to the first question, or from being an example of a question
    that applies to one class only. Images of both classes, stars and artefacts are left out.

    Parameters
    ----------
    path : path
        Parquet table with ``survey``, ``gz_question``, ``gz_answer`` and ``image`` (file bytes).
    survey : {"decals", "kids", "sdss", "ukidss"}
        Name of the survey.
    r90_arcsec : float
        Assumed Petrosian R90 [arcsec].

    Raises
    ------
    TableError
        If the file is missing.
    ValueError
        If the survey has no guide images.
    """
    if survey not in _FEATURED:
        raise ValueError(f"survey is one of {', '.join(_FEATURED)}, not {survey!r}")
    if not Path(path).is_file():
        raise TableError(f"{path}: no such table; smooth against features needs the guide images")
    definition = with_stretch(get_survey(survey))
    table = pq.read_table(path, filters=[("survey", "=", survey)])
    pixels: dict[str, np.ndarray] = {}
    votes: dict[str, set[bool]] = {}
    for row in table.select(["gz_question", "gz_answer", "image"]).to_pylist():
        vote = _vote(survey, row["gz_question"], row["gz_answer"])
        if vote is None:
            continue
        plane = read_colour(row["image"])
        key = hashlib.sha256(plane.tobytes()).hexdigest()
        pixels[key] = plane
        votes.setdefault(key, set()).add(vote)
    clear = [key for key, classes in votes.items() if len(classes) == 1]
    cutouts = [guide_cutout(pixels[key], definition, r90_arcsec) for key in clear]
    return GuideImages(definition, cutouts, np.array([True in votes[key] for key in clear], bool))


def guide_cutout(pixels: np.ndarray, survey: Survey, r90_arcsec: float = R90_ARCSEC) -> Cutout:
    """Return a guide image as a cutout, calibrated by the colours of its survey.

    Parameters
    ----------
    pixels : (y, x, 3) uint8 array
        Pixels from `read_colour`.
    survey : Survey
        Survey with a stretch (`with_stretch`).
    r90_arcsec : float
        Assumed Petrosian R90 [arcsec].
    """
    return colour_cutout(pixels, survey, _R90_PER_PIXEL * r90_arcsec * _SIDE)


def read_colour(image: bytes) -> np.ndarray:
    """Decode a JPEG or PNG file to (y, x, 3) uint8, the first row northernmost."""
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB"))


def colour_cutout(pixels: np.ndarray, survey: Survey, width_arcsec: float) -> Cutout:
    """Return a colour image, centred on a galaxy, as a cutout.

    Parameters
    ----------
    pixels : (y, x, 3) uint8 array
        Pixels from `read_colour`.
    survey : Survey
        Survey with a stretch.
    width_arcsec : float
        Width of the image [arcsec].
    """
    assert survey.stretch is not None
    height, width = pixels.shape[:2]
    return Cutout(
        pixels=np.moveaxis(pixels, -1, 0)[:, ::-1],
        bands=survey.stretch.planes,
        pixel_scale_arcsec=width_arcsec / width,
        centre_xy=((width - 1) / 2, (height - 1) / 2),
        stretch=survey.stretch,
    )


def with_stretch(survey: Survey) -> Survey:
    """Return a survey with the stretch of its guide images: its own, or else that of SDSS."""
    if _GALAXY_ZOO in survey.stretches:
        return survey.model_copy(update={"stretch": survey.stretches[_GALAXY_ZOO]})
    if survey.stretch is not None:
        return survey
    stretch = get_survey("sdss").stretch
    assert stretch is not None
    planes = _PLANES.get(survey.name, stretch.planes)
    return survey.model_copy(update={"stretch": stretch.model_copy(update={"planes": planes})})


def _vote(survey: str, question: str, answer: str) -> bool | None:
    """Return True for an example with features, False for a smooth one, None for neither."""
    number = int(question)
    if number == 0:
        return {"0": False, "1": True}.get(answer)
    if number == _SMOOTH[survey]:
        return False
    return True if number in _FEATURED[survey] else None

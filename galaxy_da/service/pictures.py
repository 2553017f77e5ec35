"""Pictures of galaxies as PNG: the cutout, what the network sees of it, what the decoder makes."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.display import to_decals_colour
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.io.features import vectors
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["all_latents", "draw_cutout", "encoder_for", "prepared", "to_png"]


def draw_cutout(cutout: Cutout, survey: Survey, space: LatentSpace) -> np.ndarray:
    """Return a cutout as it was taken, (y, x, 3) uint8, north up.

    Fluxes are shown in the colours of DECaLS, whatever their survey.
    """
    if cutout.is_colour:
        return np.ascontiguousarray(np.moveaxis(cutout.pixels[:, ::-1], 0, -1))
    brightness = to_surface_brightness([cutout], survey)
    softening = torch.tensor(
        [space.frame.softening_at(survey.band(name).wavelength_nm) for name in cutout.bands]
    )
    images = torch.asinh(torch.nan_to_num(brightness, 0, 0, 0) / softening[:, None, None])
    return np.asarray(to_decals_colour(images, survey, cutout.bands, space.frame)[0].numpy())


def prepared(cutout: Cutout, encoder: SurveyEncoder, space: LatentSpace) -> np.ndarray:
    """Return a cutout as the network sees it, (pixels, pixels, 3) uint8, north up."""
    images = encoder.prepare([cutout], space.frame).images
    colour = to_decals_colour(images, encoder.survey, encoder.bands, space.frame)
    return np.asarray(colour[0].numpy())


def all_latents(index: LatentIndex, rows: np.ndarray) -> np.ndarray:
    """Return the latents of rows, of galaxy and view, (n, latents) float32."""
    galaxy = index.vectors[rows]
    if "nuisance" not in index.rows.column_names:
        return galaxy
    return np.hstack([galaxy, vectors(index.take(rows, ["nuisance"]), "nuisance")])


def to_png(picture: np.ndarray, size: int | None = None) -> bytes:
    """Write a picture as PNG, its longer side brought to a size."""
    image = Image.fromarray(picture)
    if size is not None and size != max(image.size):
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


def encoder_for(space: LatentSpace, survey: Survey, cutout: Cutout) -> SurveyEncoder:
    """Return a survey's encoder, or the anchor's reading its bands."""
    if survey.name in space.surveys:
        return space.encoder(survey.name)
    return space.unadapted(survey, cutout.bands)

"""Prepare simulated observations as users' cutouts are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from galaxy_da.images.cutouts import Cutout
from galaxy_da.surveys import Survey


def as_cutouts(flux: Tensor, bands: Sequence[str], survey: Survey) -> list[Cutout]:
    """Return (n, bands, y, x) simulated stamps, centred on their galaxies, as cutouts."""
    middle = (flux.shape[-1] - 1) / 2
    return [
        Cutout(
            pixels=pixels,
            bands=tuple(bands),
            pixel_scale_arcsec=survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in flux.numpy()
    ]

"""Whether a space's decoder leaves the sky at zero, where the simulation knows what is sky.

``python -m benchmarks.empty_sky SPACE --galaxies 768 --seed 909`` draws a sky as the space's anchor
sees it, ``--scenes IMAGES`` from real galaxies, and once more without noise. It prints decoded less
observed beyond the galaxy's own light, over three choices of pixels:

===========  =======================================================================================
other bands  no other band shows light: all that images without truth allow, so what reports give.
             Where it turned out dark there is less light than could be expected, which a decoder
             of expectations is above
no light     the noiseless image has less than 0.5% of the noise there, in every band
all          every pixel, light of neighbours included
===========  =======================================================================================

Galaxies with an artefact are left out.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measures.reconstruction import encode_for_decoder
from benchmarks.support.tables import print_rows
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import SkySettings, sky_chunks
from galaxy_da.images.preparation import Frame
from galaxy_da.io.storage import location
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey
from training.pretraining.image_source import prepare_observation
from training.pretraining.sky_residuals import beyond_galaxy, sky_residuals

__all__ = ["empty_sky", "noiseless", "seen_twice"]

_NO_LIGHT = 0.005  # of the noise
_MEDIAN = 0.6745  # of the absolute value of a standard normal variable


def noiseless(survey: Survey) -> Survey:
    """Return a survey's twin, its images without noise."""
    bands = [band.model_copy(update={"depth_mag": 99, "depth_scatter": 0}) for band in survey.bands]
    return survey.model_copy(update={"name": f"{survey.name}-noiseless", "bands": tuple(bands)})


def seen_twice(
    survey: Survey, frame: Frame, n: int, *, seed: int, pool: ScenePool | None = None
) -> tuple[Tensor, Tensor]:
    """Draw a sky as a survey sees it, and without noise; images with an artefact are left out.

    Parameters
    ----------
    survey : Survey
    frame : Frame
        Of the images.
    n : int
        Galaxies to draw.
    seed : int
        Of the sky.
    pool : ScenePool, optional
        Real galaxies instead of parametric ones.

    Returns
    -------
    images, truth : (fewer, bands, y, x) float tensors [asinh units]
        Their PSF and position scatter each for itself.
    """
    observers = survey, noiseless(survey)
    parts = []
    settings = SkySettings(seed=seed, scenes=pool, repeat_anchor=False)
    for chunk in sky_chunks(observers, settings, n):
        spoilt = [
            [kind is not None for kind in seen.artefact] for seen in chunk.conditions.values()
        ]
        clean = ~torch.tensor(spoilt).any(0)
        parts.append(
            [prepare_observation(view, frame)[clean] for view in chunk.observations.values()]
        )
    images, truth = (torch.cat(observations) for observations in zip(*parts, strict=True))
    return images, truth


def empty_sky(space: LatentSpace, images: Tensor, truth: Tensor) -> list[dict[str, Any]]:
    """Compare decoded and observed sky over three choices of its pixels.

    Parameters
    ----------
    space : LatentSpace
    images, truth : (n, bands, y, x) float tensors
        As `seen_twice` returns them, in the space's frame.

    Returns
    -------
    list of dict
        By choice and band: ``residual`` and its standard ``error`` in units of the noise, and
        ``share`` of all pixels that were chosen.
    """
    decoded = space.decode(encode_for_decoder(space, images, "fp32").mean, precision="fp32")
    noise = (images - truth)[
        :, :, torch.from_numpy(beyond_galaxy(space.frame))
    ].abs().median() / _MEDIAN
    every = np.ones((len(images), *images.shape[2:]), bool)
    dark = (truth.abs() < _NO_LIGHT * noise).all(1).numpy()
    return [
        {
            "pixels": pixels,
            "band": sky.band,
            "residual": sky.residual,
            "error": sky.error,
            "share": sky.share,
        }
        for pixels, empty in {"other bands": None, "no light": dark, "all": every}.items()
        for sky in sky_residuals(images, decoded, space.frame, empty)
    ]


def main() -> None:
    """Print the table of `empty_sky` for a space."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space")
    parser.add_argument("--galaxies", type=int, default=768)
    parser.add_argument("--seed", type=int, default=909)
    parser.add_argument("--scenes", help="sample table of real images")
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    pool = ScenePool.open(location(given.scenes)) if given.scenes else None
    survey = space.encoder(space.anchor).survey
    images, truth = seen_twice(survey, space.frame, given.galaxies, seed=given.seed, pool=pool)
    title = f"Decoded less observed over the noise, {len(images)} galaxies, seed {given.seed}"
    print_rows(title, empty_sky(space, images, truth))


if __name__ == "__main__":
    main()

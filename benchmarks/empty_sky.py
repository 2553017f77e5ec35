"""Measure the bias of decoded sky, where the simulation knows the pixels without light.

``python -m benchmarks.empty_sky SPACE [--galaxies N] [--seed S] [--scenes IMAGES]`` simulates
images of the space's anchor, with and without noise, from parametric galaxies or real images. It
prints decoded minus observed sky outside the galaxy, for three choices of pixels:

===========  ====================================================================================
other bands  pixels where no other band shows light, the choice of reports, which have no truth.
             Pixels chosen because they look dark scatter low, so the residual is biased positive.
no light     pixels whose noiseless image has less than 0.5% of the noise in every band
all          every pixel, with the light of neighbours
===========  ====================================================================================

Images with an artefact are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measures.reconstruction import encode_for_decoder
from benchmarks.support.commands import command_parser
from benchmarks.support.observations import as_cutouts
from benchmarks.support.tables import print_rows
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import SkySettings, sky_chunks
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.storage import location
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey
from training.pretraining.sky_residuals import beyond_galaxy, sky_residuals

__all__ = ["empty_sky", "noiseless", "noisy_and_noiseless"]

_NO_LIGHT = 0.005  # of the noise
_MEDIAN = 0.6745  # of the absolute value of a standard normal deviate


def noiseless(survey: Survey) -> Survey:
    """Return the same survey with images free of noise."""
    bands = [band.model_copy(update={"depth_mag": 99, "depth_scatter": 0}) for band in survey.bands]
    return survey.model_copy(update={"name": f"{survey.name}-noiseless", "bands": tuple(bands)})


def noisy_and_noiseless(
    survey: Survey, frame: Frame, n: int, *, seed: int, pool: ScenePool | None = None
) -> tuple[Inputs, Tensor]:
    """Simulate images of a survey with and without noise, leaving out those with an artefact.

    Parameters
    ----------
    survey : Survey
    frame : Frame
        Frame of the images.
    n : int
        Number of galaxies to draw.
    seed : int
        Seed of the sky.
    pool : ScenePool, optional
        Real galaxies to draw from; parametric ones by default.

    Returns
    -------
    inputs : Inputs
        Observed images.
    truth : (fewer, bands, y, x) float tensor [asinh units]
        First grid of images without noise, whose PSF and position scatter independently.
    """
    observers = survey, noiseless(survey)
    observed, noise_free = [], []
    settings = SkySettings(seed=seed, scenes=pool, repeat_anchor=False)
    for chunk in sky_chunks(observers, settings, n):
        artefacts = (conditions.artefact for conditions in chunk.conditions.values())
        clean = torch.tensor([not any(kinds) for kinds in zip(*artefacts, strict=True)])
        own, truth = (
            prepare(
                as_cutouts(one.flux, [band.name for band in one.bands], one.survey),
                one.survey,
                frame,
                frame.bands,
            ).inputs
            for one in chunk.observations.values()
        )
        observed.append(own[clean])
        noise_free.append(truth.images[clean, : len(frame.bands)])
    return Inputs.join(observed), torch.cat(noise_free)


def empty_sky(space: LatentSpace, inputs: Inputs, truth: Tensor) -> list[dict[str, Any]]:
    """Compare decoded and observed sky over three choices of its pixels.

    Parameters
    ----------
    space : LatentSpace
    inputs, truth : Inputs and (n, bands, y, x) float tensor
        Result of `noisy_and_noiseless` in the space's frame.

    Returns
    -------
    list of dict
        By choice and band: ``residual`` and its standard ``error`` [noise], and ``share`` of the
        chosen pixels.
    """
    images = inputs.images[:, : len(space.frame.bands)]
    decoded = space.decode(encode_for_decoder(space, inputs, "fp32").mean, precision="fp32")
    noise = (images - truth)[
        :, :, torch.from_numpy(beyond_galaxy(space.frame))
    ].abs().median() / _MEDIAN
    every_pixel = np.ones((len(images), *images.shape[2:]), bool)
    dark = (truth.abs() < _NO_LIGHT * noise).all(1).numpy()
    return [
        {
            "pixels": pixels,
            "band": sky.band,
            "residual": sky.residual,
            "error": sky.error,
            "share": sky.share,
        }
        for pixels, empty in {"other bands": None, "no light": dark, "all": every_pixel}.items()
        for sky in sky_residuals(images, decoded, space.frame, empty)
    ]


def main() -> None:
    """Print the table of `empty_sky` for a space."""
    parser = command_parser("empty_sky", __doc__)
    parser.add_argument("space")
    parser.add_argument("--galaxies", type=int, default=768)
    parser.add_argument("--seed", type=int, default=909)
    parser.add_argument("--scenes", help="sample table of real images")
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    pool = ScenePool.open(location(given.scenes)) if given.scenes else None
    survey = space.encoder(space.anchor).survey
    inputs, truth = noisy_and_noiseless(
        survey, space.frame, given.galaxies, seed=given.seed, pool=pool
    )
    title = f"Decoded minus observed over the noise, {len(truth)} galaxies, seed {given.seed}"
    print_rows(title, empty_sky(space, inputs, truth))


if __name__ == "__main__":
    main()

"""A small network conditioned on the instrument, and Gaussian galaxies seen by any instrument."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import describe, image_noise, sky_noise
from galaxy_da.images.preparation import Frame
from galaxy_da.models.networks import Architecture, VariationalAutoencoder
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import Band, Survey
from training.losses import contrastive

SIDE, PIXEL = 32, 0.6
FRAME = Frame(pixels=SIDE, pixel_scale_arcsec=PIXEL)
SOFTENING = torch.tensor(FRAME.softening)[:, None, None]
SIZES = Architecture(
    pixels=SIDE, conditioned=True, widths=(16, 32, 64), features=64, latents=8, nuisance_latents=2
)
_SIGMA = 1 / math.sqrt(8 * math.log(2))  # of a Gaussian of unit FWHM


def survey_of(name, psf=(1.3, 1.2, 1.1), depth=(24.0, 23.4, 22.5), zeropoint=22.5):
    """Return a definition in the frame's bands; fluxes are counts."""
    bands = [
        Band(name=band, wavelength_nm=1.01 * wavelength, psf_fwhm_arcsec=fwhm, depth_mag=mag)
        for band, wavelength, fwhm, mag in zip(
            FRAME.bands, FRAME.wavelengths_nm, psf, depth, strict=True
        )
    ]
    return Survey(
        name=name, title=name, bands=tuple(bands), pixel_scale_arcsec=PIXEL, flux_unit="count",
        zeropoint_mag=zeropoint,
    )  # fmt: skip


ANCHOR = survey_of("anchor")


@dataclass
class Galaxies:
    """Widths along the axes [arcsec], position angles, and fluxes (n, 3) [nanomaggy]."""

    along: torch.Tensor
    across: torch.Tensor
    angle: torch.Tensor
    flux: torch.Tensor

    @classmethod
    def draw(cls, n, seed, brightest=17.5, faintest=20.5):
        """Draw galaxies of a range of r magnitudes."""
        rng = torch.Generator().manual_seed(seed)
        uniform = lambda *shape: torch.rand(*shape, generator=rng)  # noqa: E731
        mag = brightest + (faintest - brightest) * uniform(n, 1)
        colour = torch.cat([-0.3 - uniform(n, 1), torch.zeros(n, 1), 0.2 + 0.8 * uniform(n, 1)], 1)
        along = 0.5 * 4 ** uniform(n)
        ratio = 0.3 + 0.7 * uniform(n)
        flux = 10 ** (0.4 * (22.5 - mag + colour))
        return cls(along, along * ratio, math.pi * uniform(n), flux)

    def observed(self, psf, noise, seed):
        """Return (n, 3, y, x) fluxes per pixel [nanomaggy], with PSFs (3,) or (n, 3) [arcsec].

        `noise` has the shape of `psf`, in nanomaggy per arcsec^2.
        """
        rng = torch.Generator().manual_seed(seed)
        axis = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL
        x, y = axis[None, None, :], axis[None, :, None]
        cos, sin = (f(self.angle)[:, None, None] for f in (torch.cos, torch.sin))
        first, second = (x * cos + y * sin)[:, None], (y * cos - x * sin)[:, None]
        blur = (torch.as_tensor(psf).expand(len(self.along), 3) * _SIGMA).square()
        a, b = (w[:, None].square() + blur for w in (self.along, self.across))
        shape = lambda t: t[..., None, None]  # noqa: E731
        light = torch.exp(-(first.square() / shape(a) + second.square() / shape(b)) / 2)
        light = light * shape(self.flux / (2 * math.pi * (a * b).sqrt()))
        sigma = shape(torch.as_tensor(noise).expand(len(self.along), 3))
        return (light + sigma * torch.randn(light.shape, generator=rng)) * PIXEL**2


def noise_of(depth, psf):
    """Return the noise of a pixel at 5σ depths [nanomaggy / arcsec^2]."""
    return sky_noise(torch.as_tensor(depth), torch.as_tensor(psf), PIXEL)


def train_space(steps=900, batch=192, seed=0):
    """Train an encoder by contrast of the anchor's observations with those of random instruments.

    Takes about a minute.
    """
    torch.manual_seed(seed)
    model = VariationalAutoencoder(SIZES)
    network = model.encoder
    temperature = torch.nn.Parameter(torch.zeros(()))
    rates = [*network.parameters(), temperature]
    optimiser = torch.optim.AdamW(rates, lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps, pct_start=0.1)
    for step in range(steps):
        galaxies = Galaxies.draw(batch, seed=step + 1000)
        views = [_random_view(galaxies, anchor, step) for anchor in (True, False)]
        first, second = network(Inputs.join(views)).mean.chunk(2)
        loss = contrastive(first, second, temperature.exp())
        loss = loss + contrastive(first[:, :6], second[:, :6], temperature.exp())
        loss = loss + 1e-3 * first.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    encoder = SurveyEncoder(survey=ANCHOR, bands=FRAME.bands, network=network.eval())
    return LatentSpace(
        SpaceParts(
            architecture=SIZES, frame=FRAME, anchor="anchor", encoders={"anchor": encoder},
            decoder=model.decoder,
        )
    )  # fmt: skip


def _random_view(galaxies, anchor, step):
    """Observe by the anchor, or by an instrument of each galaxy's own, with its numbers."""
    n = len(galaxies.along)
    rng = torch.Generator().manual_seed(2 * step + anchor)
    psf = torch.tensor([band.psf_fwhm_arcsec for band in ANCHOR.bands]).expand(n, 3)
    depth = torch.tensor([band.depth_mag for band in ANCHOR.bands]).expand(n, 3)
    if not anchor:
        psf = 0.7 * 3.5 ** (0.7 * torch.rand(n, 1, generator=rng) + 0.3 * torch.rand(n, 3))
        depth = depth - 1.5 + 2 * torch.rand(n, 1, generator=rng)
    noise = noise_of(depth, psf)
    flux = galaxies.observed(psf, noise, 2 * step + anchor)
    images = torch.asinh(flux / PIXEL**2 / SOFTENING)
    ones = torch.ones(n)
    conditions = describe(
        psf, noise / SOFTENING[:, 0, 0], image_noise(images, ones[:, None, None].expand(n, 32, 32)),
        1 + 0.1 * (torch.rand(n, 3, generator=rng) - 0.4), PIXEL * ones, ones < 0,
    )  # fmt: skip
    return Inputs(images, conditions)


def counts(flux, zeropoint):
    """Convert nanomaggies to counts of a zeropoint."""
    return np.asarray(flux * 10 ** (0.4 * (zeropoint - 22.5)), np.float32)

"""Recipe of an anchor: the sky, the networks, the losses and the schedule."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from galaxy_da.images.preparation import Frame
from galaxy_da.models.networks import Architecture


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Layer(_Frozen):
    """Galaxies of one kind in the training sky.

    Attributes
    ----------
    share : float
        Share of the galaxies.
    magnitudes : (float, float)
        Range of r, the brightest first [AB mag].
    field_arcsec : float
        Side of the patches [arcsec]; larger ones cost more.
    scenes : bool
        Real galaxies from the scene tables instead of drawn ones.
    """

    share: float = Field(gt=0)
    magnitudes: tuple[float, float]
    field_arcsec: float = 42.0
    scenes: bool = False


class Jitter(_Frozen):
    """Calibration errors that the network must not mind, as standard deviations.

    Attributes
    ----------
    gain, colour : float
        Relative error of the flux in all bands together, and in each.
    bright : float
        Error of the logarithmic slope of bright light.
    flux_share : float
        Share of these errors in images that are not colour pictures.
    """

    gain: float = 0.15
    colour: float = 0.05
    bright: float = 0.15
    flux_share: float = 0.25


class Losses(_Frozen):
    """Weights of the losses.

    Attributes
    ----------
    aligned : float
        Contrast of all latents of two observations with one orientation.
    rotated : float
        Contrast of the galaxy latents of observations with different orientations.
    reconstruction : float
        Squared error of the decoded image over twice the squared `noise` [asinh units].
    noise : float
        Standard deviation of a pixel about the decoded image [asinh units].
    divergence : float
        Divergence of the posterior from the prior [1 / nat].
    truth : float
        Squared error of true shapes and classes by a linear map of the galaxy latents.
    instrument : float
        Dependence of the galaxy latents on the instrument.
    """

    aligned: float = 1.0
    rotated: float = 1.0
    reconstruction: float = 0.3
    noise: float = Field(default=0.2, gt=0)
    divergence: float = 3e-4
    truth: float = 0.5
    instrument: float = 1.0


class Schedule(_Frozen):
    """AdamW with linear warm-up and cosine decay.

    Attributes
    ----------
    steps, batch, warmup_steps : int
        Steps, galaxies per step, and steps up to the full rate.
    learning_rate, weight_decay : float
        Parameters of AdamW.
    hard_share : float
        Share of batches of galaxies of similar magnitude, which are harder to tell apart.
    decoded : int
        Galaxies of a batch that are also decoded.
    """

    steps: int = Field(gt=0)
    batch: int = Field(default=512, gt=1)
    warmup_steps: int = 200
    learning_rate: float = Field(default=1.5e-3, gt=0)
    weight_decay: float = 1e-2
    hard_share: float = 0.5
    decoded: int = 64


class AnchorRecipe(_Frozen):
    """Settings of an anchor for every instrument.

    Attributes
    ----------
    name, survey : str
        Name for the record, and the anchor survey.
    seed : int
        Seed of the sky, the initial weights and the batches.
    galaxies : int
        Number of galaxies of the training sky.
    layers : tuple of Layer
        Kinds of galaxies.
    frame, architecture, jitter, losses, schedule
        See their classes.
    """

    name: str
    survey: str = "decals"
    seed: int = 1
    galaxies: int = Field(gt=0)
    layers: tuple[Layer, ...] = Field(min_length=1)
    frame: Frame = Frame(wide_pixel_scale_arcsec=2.096)
    architecture: Architecture = Architecture(
        grids=2, conditioned=True, latents=40, nuisance_latents=12
    )
    jitter: Jitter = Jitter()
    losses: Losses = Losses()
    schedule: Schedule

    @model_validator(mode="after")
    def _parts_fit(self) -> AnchorRecipe:
        a, frame = self.architecture, self.frame
        if (a.pixels, a.bands, a.grids) != (frame.pixels, len(frame.bands), 2):
            raise ValueError("architecture and frame must have the same pixels, bands and 2 grids")
        return self

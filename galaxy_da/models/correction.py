"""Correct what a survey's definition says of its instrument, as an encoder's first layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import PER_BAND, PER_CUTOUT


class InstrumentCorrection(nn.Module):
    """Change of an instrument's calibration, sky level and conditions; at first there is none.

    Attributes
    ----------
    log_gain : (bands,) parameter
        Logarithm of the factor on the flux of each band.
    sky : (bands,) parameter
        Level that is subtracted afterwards, over the frame's softening.
    conditions : (conditions,) parameter
        Change of the numbers of `galaxy_da.images.instrument.describe`.
    """

    def __init__(self, bands: int, grids: int, conditions: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(bands))
        self.sky = nn.Parameter(torch.zeros(bands))
        self.conditions = nn.Parameter(torch.zeros(conditions))
        self._grids = grids

    def forward(self, inputs: Inputs) -> Inputs:
        """Return corrected inputs; pixels without data stay zero."""
        images, bands = inputs.images, len(self.sky) * self._grids
        with torch.autocast(images.device.type, enabled=False):
            light = images[:, :bands].float()
            gain, sky = (
                part.repeat(self._grids)[:, None, None] for part in (self.log_gain.exp(), self.sky)
            )
            grown = light.clamp(-20, 20).exp()  # exp and log are far faster than sinh and asinh
            flux = (grown - 1 / grown) / 2 * gain - sky
            size = (flux.square() + 1).sqrt() + flux.abs()
            corrected = torch.where(light == 0, light, torch.copysign(size.log(), flux))
        conditions = inputs.conditions
        if len(self.conditions):  # the network is conditioned
            present = conditions[:, : len(self.sky) * PER_BAND : PER_BAND] > 0
            known = functional.pad(present.repeat_interleave(PER_BAND, 1), (0, PER_CUTOUT), value=1)
            conditions = conditions + self.conditions * known
        return Inputs(torch.cat([corrected.to(images), images[:, bands:]], 1), conditions)

    def magnitudes(self) -> Tensor:
        """Return the (bands,) corrections of the zeropoints [mag]; positive makes fluxes larger."""
        result: Tensor = self.log_gain.detach() * 2.5 / 2.302585
        return result

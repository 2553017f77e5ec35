"""Prepare cutouts of any survey as one batch in the anchor's frame.

Survey flux → nanomaggies → surface brightness → the frame's pixels on the sky → asinh. The steps
are the same for every survey and file type; their constants are in the `Frame`, which a latent
space saves and checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.quality import Coverage, problem, quality_flags
from galaxy_da.images.resampling import resample
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.surveys import Survey

__all__ = ["Frame", "Prepared", "pick_bands", "prepare", "to_surface_brightness"]

_SUBSTITUTE_BEYOND = 0.1
"""Relative difference in wavelength from the frame's band that makes a band a substitute."""

_MAX_ZEROS = 0.02
"""Share of exactly zero fluxes above which a stamp counts as not fully covered."""


class Frame(BaseModel):
    """Image format of the anchor network.

    Attributes
    ----------
    pixels : int
        Side of the square image.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec].
    bands : tuple of str
        The anchor survey's bands, in order.
    wavelengths_nm : tuple of float
        Effective wavelengths of the bands [nm].
    softening : tuple of float
        Surface brightness where asinh turns from linear to logarithmic
        [nanomaggy / arcsec^2].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixels: int = Field(default=64, gt=0)
    pixel_scale_arcsec: float = Field(default=0.524, gt=0)
    bands: tuple[str, ...] = ("g", "r", "z")
    wavelengths_nm: tuple[float, ...] = (481.0, 642.0, 925.0)
    softening: tuple[float, ...] = (0.07, 0.1, 0.25)

    @property
    def field_of_view_arcsec(self) -> float:
        """Side of the frame [arcsec]."""
        return self.pixels * self.pixel_scale_arcsec

    def softening_at(self, wavelength_nm: float) -> float:
        """Return the softening interpolated to a wavelength [nanomaggy / arcsec^2]."""
        log = np.interp(wavelength_nm, self.wavelengths_nm, np.log(self.softening))
        return float(np.exp(log))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch of images in the frame.

    Attributes
    ----------
    images : (n, bands, pixels, pixels) float32 tensor
        asinh of surface brightness over softening; zero in pixels without data.
    flags : (n,) int32 array
        `galaxy_da.io.samples.Flag` bits.
    problems : list of (str, str) or None
        Row status and message of each cutout that must not be used.
    """

    images: Tensor
    flags: np.ndarray
    problems: list[tuple[str, str] | None]


def pick_bands(survey: Survey, available: Sequence[str], frame: Frame) -> tuple[str, ...]:
    """Choose the survey's band nearest in wavelength to each band of the frame.

    Only `available` bands are chosen; they repeat where the survey has fewer than the frame.
    """
    among = tuple(available)
    return tuple(survey.nearest_band(nm, among).name for nm in frame.wavelengths_nm)


def prepare(
    cutouts: Sequence[Cutout],
    survey: Survey,
    frame: Frame,
    bands: Sequence[str],
    device: torch.device | str = "cpu",
) -> Prepared:
    """Bring cutouts of one survey into the frame.

    Parameters
    ----------
    cutouts : sequence of Cutout
        Any mix of shapes and pixel scales.
    survey : Survey
        Survey of the cutouts.
    frame : Frame
        The anchor's frame.
    bands : sequence of str
        The survey's bands to keep, in the order of the encoder.
    device : torch device
        Device of the result.

    Returns
    -------
    Prepared
        In the order of `cutouts`, whose arrays are not modified.

    Raises
    ------
    SurveyError
        If `bands` names a band the survey lacks.
    """
    softening = torch.tensor(
        [frame.softening_at(survey.band(name).wavelength_nm) for name in bands], device=device
    )
    images = torch.zeros(len(cutouts), len(bands), frame.pixels, frame.pixels, device=device)
    flags = np.zeros(len(cutouts), np.int32)
    problems: list[tuple[str, str] | None] = [None] * len(cutouts)
    for members in _stackable(cutouts):
        group = [cutouts[i] for i in members]
        lacking = [name for name in bands if name not in group[0].bands]
        if lacking:
            message = f"band {lacking[0]!r} is missing; it has {', '.join(group[0].bands)}"
            for i in members:
                problems[i] = ("failed_quality", message)
            continue
        planes = [group[0].bands.index(name) for name in bands]
        brightness = to_surface_brightness(group, survey, device)
        if planes != list(range(brightness.shape[1])):
            brightness = brightness[:, planes]
        placed, coverage = _place(brightness, group, frame)
        images[members] = _asinh(placed / softening[:, None, None])
        flags[members] = quality_flags(group, coverage, _substitutes(survey, bands, frame))
        for i, missing, blank in zip(members, coverage.missing, coverage.blank, strict=True):
            problems[i] = problem(missing, blank, bands)
    return Prepared(images=images, flags=flags, problems=problems)


def to_surface_brightness(
    cutouts: Sequence[Cutout], survey: Survey, device: torch.device | str = "cpu"
) -> Tensor:
    """Convert cutouts of one shape and kind (flux or colour) to AB surface brightness.

    Returns
    -------
    (n, bands, y, x) float32 tensor [nanomaggy / arcsec^2]
    """
    stacked = torch.from_numpy(np.stack([cutout.pixels for cutout in cutouts])).to(device)
    stretch = cutouts[0].stretch
    if stretch is not None:
        brightness = invert_stretch(stacked, stretch) / stretch.pixel_scale_arcsec**2
        for image, cutout in zip(brightness, cutouts, strict=True):
            if cutout.missing is not None:
                image[:, torch.from_numpy(cutout.missing.copy()).to(device)] = torch.nan
        return brightness
    scales = [survey.flux_pixel_scale_arcsec or cutout.pixel_scale_arcsec for cutout in cutouts]
    per_area = survey.nanomaggy_per_unit / torch.tensor(scales, device=device) ** 2
    return stacked.float() * per_area[:, None, None, None]


def _asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine to 3e-7, ten times faster on CPUs than `torch.asinh`."""
    size = x.square().add_(1).sqrt_().add_(x.abs())
    return torch.copysign(size.log_(), x)


def _stackable(cutouts: Sequence[Cutout]) -> list[list[int]]:
    """Group row numbers by shape, bands and kind."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        key = (cutout.pixels.shape, cutout.bands, cutout.stretch)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _place(brightness: Tensor, group: Sequence[Cutout], frame: Frame) -> tuple[Tensor, Coverage]:
    """Resample onto the frame."""
    ratio = torch.tensor([frame.pixel_scale_arcsec / c.pixel_scale_arcsec for c in group])
    x, y = torch.tensor([c.centre_xy for c in group]).T
    if bool((ratio == ratio[0]).all() & (x == x[0]).all() & (y == y[0]).all()):
        ratio, x, y = ratio[:1], x[:1], y[:1]
    placed = resample(brightness, frame.pixels, ratio, (x, y))
    covers = _covers(brightness.shape[-2:], frame.pixels * ratio, x, y)
    partial = ~covers.expand(len(group)).numpy()
    missing = np.zeros(len(group))
    # One pixel that is not finite spoils its row and column of the matrix product.
    spoiled = (~torch.isfinite(placed)).flatten(1).any(1).nonzero().flatten()
    if len(spoiled):
        where = spoiled.cpu() if len(ratio) > 1 else torch.zeros(1, dtype=torch.long)
        placed[spoiled], lost = _place_finite(
            brightness[spoiled], frame.pixels, ratio[where], (x[where], y[where])
        )
        missing[spoiled.cpu().numpy()] = lost.cpu().numpy()
    if group[0].stretch is None:
        zeros = (placed == 0).float().mean((2, 3)).amax(1).cpu().numpy()
        partial = partial | (zeros > _MAX_ZEROS)
    return placed, Coverage(missing=missing, partial=partial, blank=_blank_bands(placed))


def _place_finite(
    brightness: Tensor, pixels: int, ratio: Tensor, centre_xy: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Average the finite pixels alone; also return the share of the frame without data."""
    finite = torch.isfinite(brightness)
    covered = resample(torch.ones_like(brightness), pixels, ratio, centre_xy)
    weight = resample(finite.float(), pixels, ratio, centre_xy)
    placed = resample(torch.where(finite, brightness, 0.0), pixels, ratio, centre_xy)
    mended = placed * torch.where(weight > 0, covered / weight.clamp_min(1e-6), 0.0)
    return mended, (covered - weight).clamp_min(0).amax(1).mean((1, 2))


def _covers(shape: Sequence[int], field_px: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Test if a stamp covers the whole field of view, to a hundredth of a pixel."""
    low, slack = field_px / 2 - 0.5, 0.01
    height, width = shape
    return (
        (x - low >= -slack)
        & (x + low <= width - 1 + slack)
        & (y - low >= -slack)
        & (y + low <= height - 1 + slack)
    )


def _blank_bands(placed: Tensor) -> np.ndarray:
    """Find bands that are constant in the middle of the frame, as unobserved bands are."""
    quarter = placed.shape[-1] // 4
    middle = placed[..., quarter:-quarter, quarter:-quarter]
    low, high = middle.amin((2, 3)), middle.amax((2, 3))
    return (high - low <= 1e-6 * high.abs()).cpu().numpy()


def _substitutes(survey: Survey, bands: Sequence[str], frame: Frame) -> bool:
    have = np.array([survey.band(name).wavelength_nm for name in bands])
    want = np.array(frame.wavelengths_nm)
    nearest = np.abs(have[None] / want[:, None] - 1).min(1)
    return bool((nearest > _SUBSTITUTE_BEYOND).any())

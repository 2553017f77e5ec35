"""Prepare cutouts of any survey as one batch in the anchor's frame.

Survey flux → nanomaggies → surface brightness → the frame's pixels on the sky → asinh. The steps
are the same for every survey and file type; their constants are in the `Frame`, which a latent
space saves and checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.hyperbolic import asinh
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import describe, linear_noise, sky_noise
from galaxy_da.images.quality import Coverage, problem, quality_flags
from galaxy_da.images.resampling import covered_share, resample, white_noise_share
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.surveys import Band, Survey

_SUBSTITUTE_BEYOND = 0.1
"""Relative difference in wavelength from the frame's band that makes a band a substitute."""

_MAX_ZEROS = 0.02
"""Share of exactly zero fluxes above which a stamp counts as not fully covered."""

_COVERED = 0.5
"""Share of a pixel that must have data; the pixel then holds the mean of that share."""

_ROUNDING = 1e-5
"""Share of a pixel up to which lost data are rounding."""


class Frame(BaseModel):
    """Image format of the anchor network.

    Attributes
    ----------
    pixels : int
        Side of the square image.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec].
    wide_pixel_scale_arcsec : float, optional
        Side of a pixel of a second grid about the same centre [arcsec], for large galaxies.
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
    wide_pixel_scale_arcsec: float | None = Field(default=None, gt=0)
    bands: tuple[str, ...] = ("g", "r", "z")
    wavelengths_nm: tuple[float, ...] = (481.0, 642.0, 925.0)
    softening: tuple[float, ...] = (0.07, 0.1, 0.25)

    @property
    def scales_arcsec(self) -> tuple[float, ...]:
        """Pixel of each grid [arcsec]."""
        wide = self.wide_pixel_scale_arcsec
        return (self.pixel_scale_arcsec, *([] if wide is None else [wide]))

    @property
    def planes(self) -> int:
        """Planes of a prepared image.

        They are the bands of each grid, and, with two grids, the coverage of each: 1 where there
        are data.
        """
        grids = len(self.scales_arcsec)
        return grids * len(self.bands) + (grids if grids > 1 else 0)

    @property
    def field_of_view_arcsec(self) -> float:
        """Side of the frame's first grid [arcsec]."""
        return self.pixels * self.pixel_scale_arcsec

    def softening_at(self, wavelength_nm: float) -> float:
        """Return the softening interpolated to a wavelength [nanomaggy / arcsec^2]."""
        log = np.interp(wavelength_nm, self.wavelengths_nm, np.log(self.softening))
        return float(np.exp(log))

    def assign(self, survey: Survey, available: Sequence[str]) -> tuple[str | None, ...]:
        """Choose a band of a survey for each band of the frame, or None where none is left.

        No band is used twice. The sum of the squared distances in log wavelength is the least.
        """
        have = np.log([survey.band(name).wavelength_nm for name in available])
        distance = (np.log(self.wavelengths_nm)[:, None] - have) ** 2
        chosen: list[str | None] = [None] * len(self.bands)
        for plane, band in zip(*linear_sum_assignment(distance), strict=True):
            chosen[plane] = available[int(band)]
        return tuple(chosen)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch of images in the frame.

    Attributes
    ----------
    inputs : Inputs
        Images, (n, planes, pixels, pixels) float32: asinh of surface brightness over softening,
        zero in pixels without data; and the conditions of their instruments.
    flags : (n,) int32 array
        `galaxy_da.io.samples.Flag` bits.
    problems : list of (str, str) or None
        Row status and message of each cutout that must not be used.
    """

    inputs: Inputs
    flags: np.ndarray
    problems: list[tuple[str, str] | None]

    @property
    def images(self) -> Tensor:
        """The images of `inputs`."""
        return self.inputs.images


def prepare(
    cutouts: Sequence[Cutout],
    survey: Survey,
    frame: Frame,
    bands: Sequence[str | None],
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
    bands : sequence of str or None
        The survey's band for each band of the frame; None for a missing one.
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
    names = [name for name in bands if name is not None]
    known = [survey.band(name) for name in names]
    filled = torch.tensor([plane for plane, name in enumerate(bands) if name is not None])
    softening = torch.tensor([frame.softening_at(b.wavelength_nm) for b in known], device=device)
    n, side = len(cutouts), frame.pixels
    images = torch.zeros(n, frame.planes, side, side, device=device)
    measured = torch.zeros(n, len(names), device=device)
    flags = np.zeros(n, np.int32)
    problems: list[tuple[str, str] | None] = [None] * n
    for members in _stackable(cutouts):
        group = [cutouts[i] for i in members]
        lacking = [name for name in names if name not in group[0].bands]
        if lacking:
            message = f"band {lacking[0]!r} is missing; it has {', '.join(group[0].bands)}"
            for i in members:
                problems[i] = ("failed_quality", message)
            continue
        planes = [group[0].bands.index(name) for name in names]
        brightness = to_surface_brightness(group, survey, device)
        if len(planes) < brightness.shape[1]:
            brightness, planes = brightness[:, planes], list(range(len(planes)))
        rows = torch.tensor(members)
        for number, scale in enumerate(frame.scales_arcsec):
            grid = _place(brightness, planes, group, frame.pixels, scale)
            at, (y, x) = number * len(bands) + filled, grid.window
            relative = grid.brightness / softening[:, None, None]
            images[rows[:, None], at, y, x] = asinh(relative[..., y, x])
            if len(frame.scales_arcsec) > 1:
                covers = len(frame.scales_arcsec) * len(bands) + number
                images[rows, covers] = grid.covered
            if number == 0:
                measured[members] = linear_noise(relative, grid.covered)
                coverage = _coverage(grid, group)
                substituted = _substitutes(survey, bands, frame)
                flags[members] = quality_flags(group, coverage, substituted)
                for i, missing, blank in zip(
                    members, coverage.missing, coverage.blank, strict=True
                ):
                    problems[i] = problem(missing, blank, names)
    conditions = _conditions(cutouts, survey, frame, bands, measured.cpu())
    return Prepared(inputs=Inputs(images, conditions.to(device)), flags=flags, problems=problems)


def _conditions(
    cutouts: Sequence[Cutout],
    survey: Survey,
    frame: Frame,
    bands: Sequence[str | None],
    measured: Tensor,
) -> Tensor:
    """Describe the instrument of each cutout: by the survey's definition, table, file and image.

    `measured` is the `linear_noise` of each band of `bands` that is not None.
    """
    n = len(cutouts)
    fwhm = torch.full((n, len(bands)), torch.nan)
    depth_noise, noise, ratio = torch.ones(3, n, len(bands))
    median = survey.r_like.psf_fwhm_arcsec
    blur = torch.tensor([(cutout.psf_fwhm_arcsec or median) / median for cutout in cutouts])
    filled = [(plane, survey.band(name)) for plane, name in enumerate(bands) if name is not None]
    for number, (plane, band) in enumerate(filled):
        softening = frame.softening_at(band.wavelength_nm)
        fwhm[:, plane] = blur * band.psf_fwhm_arcsec
        # The depth is that of the survey's median PSF: seeing does not change the sky.
        depth, width = torch.tensor(band.depth_mag), torch.tensor(band.psf_fwhm_arcsec)
        depth_noise[:, plane] = sky_noise(depth, width, frame.pixel_scale_arcsec) / softening
        stated = _stated_noise(cutouts, survey, band, frame) / softening
        noise[:, plane] = torch.where(torch.isfinite(stated), stated, measured[:, number])
        ratio[:, plane] = band.wavelength_nm / frame.wavelengths_nm[plane]
    scales = torch.tensor([cutout.pixel_scale_arcsec for cutout in cutouts], dtype=torch.float32)
    picture = torch.tensor([cutout.stretch is not None for cutout in cutouts], dtype=torch.bool)
    return describe(fwhm, depth_noise, noise, ratio, scales, picture)


def _stated_noise(cutouts: Sequence[Cutout], survey: Survey, band: Band, frame: Frame) -> Tensor:
    """Return the noise that files state, as `image_noise` shows it; NaN where they do not.

    It is (n,) in nanomaggy / arcsec^2, for pixels of independent noise.
    """
    stated = torch.full((len(cutouts),), torch.nan)
    for i, cutout in enumerate(cutouts):
        if cutout.noise is not None and band.name in cutout.bands:
            sigma = cutout.noise[cutout.bands.index(band.name)] * survey.nanomaggy_per_unit
            scale = cutout.pixel_scale_arcsec
            per_area = sigma / (survey.flux_pixel_scale_arcsec or scale) ** 2
            ratio = frame.pixel_scale_arcsec / scale
            stated[i] = per_area * white_noise_share(frame.pixels, ratio, cutout.centre_xy)
    return stated


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
        brightness = invert_stretch(stacked, stretch).div_(stretch.pixel_scale_arcsec**2)
        for i, cutout in enumerate(cutouts):
            if cutout.missing is not None:
                brightness[i, :, torch.from_numpy(cutout.missing.copy()).to(device)] = torch.nan
        return brightness
    scales = [survey.flux_pixel_scale_arcsec or cutout.pixel_scale_arcsec for cutout in cutouts]
    per_area = survey.nanomaggy_per_unit / torch.tensor(scales, device=device) ** 2
    return stacked.float() * per_area[:, None, None, None]


def _stackable(cutouts: Sequence[Cutout]) -> list[list[int]]:
    """Group row numbers by shape, bands and kind."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, cutout in enumerate(cutouts):
        key = (cutout.pixels.shape, cutout.bands, cutout.stretch)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


class _Grid(NamedTuple):
    """Cutouts on one grid.

    `brightness` is (n, bands, y, x), zero where `covered`, (n, y, x), is 0; `window` are the rows
    and columns that any cutout reaches; `missing`, (n,), is the share without finite pixels, and
    `partial`, (n,), is True for a cutout that does not reach all of the grid.
    """

    brightness: Tensor
    covered: Tensor
    window: tuple[slice, slice]
    missing: np.ndarray
    partial: np.ndarray


def _place(
    brightness: Tensor, planes: list[int], group: Sequence[Cutout], pixels: int, scale: float
) -> _Grid:
    """Resample some planes onto a grid; a pixel holds the mean of its part with data."""
    ratio = torch.tensor([scale / c.pixel_scale_arcsec for c in group])
    x, y = torch.tensor([c.centre_xy for c in group]).T
    if bool((ratio == ratio[0]).all() & (x == x[0]).all() & (y == y[0]).all()):
        ratio, x, y = ratio[:1], x[:1], y[:1]
    placed = resample(brightness, pixels, ratio, (x, y))
    partial = ~_covers(brightness.shape[-2:], pixels * ratio, x, y).expand(len(group)).numpy()
    missing = np.zeros(len(group))
    inside = covered_share(brightness.shape[-2:], pixels, ratio, (x, y)).to(placed)
    weight = inside
    # One pixel that is not finite spoils those that it overlaps, and their neighbours.
    spoiled = (~torch.isfinite(placed.flatten(1).sum(1))).nonzero().flatten()
    if len(spoiled):
        where = spoiled.cpu() if len(ratio) > 1 else torch.zeros(1, dtype=torch.long)
        centre = (x[where], y[where])
        finite = torch.isfinite(brightness[spoiled])
        known = resample(finite.float(), pixels, ratio[where], centre)
        light = torch.where(finite, brightness[spoiled], 0.0)
        placed[spoiled] = resample(light, pixels, ratio[where], centre)
        lost = (inside[where.to(inside.device)] - known).amax(1)
        lost = torch.where(lost > _ROUNDING, lost, 0.0).mean((1, 2))
        missing[spoiled.cpu().numpy()] = lost.cpu().numpy()
        weight = inside.expand(len(group), *placed.shape[1:]).clone()
        weight[spoiled] = known
    covered = weight >= _COVERED
    placed.mul_(torch.where(covered, 1 / weight, 0.0))
    if planes != sorted(planes):  # few pixels are left to be put in order
        placed = placed[:, planes]
    return _Grid(
        brightness=placed,
        covered=covered.all(1).float().expand(len(group), -1, -1),
        window=_window(inside),
        missing=missing,
        partial=partial,
    )


def _window(share: Tensor) -> tuple[slice, slice]:
    """Return the rows and columns in which any (n, 1, y, x) share is positive."""
    spans = []
    for axis in (2, 3):
        used = share.amax(tuple({0, 1, 2, 3} - {axis})).nonzero().flatten()
        spans.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0))
    return spans[0], spans[1]


def _coverage(grid: _Grid, group: Sequence[Cutout]) -> Coverage:
    partial = grid.partial
    if group[0].stretch is None:
        zeros = (grid.brightness == 0).float().mean((2, 3)).amax(1).cpu().numpy()
        partial = partial | (zeros > _MAX_ZEROS)
    return Coverage(missing=grid.missing, partial=partial, blank=_blank_bands(grid.brightness))


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


def _substitutes(survey: Survey, bands: Sequence[str | None], frame: Frame) -> bool:
    """Test if a band of the frame is missing or far from the one that stands in for it."""
    have = [np.nan if name is None else survey.band(name).wavelength_nm for name in bands]
    distance = np.abs(np.array(have) / frame.wavelengths_nm - 1)
    return not bool((distance <= _SUBSTITUTE_BEYOND).all())

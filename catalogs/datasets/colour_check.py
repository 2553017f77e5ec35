"""Check the order of bands by the colours of the galaxies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from galaxy_da.images.cutouts import Cutout
from galaxy_da.surveys import Survey

_PER_OCTAVE = (
    (411, 0.0, 7.0), (545, 0.0, 3.9), (770, -0.4, 3.3), (946, -0.5, 3.0), (1131, -0.7, 2.5),
    (1436, -0.7, 2.5), (1880, -1.6, 2.2),
)  # fmt: skip
"""Middle wavelength [nm], and smallest and largest plausible median colour [AB mag per octave].

The ranges hold the 16th to 84th percentiles of 151 galaxies with r < 22 in u, g, r, i, Z, Y, J, H
and Ks of KiDS and VIKING (1.6 to 4.8 at 411 nm, 1.5 to 3.4 at 545, 0.3 to 2.0 around 770, 0.5 to
1.6 at 946, 0 to 0.8 at 1131, 0.3 to 1.2 at 1436, 0.1 to 0.9 at 1880), widened so that SDSS
galaxies of either colour (Strateva et al. 2001, AJ 122, 1861) are inside.
"""

_TOLERANCE_MAG = 0.1  # error of zeropoints and of apertures at different seeing [mag]
_APERTURE_ARCSEC = 1.5
_SMALLEST_APERTURE_PX = 3.0
_SIGNAL_TO_NOISE = 5.0
_MOST_BANDS_PERMUTED = 5


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Median colour of galaxies in two neighbouring bands, and the plausible range [AB mag]."""

    median: float
    low: float
    high: float
    galaxies: int

    @property
    def is_plausible(self) -> bool:
        """Test if the median lies in the range."""
        return self.low <= self.median <= self.high


@dataclass(frozen=True, kw_only=True)
class ColourCheck:
    """Colours of galaxies, and the orders of their planes that would explain them."""

    bands: tuple[str, ...]  # in the order given
    colours: dict[str, Colour]  # by name, such as g-r; empty if no galaxy is bright enough
    better: list[tuple[str, ...]]  # plausible orders if the given one is not, the reversed first

    @property
    def is_plausible(self) -> bool:
        """Test if every colour lies in its range."""
        return all(colour.is_plausible for colour in self.colours.values())


def plausible_range(blue_nm: float, red_nm: float) -> tuple[float, float]:
    """Return the smallest and largest plausible median colour of galaxies between two bands [mag].

    The range per octave of wavelength is interpolated at the geometric mean of the wavelengths.
    """
    octaves, at = np.log2(red_nm / blue_nm), np.sqrt(blue_nm * red_nm)
    middle, *limits = np.transpose(_PER_OCTAVE)
    low, high = (float(np.interp(at, middle, limit) * octaves) for limit in limits)
    return low - _TOLERANCE_MAG, high + _TOLERANCE_MAG


def check_colours(cutouts: Sequence[Cutout], survey: Survey) -> ColourCheck:
    """Compare median colours at the centres of cutouts of the same bands with those of galaxies.

    Where a colour is implausible, other orders of the planes are tried: all of up to five bands,
    else the reversed one. Orders of the planes of a picture are not tried: its stretch makes
    galaxies nearly grey, so that channels in another order look plausible too.
    """
    bands = cutouts[0].bands
    given = tuple(range(len(bands)))
    magnitudes = _magnitudes(cutouts, survey)
    colours = _colours(magnitudes, bands, survey)
    check = ColourCheck(bands=bands, colours=colours, better=[])
    if check.is_plausible or cutouts[0].stretch is not None:
        return check
    orders = [given[::-1]]
    if len(bands) <= _MOST_BANDS_PERMUTED:
        orders += [p for p in permutations(given) if p not in (given, given[::-1])]
    for order in orders:
        tried = _colours(magnitudes[:, list(order)], bands, survey)
        if tried and all(colour.is_plausible for colour in tried.values()):
            planes = sorted(given, key=lambda plane: order[plane])
            check.better.append(tuple(bands[plane] for plane in planes))
    return check


def _colours(magnitudes: np.ndarray, bands: Sequence[str], survey: Survey) -> dict[str, Colour]:
    nm = [survey.band(band).wavelength_nm for band in bands]
    colours = {}
    for blue, red in pairwise(np.argsort(nm)):
        values = magnitudes[:, blue] - magnitudes[:, red]
        values = values[np.isfinite(values)]
        if len(values) and nm[blue] < nm[red]:
            low, high = plausible_range(nm[blue], nm[red])
            colours[f"{bands[blue]}-{bands[red]}"] = Colour(
                median=float(np.median(values)), low=low, high=high, galaxies=len(values)
            )
    return colours


def _magnitudes(cutouts: Sequence[Cutout], survey: Survey) -> np.ndarray:
    """Return the (cutouts, planes) AB magnitudes, but for a constant, in an aperture."""
    from galaxy_da.images.preparation import to_surface_brightness

    rows = []
    for cutout in cutouts:
        planes = to_surface_brightness([cutout], survey)[0].numpy().astype(float)
        if cutout.stretch is not None:
            planes[:, (cutout.pixels == 255).any(0)] = np.nan
        y, x = np.indices(planes.shape[1:])
        radius = np.hypot(x - cutout.centre_xy[0], y - cutout.centre_xy[1])
        aperture = max(_APERTURE_ARCSEC / cutout.pixel_scale_arcsec, _SMALLEST_APERTURE_PX)
        inside = (radius <= aperture) & np.isfinite(planes).all(0)
        around = planes[:, (radius > max(0.8 * radius.max() / np.sqrt(2), 2 * aperture))]
        rows.append(_aperture(planes[:, inside], around))
    return np.array(rows)


def _aperture(inside: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Return magnitudes above the background of planes, NaN below five sigma."""
    if not inside.size or not np.isfinite(around).any(1).all():
        return np.full(len(inside), np.nan)
    sky = np.nanmedian(around, axis=1)
    sigma = 1.4826 * np.nanmedian(np.abs(around - sky[:, None]), axis=1)
    flux = (inside - sky[:, None]).sum(1)
    is_seen = flux > np.maximum(_SIGNAL_TO_NOISE * sigma * np.sqrt(inside.shape[1]), 0)
    return np.where(is_seen, -2.5 * np.log10(np.where(is_seen, flux, 1)), np.nan)

"""Find bad pixels and the noise in mask, weight and noise planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.images.hdu_roles import NOISE_KINDS, Kind

if TYPE_CHECKING:
    from astropy.io.fits import Header

_BAD_PLANES = ("BAD", "CR", "NO_DATA", "SAT", "UNMASKEDNAN")
"""Mask planes of the LSST and HSC pipelines, in ``MP_`` cards, whose pixels hold no usable flux.
Others, such as DETECTED, mark the galaxy itself."""

_BAD_MASKBITS = sum(1 << bit for bit in (2, 3, 4, 5, 6, 7, 14, 15))
"""Legacy Surveys ``maskbits``: saturated, or masked in every exposure, in g, r, z or i
(legacysurvey.org, "bitmasks")."""


def bad_pixels(planes: np.ndarray, kind: Kind, header: Header) -> np.ndarray:
    """Return a mask of the pixels without usable flux, (planes, y, x) bool.

    A mask without named planes marks every pixel that is not zero. A weight marks pixels of zero or
    negative weight, a noise plane those of no finite, positive noise.
    """
    if kind in ("mask", "maskbits"):
        bits = _BAD_MASKBITS
        if kind == "mask":
            named = [header.get(f"MP_{name}") for name in _BAD_PLANES]
            bits = sum(1 << int(bit) for bit in named if bit is not None)
            if not any(card.startswith("MP_") for card in header):
                return np.asarray(planes != 0)
        finite = np.isfinite(planes)
        values = np.where(finite, planes, 0).astype(np.int64)
        return np.asarray(~finite | ((values & bits) != 0))
    return ~np.asarray((planes > 0) & np.isfinite(planes))


def noise_of(planes: np.ndarray, kind: Kind) -> np.ndarray | None:
    """Return the median noise of each plane, None if the kind states none."""
    if kind not in NOISE_KINDS:
        return None
    good = np.where((planes > 0) & np.isfinite(planes), planes, np.nan)
    medians = np.array(
        [np.nanmedian(plane) if np.isfinite(plane).any() else np.nan for plane in good]
    )
    if kind == "inverse variance":
        return np.asarray(medians**-0.5, np.float32)
    return np.asarray(np.sqrt(medians) if kind == "variance" else medians, np.float32)

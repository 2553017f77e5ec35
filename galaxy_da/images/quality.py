"""Judge prepared cutouts: quality flags, and problems that make one unusable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Flag

_MAX_MISSING = 0.3
"""Share of the field of view that may lack finite pixels before a cutout fails."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Coverage of the frame by a batch of cutouts."""

    missing: np.ndarray
    """(n,) float: share of the field of view without finite pixels."""
    partial: np.ndarray
    """(n,) bool: the stamp does not cover the whole field of view."""
    blank: np.ndarray
    """(n, bands) bool: the band is constant, as an unobserved band is."""


def quality_flags(cutouts: Sequence[Cutout], coverage: Coverage, substituted: bool) -> np.ndarray:
    """Return the `galaxy_da.io.samples.Flag` bits of cutouts of one kind, (n,) int32."""
    flags = np.where(coverage.missing > 0, Flag.NAN_PIXELS, 0)
    flags |= np.where(coverage.partial, Flag.PARTIAL_COVERAGE, 0)
    flags |= np.where(coverage.blank.any(1), Flag.BLANK_BAND, 0)
    if cutouts[0].stretch is not None:
        saturated = np.array([bool((cutout.pixels == 255).any()) for cutout in cutouts])
        flags |= np.where(saturated, Flag.SATURATED, 0)
    flags |= np.where([cutout.photometric for cutout in cutouts], 0, Flag.NOT_PHOTOMETRIC)
    if substituted:
        flags |= int(Flag.SUBSTITUTED_BAND)
    return flags.astype(np.int32)


def problem(missing: float, blank: np.ndarray, bands: Sequence[str]) -> tuple[str, str] | None:
    """Return row status and message if a cutout must not be used, by the fields of `Coverage`."""
    if blank.all():
        return "no_data", "every band is blank (constant or not finite)"
    if blank.any():
        dark = ", ".join(sorted({bands[int(i)] for i in np.flatnonzero(blank)}))
        return "failed_quality", f"band {dark} is blank (constant or not finite)"
    if missing > _MAX_MISSING:
        return "failed_quality", f"{missing:.0%} of the field of view has no finite pixel"
    return None

"""HEALPix pixels, nested, as HATS partitions the sky into them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from galaxy_da.io.hats.libraries import using_lsdb

SKY_ORDER = 29
"""HEALPix order of the index that HATS sorts rows by."""


class Pixel(NamedTuple):
    """A HEALPix pixel, nested."""

    order: int
    number: int

    @property
    def first(self) -> int:
        """First pixel of order 29 inside; pixels sorted by it are in order of the sky."""
        return self.number << 2 * (SKY_ORDER - self.order)


def sky_index(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the pixel of order 29 of each position [ICRS deg], (n,) int64."""
    with using_lsdb():
        from hats.pixel_math import compute_spatial_index

        return np.asarray(compute_spatial_index(ra, dec), np.int64)


def at_order(index: np.ndarray, order: int) -> np.ndarray:
    """Return the pixels of a lower order that hold pixels of order 29."""
    return np.asarray(index >> 2 * (SKY_ORDER - order))


def margin_order(width_arcsec: float) -> int:
    """Return the highest order whose pixels are at least as wide as a margin."""
    with using_lsdb():
        from hats.pixel_math.healpix_shim import margin2order

        return int(margin2order(np.array([width_arcsec / 60]))[0])


def is_around(index: np.ndarray, pixel: Pixel, width_arcsec: float) -> np.ndarray:
    """Mark positions, pixels of order 29, in a ring around a pixel at least as wide as given."""
    with using_lsdb():
        from hats.pixel_math import get_margin

        order = margin_order(width_arcsec)
        if order <= pixel.order:  # the margin is as wide as the pixel
            return np.ones(len(index), dtype=bool)
        ring = get_margin(pixel.order, pixel.number, order - pixel.order)
        return np.isin(at_order(index, order), ring, kind="sort")

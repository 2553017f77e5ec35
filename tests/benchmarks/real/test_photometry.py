"""Magnitudes by latents beside aperture photometry of real images."""

import numpy as np

from benchmarks.real.photometry import compare
from galaxy_da.space import LatentSpace


def test_real_bright_galaxies_have_about_their_magnitude(data):
    rows = compare(data / "decals_fits", LatentSpace.load("decals"))
    assert len(rows) == 10
    inside = [row["difference"] for row in rows if row["pixel_arcsec"] < 0.5]
    assert len(inside) == 9 and np.abs(inside).max() < 0.6 and abs(np.median(inside)) < 0.3

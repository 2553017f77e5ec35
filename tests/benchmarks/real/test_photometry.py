"""Magnitudes by latents beside aperture photometry of real images."""

import numpy as np

from benchmarks.real.photometry import compare
from galaxy_da.space import LatentSpace


def test_real_bright_galaxies_have_about_their_magnitude(data):
    rows = compare(data, LatentSpace.load("decals"))
    assert len(rows) == 30
    measured, inferred, error = (
        np.array([row[name] for row in rows])
        for name in ("measured - peer", "inferred - peer", "stated error")
    )
    assert np.mean(np.abs(measured) < 0.15) > 0.8 and abs(np.median(measured)) < 0.05
    assert (np.abs(inferred) < 3 * error).all() and abs(np.median(inferred)) < 0.2

"""Images of round galaxies in a folder, and their catalogue."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_da.images.cutouts import read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey

N = 6
SIDE, SCALE = 64, 0.262
IDS = [f"J{i}0954+012{i}" for i in range(N)]
RA, DEC = 150 + 0.01 * np.arange(N), 2 - 0.02 * np.arange(N)
FLUX = {"g": 50.0, "r": 100.0, "i": 140.0, "z": 180.0}  # g-r 0.75, r-z 0.64
DECALS = ("g", "r", "z")


def planes(bands=DECALS, seed=0):
    """Return a round galaxy of 1 arcsec with noise, in nanomaggies."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    shape = np.exp(-0.5 * (x**2 + y**2) * (SCALE / 1.0) ** 2)
    noise = np.random.default_rng(seed).normal(0, 0.01, (len(bands), SIDE, SIDE))
    flux = np.array([FLUX[band] for band in bands])
    return (flux[:, None, None] * shape / shape.sum() + noise).astype(np.float32)


def header(i=None, bands=None, **cards):
    made = fits.Header()
    if i is not None:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = RA[i], DEC[i]
        wcs.wcs.crpix = (SIDE + 1) / 2, (SIDE + 1) / 2
        wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
        made = wcs.to_header()
    if bands is not None:
        made["BANDS"] = "".join(bands)
    made.update(cards)
    return made


def write(path, pixels, head=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, head).writeto(path)
    return path


def read_back(out):
    """Return the catalogue and cutouts of a sample, in its order."""
    sample = Sample(out)
    (batch,) = sample.batches(1000)
    survey = get_survey(sample.survey)
    return sample.catalog, read_cutouts(batch, sample.folder, survey)


def assert_right(out, bands=DECALS):
    """Check that each row has the image of its own galaxy: the seed of the noise is its number."""
    catalog, cutouts = read_back(out)
    for row, cutout in zip(catalog.to_pylist(), cutouts, strict=True):
        i = IDS.index(row["object_id"])
        assert (row["ra"], row["dec"]) == pytest.approx((RA[i], DEC[i]))
        assert cutout.bands == tuple(bands)
        np.testing.assert_allclose(cutout.pixels, planes(bands, seed=i), rtol=1e-6)
    return catalog

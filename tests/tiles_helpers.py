"""Two overlapping tiles of drawn galaxies, and a catalogue of positions on them."""

from functools import cache

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import get_survey

SCALE, SIDE = 0.262, 400
SIZE = 40.0


def tile_wcs(number):
    """Tiles of 105 arcsec side by side that overlap by a fifth."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150 + 0.8 * number * SIDE * SCALE / 3600, 2.0
    wcs.wcs.crpix = (SIDE + 1) / 2, (SIDE + 1) / 2
    wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
    return wcs


@cache
def tile_pixels(number, band):
    rng = np.random.default_rng([number, ord(band)])
    y, x = np.mgrid[:SIDE, :SIDE]
    image = rng.normal(0, 0.02, (SIDE, SIDE))
    for cx, cy, flux in zip(
        *rng.uniform(20, SIDE - 20, (2, 40)), rng.uniform(1, 9, 40), strict=True
    ):
        image += flux * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 30)
    return image.astype(np.float32)


def write_tiles(folder):
    """Write the tiles, and return the pattern of their names."""
    for number in range(2):
        for band in "grz":
            hdu = fits.PrimaryHDU(tile_pixels(number, band), tile_wcs(number).to_header())
            hdu.writeto(folder / f"brick-{number}-image-{band}.fits")
    return str(folder / "brick-*-image-{band}.fits")


def catalogue(n=40, seed=0):
    rng = np.random.default_rng(seed)
    wide = SIDE * SCALE / 3600
    ra, dec = 150 + rng.uniform(-0.48, 1.28, n) * wide, 2 + rng.uniform(-0.48, 0.48, n) * wide
    ids = [f"g{i}" for i in range(n)]
    return pa.table({"object_id": ids, "ra": ra, "dec": dec, "mag": np.arange(n)})


def mosaic_of(files, survey="decals", **options):
    return Mosaic(files=files, survey=get_survey(survey), side_arcsec=SIZE, **options)

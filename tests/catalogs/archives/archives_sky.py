"""One galaxy in a known sky, and checks of cutouts of it.

The galaxy is a round Gaussian of FLUX_NMGY at (RA, DEC). All fluxes and pixels here are made with
numpy and astropy.wcs alone.
"""

import io

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_cutout
from galaxy_da.surveys import get_survey

RA, DEC = 150.1, 2.2
OUTSIDE = (151.7, 2.2)
SIGMA_ARCSEC = 1.5
FLUX_NMGY = {"u": 10, "g": 20, "r": 40, "i": 50, "z": 60, "y": 65, "Y": 65, "VIS": 45}
EXPOSURE_S = {"g": 860.0, "r": 700.0, "i": 1860.0, "z": 600.0, "y": 400.0}


def observed(ra, dec):
    return np.hypot((ra - RA) * np.cos(np.radians(DEC)), dec - DEC) < 0.2


def tan_wcs(ra, dec, scale, width, height):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    return wcs


def sky(wcs, width, height, band):
    """(height, width) flux of the galaxy per pixel [nMgy]."""
    y, x = np.mgrid[:height, :width]
    x0, y0 = wcs.world_to_pixel_values(RA, DEC)
    scale = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
    sigma = SIGMA_ARCSEC / scale
    shape = np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    return FLUX_NMGY[band] * shape


def fits_bytes(pixels, wcs, in_extension=False, **cards):
    header = wcs.to_header()
    header.update(cards)
    if in_extension:
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels.astype("f4"), header)])
        for name in ("FLUXMAG0",):
            if name in header:
                hdus[0].header[name] = header[name]
                del hdus[1].header[name]
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(pixels.astype("f4"), header)])
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def fault_of(source, http, ra=RA, dec=DEC):
    """Return the status of the `CutoutError` that a fetch raises."""
    try:
        source.fetch(ra, dec, http)
    except CutoutError as error:
        return error.status
    raise AssertionError("the reply was taken for an image")


def read_back(data, survey, tmp_path, suffix=".fits", scale=None):
    """Read a cutout as an extraction would."""
    (tmp_path / f"cutout{suffix}").write_bytes(data)
    row = {"ra": RA, "dec": DEC, "cutout": f"cutout{suffix}", "pixel_scale_arcsec": scale}
    return read_cutout(row, tmp_path, get_survey(survey))


def assert_galaxy(cutout, survey, rtol=2e-3):
    """Compare every band's flux [nMgy] and the galaxy's position with the truth."""
    definition = get_survey(survey)
    flux = cutout.pixels.astype(float) * definition.nanomaggy_per_unit
    expected = [FLUX_NMGY[band] for band in cutout.bands]
    np.testing.assert_allclose(np.nansum(flux, axis=(1, 2)), expected, rtol=rtol)
    y, x = np.mgrid[: flux.shape[1], : flux.shape[2]]
    for plane in flux:
        centre = np.nansum(plane * x) / np.nansum(plane), np.nansum(plane * y) / np.nansum(plane)
        np.testing.assert_allclose(centre, cutout.centre_xy, atol=0.05)

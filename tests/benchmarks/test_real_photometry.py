"""Measurements on prepared images of real galaxies, against photutils."""

import numpy as np
from conftest import make_space

from benchmarks.real.photometry import peer_photometry, real_stamps
from galaxy_da.images.measurements import measure
from galaxy_da.images.preparation import to_surface_brightness


def test_magnitudes_and_sizes_of_kids_and_sdss_galaxies(data):
    space = make_space(grids=2, conditioned=True)
    magnitudes, sizes = [], []
    for _, survey, cutout in real_stamps(data):
        if survey.name == "decals":
            continue
        encoder = space.by_definition(survey, cutout.bands)
        inputs = encoder.prepare([cutout], space.frame).inputs
        found = measure(inputs, space.frame)
        light = to_surface_brightness([cutout], survey)[0, 0].numpy()
        peer = peer_photometry(light, cutout.pixel_scale_arcsec)
        flux = found.petrosian_flux[0, encoder.bands.index("r")]
        magnitudes.append(22.5 - 2.5 * np.log10(flux) - peer.mag)
        sizes.append(np.log(found.half_light_arcsec[0] / peer.half_light_arcsec))
    assert len(magnitudes) == 20
    assert (np.abs(magnitudes) < 0.15).mean() >= 0.95
    assert (np.abs(sizes) < 0.15).mean() >= 0.9

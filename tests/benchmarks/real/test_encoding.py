import numpy as np
import pytest
from conftest import blobs

from benchmarks.real.encoding import cropped, encode, reach_arcsec
from galaxy_da.errors import CatalogError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.surveys import get_survey


def stamp(side, centre_xy, bands=("g", "r", "z"), scale=0.5):
    pixels = np.arange(len(bands) * side**2, dtype=np.float32).reshape(-1, side, side)
    return Cutout(pixels=pixels, bands=bands, pixel_scale_arcsec=scale, centre_xy=centre_xy)


def test_a_crop_keeps_the_galaxy_at_its_centre():
    whole = stamp(41, (22.0, 17.0))
    part = cropped(whole, 10.5)
    assert part.pixels.shape == (3, 21, 21)
    x, y = (round(at) for at in part.centre_xy)
    assert (part.pixels[:, y, x] == whole.pixels[:, 17, 22]).all()
    assert reach_arcsec(part) == pytest.approx(10.5 / 2, abs=0.5)


def test_a_crop_wider_than_the_stamp_changes_nothing():
    whole = stamp(20, (9.5, 9.5))
    same = cropped(whole, 99.0)
    assert np.array_equal(same.pixels, whole.pixels) and same.centre_xy == whole.centre_xy


def test_any_survey_is_read_by_its_definition(space):
    hsc = get_survey("hsc")
    pixels = blobs(3, 200, hsc.pixel_scale_arcsec, bands=2) / hsc.nanomaggy_per_unit
    middle = (99.5, 99.5)
    cutouts = [
        Cutout(pixels=p, bands=("i", "r"), pixel_scale_arcsec=0.168, centre_xy=middle)
        for p in pixels.astype(np.float32)
    ]
    found = encode(space, hsc, cutouts)
    assert found.mean.shape == (3, 6) and found.usable.all()
    assert set(found.encoder.bands) == {None, "r", "i"}
    with pytest.raises(CatalogError, match="hsc: there is no cutout"):
        encode(space, hsc, [])

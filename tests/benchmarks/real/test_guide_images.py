import numpy as np
import pytest

from benchmarks.real.guide_images import read_guide
from galaxy_da.errors import TableError


def test_guide_images_are_distinct_and_labelled(data):
    guide = read_guide(data / "galaxy_zoo_guide.parquet", "sdss")
    keys = {cutout.pixels.tobytes() for cutout in guide.cutouts}
    assert len(keys) == len(guide.cutouts) == len(guide.featured)
    assert 0 < guide.featured.mean() < 1
    widths = [c.pixel_scale_arcsec * c.pixels.shape[2] for c in guide.cutouts]
    np.testing.assert_allclose(widths, 424 * 0.02 * 4.0)


def test_unknown_guide_surveys_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="survey is one of decals, kids, sdss"):
        read_guide(tmp_path / "x.parquet", "hsc")
    with pytest.raises(TableError, match="needs the guide images"):
        read_guide(tmp_path / "x.parquet", "sdss")

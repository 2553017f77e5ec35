import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.real.across_surveys import across_surveys, main
from catalogs.simulation.writing import simulate
from galaxy_da.errors import TableError
from galaxy_da.surveys import get_survey


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    out = tmp_path_factory.mktemp("sky")
    simulate([get_survey("decals"), get_survey("hsc")], 20, out, progress=False)
    return out


def test_columns_are_galaxies_and_rows_are_surveys(sky, tmp_path, monkeypatch):
    out = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", ["x", str(sky), "decals", "hsc", "--out", str(out)])
    main()
    picture = np.asarray(Image.open(out)).astype(float)
    assert picture.shape == (2 * 66 - 2, 8 * 66 - 2, 3)
    first, second = (
        np.stack([picture[66 * row :, 66 * k :][:64, :64].mean(-1).ravel() for k in range(8)])
        for row in (0, 1)
    )
    correlation = np.corrcoef(first, second)[:8, 8:]
    assert (correlation.argmax(1)[:4] == np.arange(4)).all()  # the others are faint
    middle = first.reshape(8, 64, 64)[:, 26:38, 26:38].mean((1, 2))
    assert middle[:4].mean() > middle[4:].mean()  # from bright to faint


def test_surveys_that_did_not_observe_the_sky_are_named(sky):
    with pytest.raises(TableError, match="was not observed by sdss; simulate it with --surveys"):
        across_surveys(sky, ["decals", "sdss"])

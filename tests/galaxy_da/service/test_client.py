"""The Python client against the library, over loopback."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import pair_table
from numpy.testing import assert_allclose
from service_helpers import N

from galaxy_da.client import Client, ServiceError
from galaxy_da.index import Subset

KEY = "decals:decals-0003"


@pytest.fixture
def sky(url):
    with Client(url) as client:
        yield client


@pytest.fixture
def fits_stamp(workspace, tmp_path):
    """A FITS file of the eighth SDSS galaxy."""
    pixels = np.load(workspace.folder / "sdss" / "cutouts.npy")[7]
    fits.PrimaryHDU(pixels, fits.Header({"BANDS": "g,r,z"})).writeto(tmp_path / "stamp.fits")
    return tmp_path / "stamp.fits"


def same_objects(table, expected):
    assert list(table["object_id"]) == expected["object_id"].to_pylist()
    assert str(table["ra"].unit) == "deg"


def test_object_has_the_columns_of_the_index(sky, workspace):
    found = sky.object(KEY)
    row = workspace.index.take(np.array([workspace.index.row(KEY)]), ["ra", "kind"]).to_pylist()[0]
    assert (found["ra"], found["columns"]["kind"]) == (row["ra"], row["kind"])
    assert sky.info()["index"]["objects"] == 3 * N
    with pytest.raises(ServiceError, match="no object 'decals:nobody'"):
        sky.object("decals:nobody")


def test_similar_to_image_finds_the_galaxy_of_the_image(sky, workspace, fits_stamp):
    found = sky.similar_to_image(fits_stamp, "sdss", k=3, in_survey="sdss")
    latents = sky.encode(fits_stamp, "sdss")["latents"]
    expected = workspace.index.similar(
        np.array(latents[: workspace.space.galaxy_latents]), 3, "sdss"
    )
    same_objects(found, expected)
    assert found["object_id"][0] == "sdss-0007"


def test_queries_return_what_the_library_returns(sky, workspace, tmp_path):
    index = workspace.index
    row = index.take(np.array([30]), ["ra", "dec"]).to_pylist()[0]
    where, cone = ["magnitude > 17"], (150.2, 2.0, 900.0)
    found = sky.similar(KEY, dislike=["sdss:sdss-0001"], k=4, where=where, cone=cone)
    expected = index.similar(
        KEY, 4, dislike=["sdss:sdss-0001"], within=Subset(where=where, cone=cone)
    )
    same_objects(found, expected)
    nearest = index.at_position(row["ra"], row["dec"])
    same_objects(sky.similar_to_position(**row, k=4), index.similar(nearest, 4))
    same_objects(sky.same(KEY, 2.0), index.same(KEY, 2.0, space=workspace.space))
    same_objects(sky.outliers("sdss", 5), index.outliers("sdss", 5))
    same_objects(sky.duplicates("hsc", arcsec=900), index.duplicates("hsc", arcsec=900))
    scores = {"survey": ["sdss"] * 2, "object_id": ["sdss-0003", "sdss-0004"], "score": [5.0, 0.0]}
    ranked = sky.rank({"sdss:sdss-0003": 5, "sdss:sdss-0004": 0}, k=6, survey="sdss")
    same_objects(ranked, index.rank(pa.table(scores), "sdss").slice(0, 6))
    assert len(sky.cone(150.2, 2.0, 180)) == 3 * N
    pairs = pair_table(["decals-0001", "decals-0002"], ["sdss-0001", "sdss-0002"])
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    found = sky.distances(tmp_path / "pairs.parquet", "decals", "sdss")
    expected = index.distances(pairs, anchor="decals", target="sdss")
    assert_allclose(found["distance"], expected["distance"].to_numpy())

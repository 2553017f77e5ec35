"""A sample table, and its features of one run."""

import pytest
from conftest import blobs, make_space, write_sample

from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.samples import Sample

N = 120


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample table with two rows that cannot be used."""
    images = blobs(N, 64, 0.55)
    images[7] = 0
    status = ["ok"] * N
    status[11] = "fetch_failed"
    return write_sample(tmp_path_factory.mktemp("decals"), images, status=status, votes=[*range(N)])


@pytest.fixture(scope="module")
def local(sample):
    return extract(make_space(), Sample(sample), settings=ExtractSettings(precision="fp32")).table

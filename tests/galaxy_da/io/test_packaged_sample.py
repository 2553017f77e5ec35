"""The sample of real galaxies in the package."""

import io
import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.real.packaged_sample import packaged_sample
from benchmarks.real.training_scenes import unseen
from galaxy_da import Sample, load_sample
from galaxy_da.errors import TableError


def test_a_sample_is_opened_by_its_name():
    assert load_sample("sdss-stamps").catalog == Sample("sdss-stamps").catalog


def test_an_unknown_name_is_refused_with_those_known():
    with pytest.raises(TableError, match=r"no such sample.*holds sdss-stamps"):
        load_sample("sdss")


def test_the_sample_is_small_and_credited():
    sample = load_sample("sdss-stamps")
    assert sample.path.stat().st_size < 3e6
    metadata = json.loads(pq.read_metadata(sample.path).metadata[b"galaxy_da"])
    assert "York et al. 2000" in metadata["credit"]
    assert "public domain" in metadata["licence"]
    assert set(metadata["collections"]) == set(sample.catalog["collection"].to_pylist())


def test_every_image_is_a_square_colour_picture():
    (table,) = load_sample("sdss-stamps").batches(10_000)
    for image, collection in zip(table["image"], table["collection"].to_pylist(), strict=True):
        with Image.open(io.BytesIO(image.as_py())) as picture:
            side = {"dr12-spirals": 120, "galaxy-zoo-1": 212}[collection]
            assert (picture.mode, picture.size) == ("RGB", (side, side))


def test_positions_are_measured_or_left_out():
    (table,) = load_sample("sdss-stamps").batches(10_000)
    measured = np.array(table["collection"].to_pylist()) == "dr12-spirals"
    np.testing.assert_array_equal(table["position_known"], measured)
    np.testing.assert_array_equal(table["dec"].is_valid(), measured)
    assert pc.min(table["dec"]).as_py() > -20  # where SDSS looked


def test_no_galaxy_was_used_in_training():
    assert unseen(load_sample("sdss-stamps").catalog["object_id"].to_pylist()).all()


def test_the_command_writes_the_table_in_the_package(data):
    (table,) = load_sample("sdss-stamps").batches(10_000)
    assert packaged_sample(data).equals(table)
    assert pc.count_distinct(table["image"]).as_py() == len(table)

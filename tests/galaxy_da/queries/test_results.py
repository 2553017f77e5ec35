"""Results of queries, and the objects they come from, show themselves."""

import html
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from conftest import blobs, make_space, write_sample
from query_helpers import build, cloud, pair_table

from galaxy_da import LatentIndex, Sample, extract, load_sample
from galaxy_da.errors import LatentIndexError
from galaxy_da.queries.outliers import outliers
from galaxy_da.queries.similar import similar


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def sample(folder):
    return Sample(write_sample(folder, blobs(14, 140, 0.262)))


@pytest.fixture(scope="module")
def features(sample):
    return extract(make_space(), sample)


@pytest.fixture
def index(features, sample):
    return LatentIndex.build([features]).with_images(sample)


def pictures(text):
    return re.findall(r"<img src='data:image/(\w+);base64,[^']+' alt='([^']*)'", text)


def test_a_result_is_the_table_of_its_query():
    index = build(decals=cloud(20))
    found, expected = index.similar("decals:0-3", 5), similar(index, "decals:0-3", 5)
    assert found == expected and found.table == expected
    assert (len(found), found.num_rows, found.column_names) == (5, 5, expected.column_names)
    assert found["object_id"].to_pylist() == expected["object_id"].to_pylist()
    assert pa.table(found) == expected
    assert found.to_pandas().equals(expected.to_pandas())
    assert index.outliers("decals", 4) == outliers(index, "decals", 4)
    assert index.similar.__doc__ == similar.__doc__


def test_columns_are_completed_and_unknown_names_refused():
    found = build(decals=cloud(20)).similar("decals:0-3", 5)
    assert found._ipython_key_completions_() == found.column_names
    assert {"plot", "to_astropy", "to_pandas", "num_rows"} <= set(dir(found))
    with pytest.raises(AttributeError, match="nothing"):
        _ = found.nothing
    assert pickle.loads(pickle.dumps(found)) == found


def test_an_astropy_table_has_units():
    index = build(decals=cloud(20), sdss=cloud(20, seed=1))
    table = index.distances(pair_table([("0-1", "1-1")]), anchor="decals", target="sdss")
    assert table.to_astropy()["separation_arcsec"].unit == u.arcsec
    assert index.similar("decals:0-3").to_astropy()["ra"].unit == u.deg


def test_a_result_shows_one_picture_a_galaxy_with_its_distance(index):
    found = index.similar(index.key(0), 5)
    text = found._repr_html_()
    ids = found["object_id"].to_pylist()
    assert pictures(text) == [("jpeg", f"decals {name}") for name in ids]
    for distance in found["distance"].to_pylist():
        assert f"distance {distance:.3g}" in text
    assert "deg" in text
    size = found.plot(columns=3).get_size_inches()
    assert np.allclose(size, (3 * 1.25, 2 * (1.25 + 2 * 0.17)), atol=0.35)


def test_without_images_a_table_is_shown_and_a_plot_refused(features):
    found = LatentIndex.build([features]).similar(_first(features), 3)
    assert "<img" not in found._repr_html_()
    assert "<th>distance" in found._repr_html_()
    with pytest.raises(LatentIndexError, match=r"index\.with_images\(sample"):
        found.plot()


def _first(features):
    return f"decals:{features.table['object_id'][0]}"


def test_rows_of_pairs_are_not_drawn():
    index = build(decals=cloud(20), sdss=cloud(20, seed=1)).with_images(load_sample("sdss-stamps"))
    pairs = pair_table([("0-1", "1-1")])
    with pytest.raises(LatentIndexError, match="no survey and object_id but anchor_id"):
        index.distances(pairs, anchor="decals", target="sdss").plot()


def test_a_galaxy_outside_the_samples_has_no_image():
    index = build(sdss=cloud(20)).with_images(load_sample("sdss-stamps"))
    text = index.similar("sdss:0-1", 2)._repr_html_()
    assert text.count("no image") == 2


def test_objects_print_what_they_hold(index, features, sample):
    assert repr(index) == "<LatentIndex of 14 objects: decals 14; 6 latents>".replace(
        "6 latents", f"{index.dimension} latents"
    )
    assert repr(features) == "<Features of 14 cutouts, 14 usable: decals by definition>"
    assert repr(sample) == f"<Sample of 14 cutouts of decals: {sample.path.name}>"
    assert "surveys decals; " in repr(make_space())
    assert index.key(0) in index._repr_html_()
    assert "reconstruction_error" in features._repr_html_()
    assert features.to_astropy()["ra"].unit == u.deg
    assert html.escape(sample.path.name) in sample._repr_html_()
    assert "anchor" in make_space()._repr_html_()


def test_a_sample_of_pictures_shows_them():
    shown = pictures(load_sample("sdss-stamps")._repr_html_())
    assert len(shown) == 8
    assert {kind for kind, _ in shown} == {"jpeg"}


def test_text_is_escaped(tmp_path):
    rows = {"<b>": [0.0, 1.0], "x": [1.0, 0.0], "y": [1.0, 1.0]}
    index = build(decals=rows).with_images(load_sample("sdss-stamps"))
    text = index.similar("decals:x", 2)._repr_html_()
    assert "<b>" not in text and "&lt;b&gt;" in text

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import SPACE, data_file, make, random_vectors
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.errors import CatalogError, LatentIndexError
from galaxy_da.index import reading
from galaxy_da.io.features import Features
from galaxy_da.io.files import file_hash
from galaxy_da.latent_index import LatentIndex

# small integers make many exact ties and duplicates; offsets make distances hard for float32
_clouds = st.tuples(
    st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([0, 0, 100])
)


@given(_clouds, st.integers(1, 40), st.sampled_from([None, "a", "b"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_search_matches_brute_force(cloud, k, survey, whole_numbers):
    n, d, seed, offset = cloud
    rng = np.random.default_rng(seed)
    scale, digits = (3, 0) if whole_numbers else (1, 7)
    points = (rng.normal(scale=scale, size=(2 * n, d)).round(digits) + offset).astype(np.float32)
    queries = (rng.normal(scale=scale, size=(4, d)).round(digits) + offset).astype(np.float32)
    index = LatentIndex.build([make("a", list(points[:n])), make("b", list(points[n:]))])

    distances, rows = index.search(queries, k, survey)

    truth = np.linalg.norm(queries[:, None].astype(float) - index.vectors[:][None], axis=-1)
    allowed = np.flatnonzero([survey in (None, name) for name in index.rows["survey"].to_pylist()])
    expected = np.sort(truth[:, allowed], axis=1)[:, :k]
    assert distances.dtype == np.float32
    assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
    assert_allclose(distances, np.take_along_axis(truth, rows, 1), rtol=1e-5, atol=1e-6)
    assert np.isin(rows, allowed).all()
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    tied = np.diff(distances, axis=1) == 0
    assert (np.diff(rows, axis=1)[tied] > 0).all()


def test_batches_do_not_change_the_answer(index, monkeypatch):
    queries = random_vectors(17, seed=3)
    whole = index.search(queries, 4, "sdss")
    monkeypatch.setattr(reading, "_BATCH_VALUES", 24)
    for part, full in zip(index.search(queries, 4, "sdss"), whole, strict=True):
        assert_array_equal(part, full)


def test_near_duplicates_far_from_the_origin_keep_their_distance():
    """FAISS expands the square in large searches, which here costs it 0.05 and more."""
    points = random_vectors(6000, d=40) + 10
    distances, rows = LatentIndex.build([make("a", list(points))]).search(points[::-1], 1)
    assert_array_equal(distances, 0)
    assert len(set(rows[:, 0].tolist())) == len(points)


def test_search_of_no_vectors(index):
    distances, rows = index.search(np.empty((0, 3)), 2)
    assert distances.shape == rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "k", "message"),
    [
        (np.zeros((1, 3)), 0, "k must be at least 1 but is 0"),
        (np.zeros((2, 4)), 1, r"\(n, 3\) but have \(2, 4\)"),
        (np.zeros(3), 1, r"\(n, 3\) but have \(3,\)"),
        (np.array([[0, np.nan, 0]]), 1, "finite"),
        (np.array([[0, 1e30, 0]]), 1, "finite"),
        (np.array([[0, 1e300, 0]]), 1, "finite"),
    ],
)
def test_search_refuses(index, vectors, k, message):
    with pytest.raises(ValueError, match=message):
        index.search(vectors, k)


def test_search_refuses_an_absent_survey(index):
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index; it has decals, sdss"):
        index.search(np.zeros((1, 3)), 1, "hsc")


def test_build_keeps_rows_with_embedding_and_their_columns():
    one = make("sdss", [[1, 2], None, [3, 4]], redshift=pa.array([0.1, 0.2, 0.3]))
    other = make("decals", [[5, 6]], bar=pa.array(["yes"]))
    index = LatentIndex.build([one, other])
    assert index.surveys == ("decals", "sdss")
    assert index.encoders == {"sdss": "e", "decals": "e"}
    assert len(index) == 3
    assert_array_equal(index.vectors, [[5, 6], [1, 2], [3, 4]])
    rows = index.rows.to_pydict()
    assert rows["object_id"] == ["id 0", "id 0", "id 2"]
    assert rows["redshift"] == [None, 0.1, 0.3]
    assert rows["bar"] == ["yes", None, None]
    assert rows["flags"] == [0, 0, 2]
    assert rows["variance"] == [[5, 6], [1, 2], [3, 4]]
    assert not {"status", "message", "embedding"} & set(rows)


def test_build_order_does_not_matter(tmp_path):
    parts = [make("b", list(random_vectors(4))), make("a", list(random_vectors(3, seed=1)))]
    for folder, order in (("one", parts), ("two", parts[::-1])):
        LatentIndex.build(order).save(tmp_path / folder)
    for kind in ("rows", "vectors"):
        assert file_hash(data_file(tmp_path / "one", kind)) == file_hash(
            data_file(tmp_path / "two", kind)
        )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "nothing to index: no features"),
        ([make("a", [])], "nothing to index: none of the 0 rows"),
        ([make("a", [None, None])], "nothing to index: none of the 2 rows"),
        (
            [make("a", [[1, 2]]), make("b", [[1, 2]], space_id="f" * 64)],
            "space 5bace0000000 and of space ffffffffffff",
        ),
        (
            [make("a", [[1, 2]]), make("a", [[1, 2]], ids=["x"], encoder="other")],
            "a: some features come from encoder e and some from other",
        ),
        ([make("a", [[1, 2]]), make("b", [[1, 2, 3]])], "widths 2, 3"),
        ([make("a", [[1, 2]]), make("a", [[3, 4]])], "a:id 0"),
        ([make("a", [[1, 2], [1, np.nan]])], "a:id 1: embedding is not finite"),
        ([make("a", [[1, 2], [1, np.inf]])], "a:id 1: embedding is not finite"),
        ([make("a", [[1, 2], [1, 1e25]])], "a:id 1: embedding is not finite"),
        ([make("a:b", [[1, 2]])], "'a:b': a survey name cannot contain ':'"),
        ([make("a", [[1, 2]], ids=[None])], "1 rows have no object_id"),
        (
            [make("a", [[1, 2]], z=pa.array([1])), make("b", [[1, 2]], z=pa.array(["x"]))],
            "features disagree about a column.* z",
        ),
        ([make("a", [[1, 2]], embedding=pa.array([[1.0, 2.0]]))], "float32 but is list<"),
    ],
)
def test_build_refuses(features, message):
    with pytest.raises(LatentIndexError, match=message):
        LatentIndex.build(features)


def test_build_refuses_features_without_a_column():
    whole = make("a", [[1, 2]])
    part = Features(table=whole.table.drop_columns("ra"), space_id=SPACE, encoders={})
    with pytest.raises(LatentIndexError, match="lack column 'ra'"):
        LatentIndex.build([part])


def test_build_refuses_a_row_without_position():
    with pytest.raises(CatalogError, match="dec of row 0 is nan"):
        LatentIndex.build([make("a", [[1, 2]], dec=[None])])


_ids = st.lists(st.text(max_size=6), min_size=1, max_size=8, unique=True)
_surveys = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=4)


@given(_ids, _ids, st.lists(_surveys, min_size=2, max_size=2, unique=True))
@settings(max_examples=60, deadline=None)
def test_every_key_finds_its_row(one_ids, other_ids, surveys):
    index = LatentIndex.build(
        [
            make(survey, [[i, number] for i in range(len(ids))], ids=ids)
            for number, (survey, ids) in enumerate(zip(surveys, (one_ids, other_ids), strict=True))
        ]
    )
    for number, ids in enumerate((one_ids, other_ids)):
        for i, object_id in enumerate(ids):
            key = f"{surveys[number]}:{object_id}"
            row = index.row(key)
            assert index.vectors[row].tolist() == [i, number]
            assert index.key(row) == key


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sdss:c", "no object 'sdss:c'.*did you mean decals:c?"),
        ("hsc:b", "did you mean decals:b or sdss:b?"),
        ("b", "did you mean decals:b or sdss:b?"),
        ("sdss:a:2", "did you mean sdss:a:1"),
        ("decals:dead", "or it has no embedding"),
        ("nothing", "a key is SURVEY:ID with SURVEY one of decals, sdss"),
        ("", "a key is SURVEY:ID"),
    ],
)
def test_an_unknown_key_suggests_similar_ones(index, key, message):
    with pytest.raises(LatentIndexError, match=message):
        index.row(key)


def test_check_space(index):
    index.check_space(SPACE)
    with pytest.raises(LatentIndexError, match="space 5bace0000000, not ffffffffffff"):
        index.check_space("f" * 64)

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import make, random_vectors
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys
from sklearn.neighbors import NearestNeighbors

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import Subset
from galaxy_da.io.samples import Flag
from galaxy_da.latent_index import LatentIndex
from galaxy_da.models.domain import UNLIKE
from galaxy_da.queries import neighbours as module
from galaxy_da.queries.neighbours import nearest_others, whitened


def index_of(n=60, flags=(), **columns):
    """Index of one survey whose rows have the given flags, and 0 from there."""
    made = make("sdss", list(random_vectors(n, 4)), **columns)
    values = pa.array([*map(int, flags), *[0] * (n - len(flags))], pa.int32())
    table = made.table.set_column(made.table.column_names.index("flags"), "flags", values)
    return LatentIndex.build([type(made)(table=table, space_id="s", encoders={"sdss": "e"})])


def ranking(table, name):
    return [row for row in table.to_pylist() if row["ranking"] == name]


def test_strange_galaxies_are_far_from_their_neighbours():
    index = build(sdss=cloud(40), decals=cloud(70, seed=4))
    found = index.outliers("decals", 12)

    points = whitened(index.vectors[slice(*index.span("decals"))])
    apart = NearestNeighbors(n_neighbors=11).fit(points).kneighbors(points)[0][:, 1:].mean(1)
    expected = np.sort(apart / np.median(apart))[::-1][:12]
    assert [row["rank"] for row in ranking(found, "strange galaxy")] == list(range(1, 13))
    assert_allclose(found["outlier_score"].to_numpy()[:12], expected, rtol=1e-4)
    own = NearestNeighbors(n_neighbors=4).fit(points).kneighbors(points)[1][:, 1:]
    first = index.row(keys(found)[0]) - index.span("decals")[0]
    near = [index.key(int(row) + index.span("decals")[0]) for row in own[first]]
    assert found["compare_with"][0].as_py() == ", ".join(near)
    assert f"{expected[0]:.1f} times as far" in found["reason"][0].as_py()


def test_rare_flags_make_bad_data_and_leave_the_strange_galaxies():
    flags = [Flag.NAN_PIXELS, Flag.SATURATED | Flag.BLANK_BAND, Flag.SUBSTITUTED_BAND]
    found = index_of(flags=flags).outliers(k=60)
    bad = {row["object_id"]: row["reason"] for row in ranking(found, "bad data")}
    assert bad == {
        "id 0": "pixels are missing or masked",
        "id 1": "a band is blank; pixels are saturated",
    }
    strange = {row["object_id"] for row in ranking(found, "strange galaxy")}
    assert strange == {f"id {i}" for i in range(2, 60)}


@given(st.integers(0, 60))
@settings(max_examples=15, deadline=None)
def test_a_flag_of_more_than_a_tenth_is_the_surveys(count):
    found = index_of(flags=[Flag.PARTIAL_COVERAGE] * count).outliers(k=60)
    assert len(ranking(found, "bad data")) == (count if count <= 6 else 0)


def test_domain_reasons_rank_bad_data_but_not_unlike_galaxies():
    score = np.zeros(60, np.float32)
    score[:3] = [2.5, 3.5, 4.0]
    reasons = ["a star", "an artefact", UNLIKE, *[None] * 57]
    index = index_of(domain_score=score, domain_reason=pa.array(reasons), flags=[1])
    found = index.outliers(k=60)
    bad = [(row["object_id"], row["reason"]) for row in ranking(found, "bad data")]
    assert bad == [("id 1", "an artefact"), ("id 0", "pixels are missing or masked; a star")]
    assert_allclose(found["outlier_score"].to_numpy()[-2:], [3.5, 2.5])
    (unlike,) = (r for r in ranking(found, "strange galaxy") if r["object_id"] == "id 2")
    assert unlike["reason"].endswith(f"; {UNLIKE}")
    assert len(index.outliers(k=1)) == 2


def test_only_selected_galaxies_are_ranked():
    index = index_of(kind=["a"] * 40 + ["b"] * 20, flags=[Flag.NAN_PIXELS])
    assert len(index.outliers(k=99, within=Subset(where="kind = a"))) == 40
    assert not ranking(index.outliers(k=99, within=Subset(where="kind = b")), "bad data")


def test_whitened_has_unit_covariance_except_in_thin_directions():
    points = np.random.default_rng(0).normal(size=(4000, 3)) @ np.diag([1.0, 3.0, 1e-6])
    got = np.cov(whitened(points, points[:2000]).T)
    thin, *wide = np.sort(np.diag(got))
    assert_allclose(wide, 1, atol=0.15)
    assert thin < 1e-6
    assert_allclose(got[~np.eye(3, dtype=bool)], 0, atol=0.1)
    assert np.isfinite(whitened(np.ones((5, 3)))).all()


@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_nearest_others_match_brute_force(n, count, seed):
    points = np.random.default_rng(seed).integers(-2, 3, (n, 2)).astype(np.float32)
    distances, rows = nearest_others(points, count)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    expected = np.sort(apart, axis=1)[:, : min(count, n - 1)]
    assert_allclose(distances, expected, atol=1e-6)
    assert not (rows == np.arange(n)[:, None]).any()
    assert_allclose(np.take_along_axis(apart, rows, 1), distances, atol=1e-6)


def test_many_points_are_searched_by_cells(monkeypatch):
    points = random_vectors(3000, 6)
    exact, _ = nearest_others(points, 10)
    monkeypatch.setattr(module, "_EXACT_ROWS", 1000)
    near, _ = nearest_others(points, 10)
    assert np.mean(np.isclose(near, exact, rtol=1e-4)) > 0.9


def test_outliers_refuse():
    index = build(sdss=cloud(5), decals=cloud(1, seed=1))
    with pytest.raises(LatentIndexError, match="galaxies left without bad data: 1; ranking"):
        index.outliers("decals")
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index"):
        index.outliers("hsc")
    with pytest.raises(ValueError, match="k must be at least 1 but is 0"):
        index.outliers(k=0)

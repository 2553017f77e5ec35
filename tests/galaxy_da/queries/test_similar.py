import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys, objects, points, separation

from galaxy_da.errors import CatalogError, LatentIndexError
from galaxy_da.index import Subset


@given(objects, objects, st.data())
@settings(max_examples=100, deadline=None)
def test_similar_matches_brute_force(one, other, data):
    index = build(sdss=one, decals=other)
    embedding = {f"sdss:{i}": e for i, e in one.items()}
    embedding |= {f"decals:{i}": e for i, e in other.items()}
    k = data.draw(st.integers(1, 30))
    survey = data.draw(st.sampled_from([None, "sdss", "decals"]))
    query = data.draw(st.one_of(st.sampled_from(sorted(embedding)), points.map(np.array)))

    answer = index.similar(query, k, survey)

    is_key = isinstance(query, str)
    point = embedding[query] if is_key else query
    allowed = {
        key: separation(e, point)
        for key, e in embedding.items()
        if (survey is None or key.startswith(f"{survey}:")) and not (is_key and key == query)
    }
    found, distances = keys(answer), answer["distance"].to_numpy()
    assert answer["rank"].to_pylist() == list(range(1, min(k, len(allowed)) + 1))
    assert len(set(found)) == len(found)
    assert_allclose(distances, sorted(allowed.values())[:k], rtol=1e-5, atol=1e-6)
    assert_allclose(distances, [allowed[key] for key in found], rtol=1e-5, atol=1e-6)
    assert (np.diff(distances) >= 0).all()
    flags = dict(zip(keys(index.rows), index.rows["flags"].to_pylist(), strict=True))
    assert answer["flags"].to_pylist() == [flags[key] for key in found]


def test_similar_columns():
    index = build(sdss=cloud(5))
    answer = index.similar("sdss:0-1", 2)
    columns = ["rank", "survey", "object_id", "ra", "dec", "distance", "flags"]
    assert answer.column_names == columns
    assert answer.schema.field("distance").type == pa.float32()
    empty = index.similar("sdss:0-1", 9, "sdss").slice(0, 0)
    assert build(sdss=cloud(1)).similar("sdss:0-0").equals(empty)


def test_similar_excludes_the_query_among_exact_duplicates():
    index = build(sdss={f"{i:03d}": [1, 1] for i in range(100)})
    for name in ("000", "050", "099"):
        found = keys(index.similar(f"sdss:{name}", 20))
        assert len(set(found)) == 20
        assert f"sdss:{name}" not in found


def test_similar_refuses():
    index = build(sdss=cloud(5), decals=cloud(3, seed=1))
    for query in ("sdss:0-1", np.zeros(3)):
        with pytest.raises(ValueError, match="k must be at least 1 but is 0"):
            index.similar(query, 0)
        with pytest.raises(LatentIndexError, match="'hsc' is not in this index"):
            index.similar(query, survey="hsc")
    with pytest.raises(LatentIndexError, match=r"did you mean decals:1-1\?"):
        index.similar("sdss:1-1")
    for vector in (np.zeros(4), np.zeros((3, 3)), np.float64(0)):
        with pytest.raises(ValueError, match=r"shape \(n, 3\)"):
            index.similar(vector)


def with_positions(ra, dec):
    objects = {f"{i:03d}": [i, 0] for i in range(len(ra))}
    index = build(sdss=objects)
    for column, values in (("ra", ra), ("dec", dec)):
        place = index.rows.column_names.index(column)
        index.rows = index.rows.set_column(place, column, pa.array(np.asarray(values, float)))
    return index


def sky_separation(ra, dec, ra0, dec0):
    """Angle between unit vectors [arcsec], by arctan of cross over dot product."""
    one, other = (
        np.stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)], axis=-1)
        for r, d in (np.radians((ra, dec)), np.radians((ra0, dec0)))
    )
    cross = np.linalg.norm(np.cross(one, other), axis=-1)
    return np.degrees(np.arctan2(cross, one @ other)) * 3600


_ra = st.one_of(st.sampled_from([0.0, 1e-4, 180.0, 359.9999, 360.0]), st.floats(0, 360))
_dec = st.one_of(st.sampled_from([-90.0, 0.0, 89.9999, 90.0]), st.floats(-90, 90))


@given(st.lists(st.tuples(_ra, _dec), min_size=1, max_size=20), _ra, _dec)
@settings(max_examples=100, deadline=None)
def test_at_position_matches_brute_force(places, ra, dec):
    index = with_positions(*zip(*places, strict=True))
    truth = sky_separation(*np.transpose(places), ra, dec)
    key = index.at_position(ra, dec, radius_arcsec=180 * 3600 + 1)
    assert_allclose(truth[index.row(key)], truth.min(), atol=1e-6)


def test_at_position_across_zero_and_near_the_pole():
    index = with_positions([359.9999, 10.0], [0.0, 89.9999])
    assert index.at_position(0.0001, 0.0, 0.73) == "sdss:000"
    assert index.at_position(190.0, 89.9999, 0.73) == "sdss:001"
    with pytest.raises(LatentIndexError, match=r"within 0\.71.*nearest is sdss:000 at 0\.72 arc"):
        index.at_position(0.0001, 0.0, 0.71)
    with pytest.raises(CatalogError, match="position: dec"):
        index.at_position(10.0, 91.0)


@given(objects, objects, st.data())
@settings(max_examples=100, deadline=None)
def test_several_examples_match_brute_force(one, other, data):
    index = build(sdss=one, decals=other)
    embedding = {f"sdss:{i}": e for i, e in one.items()}
    embedding |= {f"decals:{i}": e for i, e in other.items()}
    example = st.one_of(st.sampled_from(sorted(embedding)), points.map(np.array))
    likes = data.draw(st.lists(example, min_size=1, max_size=4))
    dislikes = data.draw(st.lists(example, max_size=3))
    least = data.draw(st.integers(0, 12))
    k = data.draw(st.integers(1, 30))
    flags = dict(zip(keys(index.rows), index.rows["flags"].to_pylist(), strict=True))
    if max(flags.values()) < least:
        return

    answer = index.similar(likes, k, dislike=dislikes, within=Subset(where=f"flags >= {least}"))

    def middle(examples):
        values = [embedding[e] if isinstance(e, str) else e for e in examples]
        return np.mean(np.array(values, np.float32).astype(float), axis=0)

    point = middle(likes)
    if dislikes:
        point = 1.5 * point - 0.5 * middle(dislikes)
    named = {e for e in (*likes, *dislikes) if isinstance(e, str)}
    allowed = {
        key: separation(e, point)
        for key, e in embedding.items()
        if key not in named and flags[key] >= least
    }
    found, distances = keys(answer), answer["distance"].to_numpy()
    assert len(set(found)) == len(found)
    assert_allclose(distances, sorted(allowed.values())[:k], rtol=1e-4, atol=1e-4)
    assert_allclose(distances, [allowed[key] for key in found], rtol=1e-4, atol=1e-4)


def test_several_examples_refuse():
    index = build(sdss=cloud(5))
    with pytest.raises(ValueError, match="at least one key or vector"):
        index.similar([])
    with pytest.raises(ValueError, match=r"shape \(n, 3\) but one has \(4,\)"):
        index.similar(["sdss:0-1", np.zeros(4)])
    with pytest.raises(LatentIndexError, match="no object 'sdss:x'"):
        index.similar("sdss:0-1", dislike=["sdss:x"])

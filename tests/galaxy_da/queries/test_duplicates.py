import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from index_helpers import make
from numpy.testing import assert_allclose
from query_helpers import build, cloud

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import Subset
from galaxy_da.io.sphere import chord_to_arcsec
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries import duplicates as module
from galaxy_da.queries.sky import directions


def rounding_decides(values, threshold):
    if threshold is None:
        return False
    return bool(((values > 0) & (np.abs(values - threshold) < 1e-6)).any())


@given(
    st.integers(1, 60),
    st.integers(0, 1000),
    st.one_of(st.none(), st.floats(0, 4)),
    st.one_of(st.none(), st.floats(0, 1.5)),
    st.integers(0, 30),
)
@settings(max_examples=150, deadline=None)
def test_duplicates_match_brute_force(n, seed, arcsec, distance, least):
    if (arcsec is None and distance is None) or least >= n:
        return
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 12, (2, n)) / 3600
    latents = rng.integers(0, 3, (n, 2)) * 0.5 + rng.normal(0, 0.01, (n, 2))
    index = LatentIndex.build(
        [
            make(
                "a",
                list(latents.astype(np.float32)),
                ra=(359.999 + places[0] / 2) % 360,
                dec=places[1],
            ),
            make("b", list(latents.astype(np.float32)), encoder="b"),
        ]
    )

    found = index.duplicates(
        "a", arcsec=arcsec, distance=distance, within=Subset(where=f"flags >= {least}")
    )

    rows = [row for row in range(n) if index.rows["flags"][row].as_py() >= least]
    sky, points = directions(index, np.array(rows)), index.vectors[np.array(rows)]
    angle = chord_to_arcsec(np.linalg.norm(sky[:, None] - sky, axis=-1))
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    assume(not rounding_decides(angle, arcsec) and not rounding_decides(apart, distance))
    close = np.triu(np.ones_like(apart, bool), 1)
    close &= True if arcsec is None else angle <= arcsec
    close &= True if distance is None else apart <= distance
    graph = nx.Graph(zip(*np.nonzero(close), strict=True))
    expected = {
        frozenset(index.key(rows[i]) for i in group) for group in nx.connected_components(graph)
    }
    got = {}
    for row in found.to_pylist():
        got.setdefault(row["group"], set()).add(f"{row['survey']}:{row['object_id']}")
    assert {frozenset(group) for group in got.values()} == expected
    assert sorted(got) == list(range(1, len(got) + 1))
    sizes = [len(got[number]) for number in sorted(got)]
    assert sizes == sorted(sizes, reverse=True)
    either = close | close.T
    for row in found.to_pylist():
        own = rows.index(index.row(f"a:{row['object_id']}"))
        assert_allclose(row["separation_arcsec"], angle[own][either[own]].min(), atol=1e-4)
        assert_allclose(row["distance"], apart[own][either[own]].min(), atol=1e-6)


def test_duplicates_refuse(monkeypatch):
    index = build(sdss=cloud(50))
    for wrong in ({}, {"arcsec": -1}, {"distance": np.inf}):
        with pytest.raises(ValueError, match="give arcsec, distance or both"):
            index.duplicates("sdss", **wrong)
    monkeypatch.setattr(module, "MOST_PAIRS", 100)
    for much in ({"arcsec": 6e5}, {"distance": 100}):
        with pytest.raises(LatentIndexError, match="more than 100; lower it"):
            index.duplicates("sdss", **much)

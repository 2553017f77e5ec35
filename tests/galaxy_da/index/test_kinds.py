import json

import faiss
import numpy as np
import pytest
from index_helpers import data_file, make
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import KINDS, add, cost, create, delete, kinds, rebuild, segments
from galaxy_da.latent_index import LatentIndex

N, D = 12_000, 8


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=3, size=(20, D))
    return (centres[rng.integers(20, size=N)] + rng.normal(size=(N, D))).astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def folder(request, points, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    half = N // 2
    parts = [make("a", list(points[:half])), make("b", list(points[half:]))]
    create(path, parts, kind=request.param)
    return path


@pytest.fixture
def always_search(monkeypatch):
    """Search the cells however few rows are selected."""
    monkeypatch.setattr(segments, "_EXACT_ROWS", 0)
    monkeypatch.setattr(segments, "_EXACT_SHARE", 0)


def brute_force(index, queries, rows, k):
    apart = np.linalg.norm(queries[:, None].astype(float) - index.vectors[rows][None], axis=-1)
    return np.sort(apart, axis=1)[:, :k]


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02])
def test_recall_and_exact_distances(folder, always_search, share):
    index = LatentIndex.open(folder)
    within = index.select(where=f"flags < {int(share * N / 2)}")
    queries = index.vectors[np.arange(0, N, 60)] + np.float32(0.1)
    found, rows = index.search(queries, 10, within)
    truth = brute_force(index, queries, within.rows, 10)
    recall = np.isclose(found, truth[:, -1:], rtol=1e-5) | (found < truth[:, -1:])
    assert recall.mean() >= (1 if index.segments[0].kind == "flat" else 0.95)
    assert np.isin(rows, within.rows).all()
    own = np.linalg.norm(index.vectors[rows] - queries[:, None], axis=-1)
    assert_allclose(found, own, rtol=1e-5)


def test_exact_search_matches_brute_force_for_every_kind(folder, always_search):
    index = LatentIndex.open(folder)
    queries = index.vectors[np.arange(0, N, 400)] + np.float32(0.1)
    for survey in (None, "b"):
        within = index.select(survey)
        found = index.search(queries, 25, survey, exact=True)[0]
        assert_allclose(found, brute_force(index, queries, within.rows, 25), rtol=1e-4, atol=1e-5)


def test_few_allowed_rows_are_compared_exactly(folder):
    index = LatentIndex.open(folder)
    within = index.select("b", where="flags in 5, 700, 701, 3000")
    found, rows = index.search(np.zeros((1, D)), 10, within)
    assert sorted(index.rows["flags"][row].as_py() for row in rows[0]) == [5, 700, 701, 3000]
    assert_allclose(found, brute_force(index, np.zeros((1, D)), within.rows, 10), rtol=1e-5)


def test_more_neighbours_than_the_cells_hold_are_all_returned(folder, always_search, monkeypatch):
    monkeypatch.setattr(kinds, "_PROBES", 1)
    index = LatentIndex.open(folder)
    found, rows = index.search(index.vectors[:3], 5000)
    assert found.shape == (3, 5000)
    assert all(len(set(row)) == 5000 for row in rows.tolist())
    assert (np.diff(found, axis=1) >= 0).all()


def test_kind_and_reason_are_in_the_manifest(folder):
    (segment,) = json.loads((folder / "index.json").read_text())["segments"]
    assert segment["reason"] == "requested"
    assert (segment["search"] is None) == (segment["kind"] == "flat")


def test_deleted_rows_are_not_found_and_rebuild_changes_the_kind(points, tmp_path):
    create(tmp_path, [make("a", list(points))], kind="ivfpq")
    nearest = LatentIndex.open(tmp_path).similar(points[7], 3)["object_id"].to_pylist()
    assert nearest[0] == "id 7"
    delete(tmp_path, [f"a:{name}" for name in nearest])
    add(tmp_path, [make("b", [points[7]], ids=["new"])])
    for kind in ("ivfpq", "flat"):
        found = LatentIndex.open(tmp_path).similar(points[7], 3)
        assert found["object_id"][0].as_py() == "new"
        assert not set(found["object_id"].to_pylist()) & set(nearest)
        assert LatentIndex.open(tmp_path).segments[0].kind == kind
        rebuild(tmp_path, kind="flat")


def test_index_built_in_memory_answers_as_saved(points, tmp_path):
    built = LatentIndex.build([make("a", list(points))], kind="ivfpq")
    built.save(tmp_path)
    for one, other in zip(
        built.search(points[:50], 5), LatentIndex.open(tmp_path).search(points[:50], 5), strict=True
    ):
        assert_array_equal(one, other)


@pytest.mark.parametrize("damage", ["flip", "short", "missing", "other"])
def test_a_damaged_search_file_is_named(folder, tmp_path, damage, monkeypatch):
    if LatentIndex.open(folder).segments[0].kind == "flat":
        pytest.skip("flat has none")
    path = data_file(folder, "search")
    content = path.read_bytes()
    middle = len(content) // 2
    new = {"flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]}
    new |= {"short": content[:-1], "other": b"x" * len(content)}
    try:
        path.unlink()
        if damage != "missing":
            path.write_bytes(new[damage])
        with pytest.raises(LatentIndexError, match=path.name) as caught:
            LatentIndex.open(folder)
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("rows", "kind", "reason"),
    [
        (5, "flat", "fewer than the 10,000"),
        (100_000, "flat", "comparing with all is fast"),
        (100_001, "ivfpq", "more than 100,000: comparing with all is slow"),
    ],
)
def test_auto_chooses_by_size(rows, kind, reason):
    chosen, why = kinds.choose(rows)
    assert chosen == kind
    assert reason in why
    assert cost(rows, 40).kind == kind


def test_a_requested_kind_needs_enough_vectors_to_train_on():
    assert kinds.choose(20_000, "ivfpq") == ("ivfpq", "requested")
    assert kinds.choose(9_999, "ivfpq")[0] == "flat"
    with pytest.raises(ValueError, match="kind must be auto, flat, ivfpq but is 'tree'"):
        cost(10, 40, "tree")


def test_cost_matches_the_size_of_the_files(folder):
    segment = json.loads((folder / "index.json").read_text())["segments"][0]
    said = cost(N, D, segment["kind"])
    search = segment["search"]["bytes"] if segment["search"] else segment["vectors"]["bytes"]
    assert said.memory_bytes == pytest.approx(search, rel=0.05)
    disk = sum(segment[f]["bytes"] for f in ("rows", "vectors", "search") if segment[f])
    assert said.disk_bytes == pytest.approx(disk, rel=0.25)
    assert cost(10_000_000, 40).memory_bytes < cost(10_000_000, 40, "flat").memory_bytes / 4


def test_flat_is_faiss_flat(points):
    index = faiss.IndexFlatL2(D)
    index.add(points)
    assert_array_equal(kinds.nearest(points, points[:64], 9, None), index.search(points[:64], 9)[1])

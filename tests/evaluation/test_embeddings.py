"""Embeddings of another model: read, indexed and compared by recall."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import pair_table

from catalogs.datasets import read_embeddings, write_embeddings
from evaluation.embeddings import recall_of_features
from galaxy_da.cli import main
from galaxy_da.errors import CatalogError, LatentIndexError, TableError
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex

N, WIDTH = 40, 12


@pytest.fixture
def tables(tmp_path):
    """Tables of one model's embeddings of the same galaxies in two surveys, as AION's are."""
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(N, WIDTH))
    paths, points = [], []
    for survey, noise in (("hsc", 0.2), ("decals", 0.9)):
        seen = (truth + rng.normal(scale=noise, size=truth.shape)).astype(np.float32)
        lists = [None if i == 3 and survey == "hsc" else row.tolist() for i, row in enumerate(seen)]
        columns = {
            "object_id": [f"{survey}{i}" for i in range(N)],
            "ra": 150 + np.arange(N) / 100,
            "dec": np.full(N, 2.0),
            "aion_mean_embedding": pa.array(lists, pa.list_(pa.float64())),
            "z_spec": rng.uniform(0, 1, N),
        }
        paths.append(tmp_path / f"{survey}.parquet")
        pq.write_table(pa.table(columns), paths[-1])
        points.append(seen)
    return paths, points


def read_both(paths):
    return [read_embeddings(path, path.stem, "aion_mean_embedding", "aion") for path in paths]


def test_recall_is_that_of_a_brute_force_search(tables):
    paths, (hsc, decals) = tables
    anchor, target = read_both([paths[1], paths[0]])
    pairs = pair_table([f"decals{i}" for i in range(N)], [f"hsc{i}" for i in range(N)])
    found = recall_of_features(anchor, target, pairs)
    kept = [i for i in range(N) if i != 3]
    apart = np.linalg.norm(hsc[kept][:, None] - decals[kept], axis=2)
    assert found.recall_at_1 == np.mean(apart.argmin(1) == np.arange(N - 1))
    assert 0.1 < found.recall_at_1 < 1
    assert (found.queries, found.pool) == (N - 1, N - 1)
    with pytest.raises(TableError, match="none of the 40 pairs"):
        recall_of_features(target, anchor, pairs)


def test_embeddings_are_indexed_and_queried(tables, tmp_path, capsys):
    paths, (hsc, decals) = tables
    for path in paths:
        arguments = ["sample", str(path), "--survey", path.stem, "--out", str(tmp_path / path.stem)]
        assert main([*arguments, "--embedding", "aion=aion_mean_embedding", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["rows"], report["width"], report["model"]) == (N, WIDTH, "aion")
        assert report["ok"] == N - (path.stem == "hsc")
    index = LatentIndex.build([tmp_path / "hsc", tmp_path / "decals"])
    (nearest,) = index.similar("hsc:hsc7", k=1, survey="decals").to_pylist()
    assert nearest["object_id"] == f"decals{np.linalg.norm(decals - hsc[7], axis=1).argmin()}"
    assert "z_spec" in index.rows.column_names
    opened = Features.open(tmp_path / "hsc")
    assert opened.table["status"][3].as_py() == "no_data"


def test_models_share_no_space(tables):
    paths, _ = tables
    first = read_embeddings(paths[0], "hsc", "aion_mean_embedding", "aion")
    second = read_embeddings(paths[1], "decals", "aion_mean_embedding", "astropt")
    with pytest.raises(LatentIndexError, match="cannot share an index"):
        LatentIndex.build([first, second])
    with pytest.raises(ValueError, match="features are of two spaces"):
        recall_of_features(second, first, pair_table(["decals1"], ["hsc1"]))


def test_columns_that_are_no_embeddings_are_refused(tables, tmp_path):
    paths, _ = tables
    with pytest.raises(CatalogError, match="column z_spec holds double; expected lists"):
        read_embeddings(paths[0], "hsc", "z_spec")
    ragged = pa.table(
        {"object_id": ["a", "b"], "ra": [1.0, 2], "dec": [1.0, 2], "e": [[1.0], [1.0, 2]]}
    )
    pq.write_table(ragged, tmp_path / "ragged.parquet")
    with pytest.raises(CatalogError, match=r"lists of 2 lengths \(1, 2\)"):
        read_embeddings(tmp_path / "ragged.parquet", "hsc", "e")
    write_embeddings(read_embeddings(paths[0], "hsc", "aion_mean_embedding"), tmp_path / "out")
    assert Features.open(tmp_path / "out").table.num_rows == N

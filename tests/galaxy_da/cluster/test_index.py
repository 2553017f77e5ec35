"""An index coded on workers equals the index of one process."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("distributed", reason="needs the extra 'hats'")

from fsspec.implementations.memory import MemoryFileSystem
from index_helpers import make, random_vectors, same_index, write_features

from galaxy_da.cli import main
from galaxy_da.cluster import index as cluster_index
from galaxy_da.index import create, manifest
from galaxy_da.io.features import Features
from galaxy_da.io.storage import location, upload_folder
from galaxy_da.latent_index import LatentIndex

N = 12_000


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    vectors = list(random_vectors(N, 8))
    vectors[17] = None
    return write_features(tmp_path_factory.mktemp("sdss") / "features", make("sdss", vectors))


@pytest.fixture(scope="module")
def local(features, tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "index"
    create(path, [features], kind="ivfpq")
    return path


def _hashes(path):
    return [file.sha256 for part in manifest.read(path).segments for file in part.files()]


def test_shards_make_the_same_files(features, local, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_index, "SHARD_ROWS", 2_500)
    cluster_index.create_on_workers(
        tmp_path / "index", [features], kind="ivfpq", scheduler="synchronous"
    )
    assert _hashes(tmp_path / "index") == _hashes(local)
    queries = random_vectors(20, 8, seed=1)
    opened = [LatentIndex.open(path) for path in (local, tmp_path / "index")]
    ours, theirs = (index.search(queries, 10) for index in opened)
    np.testing.assert_array_equal(ours, theirs)


def test_features_in_hats_are_indexed_like_others(tmp_path):
    table = make("sdss", list(random_vectors(40, 4))).table
    plain = write_features(tmp_path / "plain", make("sdss", list(random_vectors(40, 4))))
    names = [f"dataset/Norder=0/Dir=0/Npix={i}.parquet" for i in range(4)]
    for i, name in enumerate(names):
        (tmp_path / "hats" / name).parent.mkdir(parents=True, exist_ok=True)
        part = table.slice(10 * i, 10)
        pq.write_table(
            part.add_column(0, "_healpix_29", pa.array(range(10))), tmp_path / "hats" / name
        )
    header = json.loads((plain / "features.json").read_text()) | {"parts": names}
    (tmp_path / "hats" / "features.json").write_text(json.dumps(header))
    assert Features.open(tmp_path / "hats").table.equals(table)
    for name in ("plain", "hats"):
        create(tmp_path / f"{name}-index", [tmp_path / name])
    assert _hashes(tmp_path / "plain-index") == _hashes(tmp_path / "hats-index")
    upload_folder(tmp_path / "hats", location("memory://hats"))
    create(tmp_path / "url-index", ["memory://hats"])
    MemoryFileSystem.store.clear()
    assert _hashes(tmp_path / "plain-index") == _hashes(tmp_path / "url-index")


def test_an_index_at_a_url_needs_workers_of_this_machine(features, capsys):
    command = ["index", str(features), "--out", "memory://index", "--engine", "dask"]
    assert main([*command, "--scheduler", "tcp://far:8786"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("galaxy-da: memory://index: is made in the cache of this machine first")
    assert "tcp://far:8786" in error


def test_an_index_at_a_url_is_made_on_workers_of_this_machine(features, local, store):
    cluster_index.create_on_workers(
        "memory://index", [features], kind="ivfpq", scheduler="synchronous"
    )
    assert same_index(LatentIndex.open(local), LatentIndex.open("memory://index"))

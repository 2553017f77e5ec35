"""Extraction in partitions: the features of one run here, whatever dies on the way."""

import os
import random
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

import lsdb
from conftest import blobs, make_space, write_sample
from dask.distributed import LocalCluster

from catalogs.hats import to_hats
from galaxy_da.cli import main
from galaxy_da.cluster.extraction import extract_partitions
from galaxy_da.cluster.hats import quiet_lsdb
from galaxy_da.errors import SpaceError, TableError
from galaxy_da.extraction import extract
from galaxy_da.features import Features, vectors
from galaxy_da.tables import Sample

N = 120


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample table, two rows of which cannot be used."""
    images = blobs(N, 64, 0.55)
    images[7] = 0
    status = ["ok"] * N
    status[11] = "fetch_failed"
    return write_sample(tmp_path_factory.mktemp("decals"), images, status=status, votes=[*range(N)])


@pytest.fixture(scope="module")
def local(sample):
    return extract(make_space(), Sample(sample), precision="fp32").table


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, and another for each that is killed."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


def _extract(sample, out, scheduler="synchronous", **options):
    options = {"precision": "fp32", "partition_rows": 12, **options}
    return extract_partitions(make_space(), sample, out, scheduler=scheduler, **options)


def _check(out, local):
    """Compare a catalogue with the features of one run, by us and as LSDB opens it."""
    features = Features.open(out)
    table = features.table.sort_by("object_id")
    exact = [f.name for f in local.schema if not pa.types.is_fixed_size_list(f.type)]
    exact.remove("reconstruction_error")
    assert table.column_names == local.column_names
    assert table.select(exact).equals(local.select(exact))
    good = local["embedding"].is_valid()
    for name in ("embedding", "variance"):
        ours = vectors(table.filter(good), name)
        np.testing.assert_allclose(ours, vectors(local.filter(good), name), atol=1e-6)
    with quiet_lsdb():
        catalog = lsdb.open_catalog(out)
        frame = catalog.compute(progress_bar=False)
    assert sorted(frame["object_id"]) == table["object_id"].to_pylist()
    assert catalog.hc_structure.catalog_info.total_rows == len(local)
    assert list(frame.index) == sorted(frame.index)
    return features


def test_partitions_hold_the_features_of_one_run(sample, local, tmp_path):
    said = _extract(sample, tmp_path / "out")
    assert said == {"rows": N, "partitions": said["partitions"], "ok": 118, "no_data": 1} | {
        "fetch_failed": 1
    }
    assert said["partitions"] > 10
    assert _check(tmp_path / "out", local).encoders == {
        "decals": make_space().encoder("decals").hash
    }
    with quiet_lsdb():
        rows = lsdb.open_catalog(tmp_path / "out", columns=["ra", "embedding"]).head(1)
    assert [len(row) for row in rows["embedding"]] == [6]
    field = pq.read_schema(tmp_path / "out" / "dataset" / "_common_metadata").field("ra")
    assert field.metadata[b"unit"] == b"deg"


def test_a_folder_of_tables_is_one_sample(sample, local, tmp_path):
    whole = pq.read_table(sample)
    for number in range(3):
        rows = list(range(number, N, 3))
        pq.write_table(whole.take(rows), tmp_path / f"{number}.parquet", row_group_size=16)
    os.link(sample.parent / "cutouts.npy", tmp_path / "cutouts.npy")
    _extract(tmp_path, tmp_path / "out")
    _check(tmp_path / "out", local)


def test_a_hats_catalogue_keeps_its_partitions(sample, local, tmp_path):
    sky = to_hats(pq.read_table(sample), tmp_path / "sky", partition_rows=20)
    os.link(sample.parent / "cutouts.npy", sky / "cutouts.npy")
    _extract(sky, tmp_path / "out")
    _check(tmp_path / "out", local)
    with quiet_lsdb():
        given, made = (lsdb.open_catalog(path) for path in (sky, tmp_path / "out"))
    assert made.get_healpix_pixels() == given.get_healpix_pixels()


def test_only_missing_partitions_are_made_again(sample, local, tmp_path):
    _extract(sample, tmp_path / "out")
    parts = sorted((tmp_path / "out" / "dataset").rglob("Npix=*"))
    before = [path.stat().st_mtime_ns for path in parts]
    for name in ("features.json", "hats.properties"):
        (tmp_path / "out" / name).unlink()
    parts[2].unlink()
    left = parts[0].with_name(".Npix=5.123.partial.parquet")
    left.write_bytes(b"of a killed worker")
    with pytest.raises(TableError, match="no finished features here"):
        Features.open(tmp_path / "out")
    _extract(sample, tmp_path / "out")
    after = [path.stat().st_mtime_ns for path in parts]
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [2]
    assert not left.exists()
    _check(tmp_path / "out", local)


def test_what_differs_is_refused(sample, tmp_path):
    _extract(sample, tmp_path / "out")
    with pytest.raises(TableError, match=r"another extraction \(precision differ"):
        _extract(sample, tmp_path / "out", precision="bf16")
    with pytest.raises(TableError, match=r"another extraction \(sample differ"):
        _extract(sample, tmp_path / "out", partition_rows=50)


def test_mistakes_are_told_in_one_line(sample, tmp_path, capsys):
    table = pq.read_table(sample)
    with pytest.raises(TableError, match="holds neither a HATS catalogue"):
        _extract(tmp_path, tmp_path / "out")
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.drop_columns("votes"), tmp_path / "b.parquet")
    with pytest.raises(TableError, match=r"b\.parquet: its columns or their types are not those"):
        _extract(tmp_path, tmp_path / "out")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(TableError, match="has no rows"):
        _extract(tmp_path / "empty.parquet", tmp_path / "out")
    sdss = table.set_column(1, "survey", pa.array(["sdss"] * N))
    pq.write_table(sdss, tmp_path / "sdss.parquet")
    with pytest.raises(SpaceError, match="no encoder for 'sdss'"):
        _extract(tmp_path / "sdss.parquet", tmp_path / "out")
    command = ["extract", "--space", "decals", "--sample", str(tmp_path), "--out", "out"]
    assert main(command) == 2
    assert "is a folder; a HATS catalogue or a folder of tables needs --engine dask" in (
        capsys.readouterr().err
    )
    assert main([*command, "--engine", "spark"]) == 2
    assert "engine is one of local, dask, not 'spark'" in capsys.readouterr().err


class _Killer(threading.Thread):
    """Kills a random worker now and then, until told to stop."""

    def __init__(self, cluster, kills, seed, pause_s):
        super().__init__(daemon=True)
        self.killed = 0
        self._draw, self._cluster, self._kills = random.Random(seed), cluster, kills
        self._pause_s, self._ended = pause_s, threading.Event()

    def run(self):
        while self.killed < self._kills and not self._ended.wait(self._draw.uniform(*self._pause_s)):
            pids = [worker.pid for worker in self._cluster.workers.values() if worker.pid]
            if pids:
                os.kill(self._draw.choice(pids), signal.SIGKILL)
                self.killed += 1

    def stop(self):
        self._ended.set()
        self.join()


def test_a_killed_worker_costs_only_its_partition(sample, local, tmp_path, cluster):
    killer = _Killer(cluster, 1, 0, (0.2, 0.3))
    while not cluster.scheduler_info["workers"]:
        time.sleep(0.1)
    killer.start()
    _extract(sample, tmp_path / "out", cluster.scheduler_address)
    killer.stop()
    assert killer.killed == 1
    _check(tmp_path / "out", local)

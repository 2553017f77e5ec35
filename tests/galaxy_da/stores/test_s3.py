"""Run the verbs on an S3 object store that sometimes fails."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from astropy.io import fits
from conftest import blobs, make_space, write_sample
from index_helpers import same_index
from store_helpers import BUCKET, files, running_store

from galaxy_da.cli import main
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace

URL = f"s3://{BUCKET}"
N = 50


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with running_store(tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory, store):
    """Write a space and two sample tables, one of FITS files, to a folder and to the store."""
    folder = tmp_path_factory.mktemp("here")
    make_space().save(folder / "space")
    images = blobs(N, 140, 0.262)
    write_sample(folder / "decals", images)
    (folder / "again").mkdir()
    for i, image in enumerate(images[::-1]):
        fits.writeto(folder / "again" / f"{i}.fits", image)
    table = pq.read_table(folder / "decals" / "sample.parquet").to_pydict()
    table["cutout"] = [f"{i}.fits" for i in range(N)]
    for name in ("ra", "dec"):
        table[name] = np.add(table[name][::-1], 1e-5)
    table["object_id"] = [f"again-{i}" for i in range(N)]
    pq.write_table(pa.table(table), folder / "again" / "sample.parquet")
    upload(folder, "in")
    return folder


def upload(folder, name):
    inside = [path for path in folder.rglob("*") if path.is_file()]
    places = [f"{BUCKET}/{name}/{path.relative_to(folder)}" for path in inside]
    files().put([str(path) for path in inside], places)


def galaxy_da(*arguments):
    assert main([str(part) for part in arguments]) == 0


def pipeline(start, end):
    """Extract, index and crossmatch the samples of one folder, with outputs in another."""
    for name in ("decals", "again"):
        sample = f"{start}/{name}/sample.parquet"
        extract = (
            "extract",
            "--space",
            f"{start}/space",
            "--sample",
            sample,
            "--precision",
            "fp32",
        )
        galaxy_da(*extract, "--out", f"{end}/features/{name}")
    galaxy_da("index", f"{end}/features/decals", "--out", f"{end}/index")
    galaxy_da("index", "add", f"{end}/index", f"{end}/features/again")
    samples = (f"{start}/{name}/sample.parquet" for name in ("decals", "again"))
    galaxy_da("crossmatch", *samples, "--repeat", "--out", f"{end}/pairs.parquet")


def test_failing_store_and_disk_give_the_same_results(store, here, tmp_path, capsys):
    pipeline(here, tmp_path)
    store.requests.clear()
    with store.failing(0.05):
        pipeline(f"{URL}/in", f"{URL}/out")
        check_puts(store, "out")
        remote = LatentIndex.open(f"{URL}/out/index")
        for name in ("decals", "again"):
            one, other = (
                Features.open(f"{end}/features/{name}") for end in (tmp_path, f"{URL}/out")
            )
            assert one.table.equals(other.table)
            assert one.encoders == other.encoders
        assert read_pairs(f"{URL}/out/pairs.parquet").equals(read_pairs(tmp_path / "pairs.parquet"))
        capsys.readouterr()
        answers = []
        for end in (tmp_path, f"{URL}/out"):
            galaxy_da("similar", f"{end}/index", "--id", "decals:decals-0003", "--json")
            answers.append(json.loads(capsys.readouterr().out))
    assert same_index(remote, LatentIndex.open(tmp_path / "index"))
    assert answers[0] == answers[1]
    assert len(remote) == 2 * N
    assert store.refused > 5


def check_puts(store, folder):
    """Check that each object was written by exactly one PUT, and none was moved."""
    written = Counter(path for method, path in store.requests if method == "PUT")
    assert len(written) == len(files().find(f"{BUCKET}/{folder}"))
    assert set(written.values()) == {1}
    assert {method for method, _ in store.requests} == {"GET", "HEAD", "PUT"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_read_and_write_a_failing_store(store, here, tmp_path):
    """Extract a table to a HATS catalogue on workers, and build an index from it."""
    pytest.importorskip("lsdb", reason="needs the extra 'hats'")
    from cluster_helpers import check_catalogue

    from galaxy_da.cluster.extraction import extract_partitions
    from galaxy_da.cluster.index import create_on_workers
    from galaxy_da.cluster.scheduling import workers_here

    space, sample = LatentSpace.load(here / "space"), here / "again" / "sample.parquet"
    local = extract(space, Sample(sample), settings=ExtractSettings(precision="fp32"))
    results = []
    how = {"settings": ExtractSettings(precision="fp32"), "partition_rows": 12}
    with workers_here(2) as cluster:
        how["scheduler"] = cluster.scheduler_address
        with store.failing(0.05):
            source = f"{URL}/in/again/sample.parquet"
            results.append(extract_partitions(space, source, f"{URL}/dask/features", **how))
            files().rm(f"{BUCKET}/dask/features/features.json")
            store.requests.clear()
            results.append(extract_partitions(space, source, f"{URL}/dask/features", **how))
    written = [path for method, path in store.requests if method == "PUT"]
    assert not any("Npix=" in path for path in written)
    assert results[0] == results[1] and results[0]["partitions"] > 3
    check_catalogue(f"{URL}/dask/features", local.table.sort_by("object_id"))
    with store.failing(0.05):
        features, index = [f"{URL}/dask/features"], f"{URL}/dask/index"
        create_on_workers(index, features, scheduler="synchronous")
    assert same_index(LatentIndex.build(features), LatentIndex.open(index))
    assert store.refused > 5


_EXTRACT = """
import sys
from galaxy_da.extraction import loading, parts
from galaxy_da.cli import main
parts._PART_ROWS = loading._BATCH_ROWS = 16
sys.exit(main(sys.argv[1:]))
"""


def extracting(end):
    sample = f"{URL}/in/again/sample.parquet"
    options = [
        "--space",
        f"{URL}/in/space",
        "--sample",
        sample,
        "--out",
        end,
        "--precision",
        "fp32",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", _EXTRACT, "extract", *options], env=environment)


@pytest.mark.slow
def test_killed_extraction_resumes(store, here, tmp_path):
    out, running = f"{BUCKET}/killed", []

    def kill(path):
        if path.endswith("part-00001.parquet"):
            running[0].kill()

    store.after_put = kill
    try:
        running.append(extracting(f"s3://{out}"))
        assert running[0].wait() == -signal.SIGKILL
    finally:
        store.after_put = None
    left = {path.rsplit("/", 1)[1] for path in files().ls(out)}
    assert left == {"extraction.json", "part-00000.parquet", "part-00001.parquet"}
    for name in left - {"extraction.json"}:
        assert pq.read_table(io.BytesIO(files().cat_file(f"{out}/{name}"))).num_rows == 16
    store.requests.clear()
    assert extracting(f"s3://{out}").wait() == 0
    written = [path for method, path in store.requests if method == "PUT"]
    numbers = [f"/{out}/part-{number:05d}.parquet" for number in range(2, -(-N // 16))]
    assert written == [*numbers, f"/{out}/features.json"]
    assert store.requests.count(("GET", f"/{BUCKET}/in/again/0.fits")) == 0
    sample = Sample(here / "again" / "sample.parquet")
    expected = extract(
        LatentSpace.load(here / "space"), sample, settings=ExtractSettings(precision="fp32")
    ).table
    found = Features.open(f"s3://{out}").table
    assert found["object_id"].equals(expected["object_id"])
    np.testing.assert_allclose(vectors(found), vectors(expected), atol=1e-5)


@pytest.mark.parametrize("fault", ["no bucket", "refuses", "no server"])
def test_store_faults_give_one_line(store, here, capsys, monkeypatch, fault):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    url, share = f"{URL}/in/decals/sample.parquet", 0.0
    if fault == "no bucket":
        url = "s3://nowhere/sample.parquet"
    elif fault == "refuses":
        share = 1.0
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with store.failing(share):
        space = str(here / "space")
        assert main(["extract", "--space", space, "--sample", url, "--out", f"{URL}/no"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"galaxy-da: {url}: ")
    assert error.count("\n") == 1
    s3fs.S3FileSystem.clear_instance_cache()

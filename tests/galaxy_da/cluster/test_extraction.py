"""Extraction in partitions gives the features of one run."""

import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

import lsdb
from cluster_helpers import check_catalogue, extract_here
from conftest import make_space

from galaxy_da.cli import main
from galaxy_da.cluster.partitions import partitions_of
from galaxy_da.errors import SurveyError, TableError
from galaxy_da.io.features import Features
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.storage import location, upload_folder


def test_partitions_hold_the_features_of_one_run(sample, local, tmp_path):
    counts = extract_here(sample, tmp_path / "out")
    assert counts.pop("readings") == {"decals": "by definition"}
    assert counts == {"rows": 120, "partitions": counts["partitions"], "ok": 118, "no_data": 1} | {
        "fetch_failed": 1
    }
    assert counts["partitions"] > 10
    assert check_catalogue(tmp_path / "out", local).encoders == {
        "decals": make_space().encoder("decals").hash
    }
    with using_lsdb():
        rows = lsdb.open_catalog(tmp_path / "out", columns=["ra", "embedding"]).head(1)
    assert [len(row) for row in rows["embedding"]] == [6]
    field = pq.read_schema(tmp_path / "out" / "dataset" / "_common_metadata").field("ra")
    assert field.metadata[b"unit"] == b"deg"


def test_a_folder_of_tables_is_one_sample(sample, local, tmp_path):
    whole = pq.read_table(sample)
    for number in range(3):
        rows = list(range(number, 120, 3))
        pq.write_table(whole.take(rows), tmp_path / f"{number}.parquet", row_group_size=16)
    os.link(sample.parent / "cutouts.npy", tmp_path / "cutouts.npy")
    extract_here(tmp_path, tmp_path / "out")
    check_catalogue(tmp_path / "out", local)


def test_rows_without_a_usable_position_are_left_out_and_counted(sample, tmp_path):
    table = pq.read_table(sample)
    ra = [None if row in (3, 50) else value for row, value in enumerate(table["ra"].to_pylist())]
    spoilt = sample.with_name("spoilt.parquet")
    pq.write_table(table.set_column(table.column_names.index("ra"), "ra", pa.array(ra)), spoilt)
    counts = extract_here(spoilt, tmp_path / "out")
    assert (counts["rows"], counts["left_out"]) == (118, 2)
    ids = table["object_id"].to_pylist()
    found = Features.open(tmp_path / "out").table["object_id"].to_pylist()
    assert sorted(found) == sorted(set(ids) - {ids[3], ids[50]})


def test_a_hats_catalogue_keeps_its_partitions(sample, local, tmp_path):
    sky = tmp_path / "sky"
    with using_lsdb():
        frame = pq.read_table(sample).to_pandas(types_mapper=pd.ArrowDtype)
        written = lsdb.from_dataframe(frame, partition_rows=40, margin_threshold=None)
        written.write_catalog(sky, as_collection=False, progress_bar=False)
    os.link(sample.parent / "cutouts.npy", sky / "cutouts.npy")
    extract_here(sky, tmp_path / "out")
    check_catalogue(tmp_path / "out", local)
    with using_lsdb():
        made = lsdb.open_catalog(tmp_path / "out")
    assert made.get_healpix_pixels() == written.get_healpix_pixels()


def test_only_missing_partitions_are_made_again(sample, local, tmp_path):
    extract_here(sample, tmp_path / "out")
    parts = sorted((tmp_path / "out" / "dataset").rglob("Npix=*"))
    before = [path.stat().st_mtime_ns for path in parts]
    for name in ("features.json", "hats.properties"):
        (tmp_path / "out" / name).unlink()
    parts[2].unlink()
    left = parts[0].with_name(".Npix=5.parquet.0.partial")
    left.mkdir()
    (left / "Npix=5.parquet").write_bytes(b"of a killed worker")
    with pytest.raises(TableError, match="no finished features here"):
        Features.open(tmp_path / "out")
    extract_here(sample, tmp_path / "out")
    after = [path.stat().st_mtime_ns for path in parts]
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [2]
    assert not left.exists()
    check_catalogue(tmp_path / "out", local)


def test_another_extraction_in_the_folder_is_refused(sample, tmp_path):
    extract_here(sample, tmp_path / "out")
    with pytest.raises(TableError, match=r"another extraction \(precision differ"):
        extract_here(sample, tmp_path / "out", precision="bf16")
    with pytest.raises(TableError, match=r"another extraction \(sample differ"):
        extract_here(sample, tmp_path / "out", partition_rows=50)


def test_mistakes_are_one_line(sample, tmp_path, capsys):
    table = pq.read_table(sample)
    with pytest.raises(TableError, match="holds neither a HATS catalogue"):
        extract_here(tmp_path, tmp_path / "out")
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.drop_columns("votes"), tmp_path / "b.parquet")
    with pytest.raises(TableError, match=r"b\.parquet: its columns or their types are not those"):
        extract_here(tmp_path, tmp_path / "out")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(TableError, match="has no rows"):
        extract_here(tmp_path / "empty.parquet", tmp_path / "out")
    unknown = table.set_column(1, "survey", pa.array(["nosuch"] * 120))
    pq.write_table(unknown, tmp_path / "nosuch.parquet")
    with pytest.raises(SurveyError, match="unknown survey 'nosuch'"):
        extract_here(tmp_path / "nosuch.parquet", tmp_path / "out")
    command = ["extract", "--space", "decals", "--sample", str(tmp_path), "--out", "out"]
    assert main(command) == 2
    assert "is a folder; a HATS catalogue or a folder of tables needs --engine dask" in (
        capsys.readouterr().err
    )
    assert main([*command, "--engine", "spark"]) == 2
    assert "engine is one of local, dask, not 'spark'" in capsys.readouterr().err


def test_sample_and_features_can_be_in_a_store(sample, local, store):
    sky, out = "memory://sky", "memory://out"
    upload_folder(sample.parent, location(sky))
    extract_here(f"{sky}/sample.parquet", out)
    check_catalogue(out, local)
    parts = [name for name in store if name.startswith("/out/dataset/Norder=")]
    kept, gone = store[parts[0]], parts[1]
    for name in ("/out/features.json", "/out/hats.properties", gone):
        del store[name]
    extract_here(f"{sky}/sample.parquet", out)
    assert store[parts[0]] is kept and gone in store
    check_catalogue(out, local)


def test_a_catalogue_in_a_store_keeps_its_partitions(sample, local, tmp_path, store):
    with using_lsdb():
        table = pq.read_table(sample).to_pandas(types_mapper=pd.ArrowDtype)
        written = lsdb.from_dataframe(table, partition_rows=30, margin_threshold=None)
        written.write_catalog(tmp_path / "sky", as_collection=False, progress_bar=False)
    os.link(sample.parent / "cutouts.npy", tmp_path / "sky" / "cutouts.npy")
    upload_folder(tmp_path / "sky", location("memory://sky"))
    extract_here("memory://sky", "memory://out")
    check_catalogue("memory://out", local)
    made = partitions_of("memory://out")
    assert [tuple(part.pixel) for part in made] == [
        (p.order, p.pixel) for p in written.get_healpix_pixels()
    ]
    assert sum(part.n_rows for part in made) == len(local)


@pytest.mark.parametrize("option", ["--sample", "--out"])
def test_a_location_in_memory_is_refused_for_workers(sample, tmp_path, capsys, option):
    values = {"--sample": str(sample), "--out": str(tmp_path / "out"), option: "memory://sky"}
    options = [part for pair in values.items() for part in pair]
    assert main(["extract", "--space", "decals", *options, "--engine", "dask"]) == 2
    assert capsys.readouterr().err == (
        "galaxy-da: memory://sky: is in the memory of this process, where workers do not see it; "
        "give a path or a URL that all workers see, or engine local\n"
    )
    assert not (tmp_path / "out").exists()

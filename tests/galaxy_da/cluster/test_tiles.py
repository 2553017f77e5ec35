"""Extraction from tiles on Dask writes the parts of a local one."""

import json

import pyarrow.parquet as pq
import pytest

pytest.importorskip("dask", reason="needs the extra 'hats'")

from conftest import make_space
from tiles_helpers import catalogue, mosaic_of, write_tiles

from galaxy_da.cli import main
from galaxy_da.cluster.tiles import extract_tiles
from galaxy_da.errors import TableError
from galaxy_da.extraction import mosaic as local
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.mosaic import extract_mosaic

SETTINGS = ExtractSettings(precision="fp32")


@pytest.fixture
def tiles(tmp_path, monkeypatch):
    """Two tiles in parts of at most 16 rows."""
    monkeypatch.setattr(local, "_FEWEST_ROWS", 10)
    monkeypatch.setattr(local, "_MOST_ROWS", 16)
    return write_tiles(tmp_path)


def part_bytes(folder):
    return {path.name: pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))}


def test_parts_are_those_of_a_local_extraction(tiles, tmp_path):
    space, rows, mosaic = make_space(), catalogue(60), mosaic_of(tiles)
    here = extract_mosaic(space, mosaic, rows, tmp_path / "here", SETTINGS).table
    there = extract_tiles(
        space, mosaic, rows, tmp_path / "there", SETTINGS, scheduler="synchronous"
    ).table
    assert there.equals(here)
    assert part_bytes(tmp_path / "there") == part_bytes(tmp_path / "here")
    assert len(part_bytes(tmp_path / "here")) > 3
    assert set(there["object_id"].to_pylist()) == set(rows["object_id"].to_pylist())


def test_either_continues_what_the_other_began(tiles, tmp_path, monkeypatch):
    space, rows, mosaic, out = make_space(), catalogue(60), mosaic_of(tiles), tmp_path / "out"
    extract_mosaic(space, mosaic, rows, out, SETTINGS)
    whole = part_bytes(out)
    for run in (
        lambda: extract_tiles(space, mosaic, rows, out, SETTINGS, scheduler="threads"),
        lambda: extract_mosaic(space, mosaic, rows, out, SETTINGS),
    ):
        (out / "features.json").unlink()
        (out / "part-00001.parquet").unlink()
        kept = (out / "part-00002.parquet").stat().st_mtime_ns
        run()
        assert part_bytes(out) == whole
        assert (out / "part-00002.parquet").stat().st_mtime_ns == kept
    with pytest.raises(TableError, match="another extraction"):
        extract_tiles(space, mosaic, rows.slice(1), out, SETTINGS, scheduler="threads")


def test_each_tile_is_opened_for_one_part(tiles, tmp_path):
    rows = local.MosaicRows.of(mosaic_of(tiles), catalogue(60))
    assert [high for _, high in rows.spans[:-1]] == [low for low, _ in rows.spans[1:]]
    assert rows.spans[0][0] == 0 and rows.spans[-1][1] == 60
    assert all(high - low <= 16 for low, high in rows.spans)


@pytest.mark.slow
def test_the_verb_runs_on_workers_of_this_machine(tiles, tmp_path, capsys):
    make_space().save(tmp_path / "space")
    pq.write_table(catalogue(12), tmp_path / "catalogue.parquet")
    words = ["extract", "--space", tmp_path / "space", "--sample", tmp_path / "catalogue.parquet"]
    words += ["--mosaic", tiles, "--survey", "decals", "--precision", "fp32", "--json"]
    for name, more in (("there", ["--engine", "dask"]), ("here", [])):
        assert main([str(w) for w in (*words, "--out", tmp_path / name, *more)]) == 0
        assert json.loads(capsys.readouterr().out)["ok"] == 12
    here, there = (part_bytes(tmp_path / name) for name in ("here", "there"))
    columns = ["object_id", "status", "mag", "flags"]
    assert [t.select(columns) for t in here.values()] == [t.select(columns) for t in there.values()]

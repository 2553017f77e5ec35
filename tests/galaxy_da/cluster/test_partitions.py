"""Tables cut into pixels of the sky: every row once, in partitions of limited size."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from galaxy_da.cluster.partitions import PartitionSample, partitions_of
from galaxy_da.errors import TableError


def _write(path, n, seed, first=0, groups=40):
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[: n // 2], dec[: n // 2] = rng.uniform(-1, 1, (2, n // 2))
    table = pa.table(
        {
            "object_id": [f"g{first + i}" for i in range(n)],
            "survey": ["decals"] * n,
            "ra": ra % 360,
            "dec": dec,
            "image": [f"{first + i}".encode() for i in range(n)],
        }
    )
    pq.write_table(table, path, row_group_size=groups)
    return table


@pytest.fixture
def tables(tmp_path):
    return pa.concat_tables(_write(tmp_path / f"{i}.parquet", 700, i, 700 * i) for i in range(3))


def test_every_row_is_in_one_partition_and_in_its_pixel(tables, tmp_path):
    parts = partitions_of(tmp_path, 60)
    found = []
    for part in parts:
        rows = PartitionSample(part).catalog
        ra, dec = (np.asarray(rows[name]) * u.deg for name in ("ra", "dec"))
        pixels = lonlat_to_healpix(ra, dec, nside=2**part.pixel.order, order="nested")
        assert set(pixels) == {part.pixel.number}
        assert len(rows) == part.n_rows <= 60
        found += rows["object_id"].to_pylist()
    assert sorted(found) == sorted(tables["object_id"].to_pylist())
    firsts = [part.pixel.first for part in parts]
    assert firsts == sorted(firsts)


def test_pixels_have_the_largest_allowed_size(tables, tmp_path):
    pixels = {part.pixel: part.n_rows for part in partitions_of(tmp_path, 60)}
    ra, dec = (np.asarray(tables[name]) * u.deg for name in ("ra", "dec"))
    for order, number in pixels:
        if order:
            above = lonlat_to_healpix(ra, dec, nside=2 ** (order - 1), order="nested")
            assert (above == number // 4).sum() > 60


def test_batches_are_full_and_in_the_order_of_the_catalogue(tables, tmp_path):
    part = max(partitions_of(tmp_path, 200), key=lambda part: part.n_rows)
    sample = PartitionSample(part)
    for start, stop in ((0, None), (13, 90)):
        batches = list(sample.batches(16, start, stop))
        rows = pa.concat_tables(batches)
        assert rows["object_id"].to_pylist() == sample.catalog["object_id"].to_pylist()[start:stop]
        assert [f"g{image.decode()}" for image in rows["image"].to_pylist()] == rows[
            "object_id"
        ].to_pylist()
    assert {len(batch) for batch in list(sample.batches(16))[:-1]} == {16}


def test_by_default_there_are_64_partitions_or_more(tmp_path):
    _write(tmp_path / "t.parquet", 40_000, 0, groups=10_000)
    assert len(partitions_of(tmp_path / "t.parquet")) >= 64


def test_pixels_of_order_10_are_not_split(tmp_path):
    n = 50
    table = pa.table({"ra": np.full(n, 10.0), "dec": np.full(n, 1.0)})
    pq.write_table(table, tmp_path / "t.parquet")
    (part,) = partitions_of(tmp_path / "t.parquet", 10)
    assert part.n_rows == n


def test_tables_without_good_positions_are_refused(tmp_path):
    pq.write_table(pa.table({"ra": [10.0], "dec": [95.0]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet: the sample has no rows with a usable pos"):
        partitions_of(tmp_path / "t.parquet")
    pq.write_table(pa.table({"ra": [10.0]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet: has no ra and dec; it has ra"):
        partitions_of(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="no such table"):
        partitions_of(tmp_path / "nothing.parquet")

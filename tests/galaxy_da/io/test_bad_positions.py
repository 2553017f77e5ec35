"""Rows without a usable position get a status; the others keep their values."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, write_sample

from galaxy_da.commands.export import export
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.positions import position_problem, usable_positions
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex

BAD = {
    2: (None, 0.0, "ra is missing"),
    5: (np.nan, 0.0, "ra is nan"),
    7: (10.0, np.inf, "dec is inf"),
    11: (400.0, 0.0, "ra is 400; expected degrees in [0, 360]"),
    13: (200.0, -95.0, "dec is -95; expected degrees in [-90, 90]"),
}


@pytest.fixture
def spoilt(tmp_path):
    """Return a sample with bad positions, and the same one without them."""
    path = write_sample(tmp_path / "decals", blobs(20, 140, 0.262))
    good = pq.read_table(path)
    ra, dec = good["ra"].to_pylist(), good["dec"].to_pylist()
    for row, (x, y, _) in BAD.items():
        ra[row], dec[row] = x, y
    table = good.set_column(good.column_names.index("ra"), "ra", pa.array(ra, pa.float64()))
    table = table.set_column(good.column_names.index("dec"), "dec", pa.array(dec, pa.float64()))
    pq.write_table(table, path.with_name("spoilt.parquet"))
    return Sample(path.with_name("spoilt.parquet")), Sample(path)


def test_bad_rows_get_a_status_and_the_others_their_latents(space, spoilt):
    table, whole = (extract(space, sample).table for sample in spoilt)
    good = ~np.isin(np.arange(20), list(BAD))
    assert table.filter(pa.array(good)).equals(whole.filter(pa.array(good)))
    rows = table.filter(pa.array(~good))
    assert set(rows["status"].to_pylist()) == {"bad_position"}
    assert rows["embedding"].null_count == len(BAD)
    for message, (*_, expected) in zip(rows["message"].to_pylist(), BAD.values(), strict=True):
        assert message.startswith(expected)


def test_bad_rows_are_null_in_the_catalogue(spoilt):
    bad = np.isin(np.arange(20), list(BAD))
    for name in ("ra", "dec"):
        column = spoilt[0].catalog[name]
        np.testing.assert_array_equal(column.is_null(), bad)
        assert column.drop_null().to_pylist() == [
            value for value, out in zip(spoilt[1].catalog[name].to_pylist(), bad, strict=True)
            if not out
        ]  # fmt: skip


def test_bad_rows_are_not_in_an_index(space, spoilt):
    index = LatentIndex.build([extract(space, spoilt[0])])
    assert len(index) == 20 - len(BAD)


def test_bad_rows_are_left_out_of_hats_and_counted(space, spoilt, tmp_path, capsys):
    pytest.importorskip("lsdb", reason="needs the extra 'hats'")
    extract(space, spoilt[0], tmp_path / "features")
    export([tmp_path / "features"], tmp_path / "hats", json=True)
    assert '"left_out": 5' in capsys.readouterr().out
    files = (tmp_path / "hats" / "dataset").rglob("Npix=*.parquet")
    ids = [one for file in files for one in pq.read_table(file)["object_id"].to_pylist()]
    assert sorted(ids) == [f"decals-{i:04d}" for i in range(20) if i not in BAD]
    export([tmp_path / "features"], tmp_path / "all.parquet", json=True)
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 20


def test_partitions_leave_bad_rows_out(spoilt):
    pytest.importorskip("lsdb", reason="needs the extra 'hats'")
    from galaxy_da.cluster.partitions import PartitionSample, partitions_of

    parts = partitions_of(spoilt[0].path)
    found = [
        one for part in parts for one in PartitionSample(part).catalog["object_id"].to_pylist()
    ]
    assert sorted(found) == [f"decals-{i:04d}" for i in range(20) if i not in BAD]


@pytest.mark.parametrize(
    ("ra", "dec", "swapped"),
    [
        ([2.0], [95.0], True),
        ([40.0, 45.0, 50.0], [80.0, 95.0, 100.0], True),
        ([200.0, 45.0, 50.0], [100.0, 95.0, 100.0], True),
        ([40.0, 45.0, 50.0], [0.0, 95.0, 0.0], False),
        ([40.0, 245.0, 50.0, 60.0], [0.0, 95.0, 99.0, 1.0], False),
        ([40.0, 45.0, 50.0], [0.0, -999.0, -999.0], False),
    ],
)
def test_swapped_columns_are_refused_but_single_bad_rows_are_not(ra, dec, swapped):
    ra, dec = np.array(ra), np.array(dec)
    if swapped:
        with pytest.raises(CatalogError, match=r"here: dec reaches .* look swapped"):
            usable_positions(ra, dec, "here")
    else:
        problems = [position_problem(x, y) for x, y in zip(ra, dec, strict=True)]
        np.testing.assert_array_equal(
            usable_positions(ra, dec, "here"), [problem is None for problem in problems]
        )

"""Match catalogues in an object store that sometimes does not answer."""

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

from store_helpers import BUCKET, files, running_store

from catalogs.hats.matching import crossmatch_hats
from galaxy_da.io.hats.catalogues import to_hats
from galaxy_da.io.tables import read_pairs


@pytest.mark.slow
def test_pairs_equal_those_from_a_disk(tmp_path):
    ra, dec = np.random.default_rng(0).uniform(-2, 2, (2, 60))
    for name, offset in (("anchor", 12), ("target", 12 + 1e-5)):
        ids = [f"{name}-{row}" for row in range(60)]
        table = pa.table({"object_id": ids, "ra": ra + offset, "dec": dec})
        to_hats(table, tmp_path / name, margin_arcsec=20, partition_rows=20)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    with running_store(tmp_path / "cache") as store:
        for path in paths:
            files().put(str(path), f"{BUCKET}/{path.relative_to(tmp_path)}")
        with store.failing(0.03):
            for place in (str(tmp_path), f"s3://{BUCKET}"):
                crossmatch_hats(
                    f"{place}/anchor",
                    f"{place}/target",
                    f"{place}/pairs.parquet",
                    scheduler="synchronous",
                )
        assert store.refused > 0
        pairs = read_pairs(f"s3://{BUCKET}/pairs.parquet")
    assert pairs.num_rows == 60
    assert pairs.equals(read_pairs(tmp_path / "pairs.parquet"))

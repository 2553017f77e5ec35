import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.tables import read_metadata, read_pairs, with_metadata


def test_metadata_round_trip(tmp_path):
    table = with_metadata(pa.table({"anchor_id": ["a"]}), {"radius_arcsec": 1.0})
    pq.write_table(table, tmp_path / "p.parquet")
    assert read_metadata(pq.read_schema(tmp_path / "p.parquet")) == {"radius_arcsec": 1.0}
    with pytest.raises(GalaxyDAError, match="'target_id', 'separation_arcsec'"):
        read_pairs(tmp_path / "p.parquet")

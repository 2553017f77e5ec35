"""Extract in partitions, and compare catalogues with the features of one run."""

import lsdb
import numpy as np
import pyarrow as pa
from conftest import make_space

from galaxy_da.cluster.extraction import extract_partitions
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.storage import location


def extract_here(sample, out, scheduler="synchronous", *, precision="fp32", partition_rows=12):
    return extract_partitions(
        make_space(),
        sample,
        out,
        ExtractSettings(precision=precision),
        scheduler=scheduler,
        partition_rows=partition_rows,
    )


def check_catalogue(out, local):
    """Compare a catalogue, read by us and by LSDB, with the features of one run."""
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
    with using_lsdb():
        catalog = lsdb.open_catalog(location(out))
        frame = catalog.compute(progress_bar=False)
    assert sorted(frame["object_id"]) == table["object_id"].to_pylist()
    assert catalog.hc_structure.catalog_info.total_rows == len(local)
    assert list(frame.index) == sorted(frame.index)
    return features

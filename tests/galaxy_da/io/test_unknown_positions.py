"""Rows whose ``position_known`` is false have latents like any other, and no place on the sky."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, write_sample
from index_helpers import make, random_vectors

from galaxy_da.errors import CatalogError, TableError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.regions import to_ds9_regions
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.links import sky_links
from galaxy_da.surveys import get_survey

KNOWN = np.arange(12) % 3 > 0
PLACE = (150.0, 2.0)


def placed(folder, known=KNOWN):
    """Write a sample whose galaxies without a position all have one as a placeholder."""
    path = write_sample(folder, blobs(12, 140, 0.262), position_known=known)
    table = pq.read_table(path)
    for name, value in zip(("ra", "dec"), PLACE, strict=True):
        values = np.where(known, table[name].to_numpy(), value)
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, path)
    return Sample(path)


def test_latents_are_those_of_the_image_and_the_placeholder_is_gone(space, tmp_path):
    sample = placed(tmp_path / "placed")
    table = extract(space, sample).table
    plain = extract(space, Sample(write_sample(tmp_path / "plain", blobs(12, 140, 0.262)))).table
    assert table["embedding"].equals(plain["embedding"])
    for rows in (table, sample.catalog):
        np.testing.assert_array_equal(rows["ra"].is_null(), ~KNOWN)
        np.testing.assert_array_equal(rows["dec"].is_null(), ~KNOWN)


def test_no_position_need_be_known(space, tmp_path):
    sample = placed(tmp_path / "placed", known=np.zeros(12, bool))
    assert len(LatentIndex.build([extract(space, sample)])) == 12


def test_a_missing_position_is_still_refused_where_it_should_be_known():
    lost = make(
        "sdss", list(random_vectors(3)), ra=[1, None, 3], position_known=[False, True, True]
    )
    with pytest.raises(CatalogError, match="ra of row 0 is nan"):
        LatentIndex.build([lost])


def test_the_column_holds_true_or_false(tmp_path):
    path = write_sample(tmp_path / "numbers", blobs(2, 140, 0.262), position_known=[0, 1])
    with pytest.raises(TableError, match="'position_known' must hold true or false but holds int"):
        Sample(path)


@pytest.fixture
def index():
    """An index of two surveys on one sky; four galaxies of each share a placeholder."""
    ra, dec = (np.where(KNOWN, 10 + np.arange(12.0), value) for value in PLACE)
    vectors = list(random_vectors(12))
    sky = {"ra": ra, "dec": dec, "position_known": KNOWN}
    surveys = [make(name, vectors, **sky) for name in ("decals", "sdss")]
    return LatentIndex.build(surveys)


def test_they_are_in_no_cone_and_no_region(index):
    assert len(index.select(cone=(0, 0, 648_000))) == 2 * KNOWN.sum()
    assert to_ds9_regions(index.rows).count("circle(") == 2 * KNOWN.sum()
    with pytest.raises(Exception, match="no object within"):
        index.at_position(*PLACE)


def test_they_have_no_counterpart_and_no_twin_on_the_sky(index):
    assert index.same("sdss:id 0", radius_arcsec=5).num_rows == 0
    known = index.same("sdss:id 1", radius_arcsec=5)
    assert known["object_id"].to_pylist() == ["id 1"]
    assert known["percentile_same"].to_pylist() == [0.0]
    assert index.duplicates("sdss", arcsec=5).num_rows == 0


def test_twins_by_latents_have_a_separation_only_where_it_is_known():
    vectors = list(np.repeat(random_vectors(2), 2, axis=0))
    sky = {"ra": [10, 10.01, 10, 10], "dec": [0, 0, 5, 5]}
    features = make("sdss", vectors, position_known=[True, True, True, False], **sky)
    found = LatentIndex.build([features]).duplicates("sdss", distance=0.01)
    apart = dict(zip(found["object_id"].to_pylist(), found["separation_arcsec"].to_pylist(),
                     strict=True))  # fmt: skip
    assert apart["id 0"] == apart["id 1"] == pytest.approx(36)
    assert apart["id 2"] is apart["id 3"] is None


def test_no_page_of_the_sky_is_linked():
    assert sky_links(None, None, [get_survey("sdss")]) == []
    assert len(sky_links(*PLACE, [get_survey("sdss")])) == 3

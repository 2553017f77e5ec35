import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord

from catalogs.matching import crossmatch
from catalogs.matching.joining import join_catalogs, recentre
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata, validate_pairs

ANCHOR = pa.table(
    {
        "object_id": ["a0", "a1", "a2"],
        "ra": [10.0, 20.0, 30.0],
        "dec": [0.0, 0.0, 0.0],
        "mag": [15.0, 16.0, None],
        "anchor_id": [7, 8, 9],
    }
)
TARGET = pa.table(
    {
        "object_id": ["t0", "t1"],
        "ra": [20.0, 40.0],
        "dec": [0.5 / 3600, 0.0],
        "mag": [1.0, 2.0],
        "flux": [[1.0], [2.0]],
    }
)


def test_pairs_get_the_columns_of_both_sides():
    pairs = crossmatch(ANCHOR, TARGET, how="outer")
    joined = join_catalogs(pairs, ANCHOR, TARGET)
    validate_pairs(joined, "joined")
    assert joined.select(pairs.column_names).equals(pairs)
    assert read_metadata(joined.schema) == read_metadata(pairs.schema)
    assert joined["anchor_id"].to_pylist() == ["a0", "a1", "a2", None]
    assert joined["target_id"].to_pylist() == [None, "t0", None, "t1"]
    assert joined["mag_anchor"].to_pylist() == [15, 16, None, None]
    assert joined["mag_target"].to_pylist() == [None, 1, None, 2]
    assert joined["flux_target"].to_pylist() == [None, [1.0], None, [2.0]]
    assert joined["anchor_id_anchor"].to_pylist() == [7, 8, 9, None]
    assert joined["ra_target"].to_pylist() == [None, 20, None, 40]
    assert len(joined.column_names) == len(set(joined.column_names)) == 7 + 4 + 4


def test_pairs_of_another_catalogue_are_refused():
    pairs = crossmatch(ANCHOR, TARGET)
    with pytest.raises(CatalogError, match=r"target: 1 of 1 pairs name ids .* for example t0"):
        join_catalogs(pairs, ANCHOR, TARGET.slice(1))


def test_both_samples_are_centred_on_one_position():
    pairs = crossmatch(ANCHOR, TARGET, how="outer")
    samples = [recentre(ANCHOR, pairs, "anchor"), recentre(TARGET, pairs, "target")]
    assert [sample["object_id"].to_pylist() for sample in samples] == [["a1"], ["t0"]]
    for name in ("ra", "dec"):
        assert samples[0][name].equals(samples[1][name])
    first, second = (
        SkyCoord(s["ra_input"].to_numpy(), s["dec_input"].to_numpy(), unit="deg") for s in samples
    )
    middle = SkyCoord(samples[0]["ra"].to_numpy(), samples[0]["dec"].to_numpy(), unit="deg")
    np.testing.assert_allclose(first.separation(second).arcsec, 0.5)
    np.testing.assert_allclose(middle.separation(first).arcsec, 0.25, atol=1e-8)
    assert samples[0]["mag"].to_pylist() == [16]


def test_a_row_of_several_pairs_is_refused():
    twice = pa.concat_tables([TARGET, TARGET.set_column(0, "object_id", pa.array(["u0", "u1"]))])
    pairs = crossmatch(ANCHOR, twice, mode="all")
    with pytest.raises(CatalogError, match="anchor: 1 rows are in several pairs"):
        recentre(ANCHOR, pairs, "anchor")
    assert len(recentre(twice, pairs, "target")) == 2
    with pytest.raises(ValueError, match="side must be anchor or target but is 'left'"):
        recentre(ANCHOR, pairs, "left")
    with pytest.raises(CatalogError, match="target: already has dec_input, ra_input"):
        recentre(recentre(twice, pairs, "target"), pairs, "target")

"""DS9 regions, read back with astropy-regions."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from galaxy_da.errors import TableError
from galaxy_da.io.catalogue_output import write_catalogue
from galaxy_da.io.regions import RADIUS_ARCSEC, to_ds9_regions

regions = pytest.importorskip("regions", reason="astropy-regions is not installed")

IDS = ["1", "a b", "wei{r}d", 'quo"te']
TABLE = pa.table(
    {
        "survey": ["sdss", "sdss", "hsc", "hsc"],
        "object_id": IDS,
        "ra": [150.12345678, 0.0, 359.9999, 12.0],
        "dec": [2.5, -89.5, 1e-7, -0.25],
    }
)


def test_file_has_the_positions_radii_and_names(tmp_path):
    path = tmp_path / "galaxies.reg"
    assert write_catalogue(TABLE, path) == "DS9 regions"
    found = regions.Regions.read(path, format="ds9")
    assert_allclose([r.center.icrs.ra.deg for r in found], TABLE["ra"].to_numpy(), atol=1e-8)
    assert_allclose([r.center.icrs.dec.deg for r in found], TABLE["dec"].to_numpy(), atol=1e-8)
    assert {r.center.frame.name for r in found} == {"icrs"}
    assert_allclose([r.radius.to_value("arcsec") for r in found], RADIUS_ARCSEC)
    surveys = TABLE["survey"].to_pylist()
    assert [r.meta["text"] for r in found] == [
        f"{survey}:{one}" for survey, one in zip(surveys, IDS, strict=True)
    ]
    colours = [r.visual["edgecolor"] for r in found]
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_rows_without_a_position_are_left_out():
    table = TABLE.set_column(3, "dec", pa.array([np.nan, 91.0, None, -0.25]))
    (found,) = regions.Regions.parse(to_ds9_regions(table), format="ds9")
    assert_allclose(found.center.dec.deg, -0.25)


def test_table_without_positions_is_refused():
    with pytest.raises(TableError, match="column ra is missing; the table has survey, object_id"):
        to_ds9_regions(TABLE.drop_columns("ra"))

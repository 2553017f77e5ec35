import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

from astropy import units as u
from astropy.coordinates import SkyCoord

from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError, StorageError
from galaxy_da.io.hats.catalogues import add_margin, open_hats, to_hats
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.hats.partitions import list_partitions

MARGIN = 900.0


def _table(n=600, seed=1):
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(-6, 6, n) % 360, rng.uniform(-6, 6, n)
    dec[: n // 3] = 90 - rng.uniform(0, 3, n // 3)
    ra[: n // 3] = rng.uniform(0, 360, n // 3)
    ids = [f"g{row}" for row in range(n)]
    return pa.table({"object_id": ids, "ra": ra, "dec": dec, "g": rng.normal(size=n)})


def _partitions(catalog):
    """The rows of each pixel."""
    with using_lsdb():
        return {
            pixel: catalog.get_partition(pixel.order, pixel.pixel).compute(progress_bar=False)
            for pixel in catalog.get_healpix_pixels()
        }


def _check_margins(path, table, width):
    """Check that a margin holds all rows within its width of a row of its partition."""
    catalog = open_hats(path, width, ["object_id", "ra", "dec"])
    parts, margins = _partitions(catalog), _partitions(catalog.margin)
    assert len(parts) > 10
    home = {name: pixel for pixel, rows in parts.items() for name in rows["object_id"]}
    assert sorted(home) == sorted(table["object_id"].to_pylist())
    around = {pixel: set(rows["object_id"]) for pixel, rows in margins.items()}
    sky = SkyCoord(table["ra"], table["dec"], unit="deg")
    i, j, _, _ = sky.search_around_sky(sky, width * u.arcsec)
    names = table["object_id"].to_pylist()
    crossing = [(names[a], names[b]) for a, b in zip(i, j, strict=True)]
    crossing = [(a, b) for a, b in crossing if home[a] != home[b]]
    assert len(crossing) > 100
    assert all(b in around[home[a]] for a, b in crossing)
    assert not any(home.get(name) == pixel for pixel in around for name in around[pixel])


def test_partitions_hold_every_row_once_and_margins_all_near_rows(tmp_path):
    table = _table()
    path = to_hats(table, tmp_path / "sky", margin_arcsec=MARGIN, partition_rows=40)
    _check_margins(path, table, MARGIN)


def test_an_added_margin_holds_all_near_rows(tmp_path):
    table = _table()
    path = to_hats(table, tmp_path / "sky", margin_arcsec=300, partition_rows=40)
    with pytest.raises(CatalogError, match="needs a margin of 900 arcsec but has 300 arcsec"):
        open_hats(path, MARGIN)
    assert add_margin(path, MARGIN) == path / "sky_900arcs"
    _check_margins(path, table, MARGIN)
    with pytest.raises(StorageError, match="sky_900arcs: is there already"):
        add_margin(path, MARGIN)


def test_a_written_table_is_read_back(tmp_path):
    table = _table()
    again = read_catalog(to_hats(table, tmp_path / "sky", margin_arcsec=MARGIN, partition_rows=100))
    again = again.select(table.column_names).sort_by("object_id")
    assert again.equals(table.sort_by("object_id"))


def test_partitions_that_lack_rows_are_refused_with_both_numbers(tmp_path):
    path = to_hats(_table(), tmp_path / "sky", margin_arcsec=MARGIN, partition_rows=100)
    assert sum(part.n_rows for part in list_partitions(path)) == 600
    (properties,) = (path / "sky").glob("hats.properties")
    properties.write_text(properties.read_text().replace("hats_nrows=600", "hats_nrows=601"))
    with pytest.raises(CatalogError, match=r"state 601 rows \(hats_nrows\) but .* hold 600"):
        list_partitions(path)


def test_bad_tables_and_arguments_are_named(tmp_path):
    table = _table(30)
    for options in ({"margin_arcsec": 0}, {"partition_rows": 0}):
        with pytest.raises(ValueError, match="must be positive but are"):
            to_hats(table, tmp_path / "sky", **options)
    with pytest.raises(CatalogError, match="the table has no rows"):
        to_hats(table.slice(0, 0), tmp_path / "sky")
    swapped = pa.table({"object_id": ["g"], "ra": [10.0], "dec": [120.0]})
    with pytest.raises(CatalogError, match=r"sky: dec reaches 120 .* swapped"):
        to_hats(swapped, tmp_path / "sky")
    assert not any(tmp_path.iterdir())
    (tmp_path / "sky").mkdir()
    with pytest.raises(StorageError, match="sky: is there already"):
        to_hats(table, tmp_path / "sky")
    with pytest.raises(CatalogError, match="sky: is no HATS catalogue"):
        open_hats(tmp_path / "sky", 1.0)


def test_partitions_no_wider_than_the_margin_are_refused(tmp_path):
    path = to_hats(_table(), tmp_path / "sky", margin_arcsec=MARGIN, partition_rows=40)
    with pytest.raises(CatalogError, match="no margin of 40000 arcsec can be made"):
        add_margin(path, 40_000)
    assert [child.name for child in path.parent.iterdir()] == ["sky"]


def test_a_missing_library_names_the_extra():
    message = r"needs lsdb; install it with `pip install 'galaxy_da\[hats\]'`"
    with pytest.raises(CatalogError, match=message), using_lsdb():
        import no_such_library  # noqa: F401

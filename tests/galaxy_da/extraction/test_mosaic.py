"""Features cut from tiles are those of cutouts that astropy cuts from the same tiles."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from conftest import make_space
from tiles_helpers import (
    SCALE,
    SIDE,
    SIZE,
    catalogue,
    mosaic_of,
    tile_pixels,
    tile_wcs,
    write_tiles,
)  # fmt: skip

from galaxy_da.cli import main
from galaxy_da.errors import CutoutError, SurveyError, TableError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.mosaic import extract_mosaic
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features, part_path
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey


@pytest.fixture
def tiles(tmp_path):
    return write_tiles(tmp_path)


def cut_by_astropy(folder, table):
    """Sample table whose cutouts astropy cuts from the tile with the farthest edges."""
    side, names = round(SIZE / SCALE), []
    for i, (ra, dec) in enumerate(
        zip(table["ra"].to_pylist(), table["dec"].to_pylist(), strict=True)
    ):
        places = [tile_wcs(number).world_to_pixel_values(ra, dec) for number in range(2)]
        edge = [min(x, y, SIDE - 1 - x, SIDE - 1 - y) for x, y in places]
        number = int(np.argmax(edge))
        cuts = [Cutout2D(tile_pixels(number, band), places[number], side, tile_wcs(number))
                for band in "grz"]  # fmt: skip
        header = cuts[0].wcs.to_header()
        header["BANDS"] = "g,r,z"
        fits.PrimaryHDU(np.stack([cut.data for cut in cuts]), header).writeto(folder / f"{i}.fits")
        names.append(f"{i}.fits")
    columns = {"survey": ["decals"] * len(names), "cutout": names}
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


def test_features_equal_those_of_astropys_cutouts(tiles, tmp_path):
    space, table = make_space(), catalogue()
    found = extract_mosaic(space, mosaic_of(tiles), table, tmp_path / "features").table
    (tmp_path / "cut").mkdir()
    expected = extract(space, cut_by_astropy(tmp_path / "cut", table)).table
    assert set(zip(found["status"].to_pylist(), found["message"].to_pylist(), strict=True)) == {
        ("ok", None)
    }
    order = [found["object_id"].to_pylist().index(name) for name in table["object_id"].to_pylist()]
    found = found.take(order)
    assert found["mag"].to_pylist() == table["mag"].to_pylist()
    assert found["flags"].to_pylist() == expected["flags"].to_pylist()
    for name in ("embedding", "variance"):
        ours, theirs = (np.array(t[name].to_pylist()) for t in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_measurements_are_written_for_tiles_too(tiles, tmp_path):
    space, table, settings = make_space(), catalogue(), ExtractSettings(measured=True)
    found = extract_mosaic(space, mosaic_of(tiles), table, tmp_path / "features", settings).table
    (tmp_path / "cut").mkdir()
    expected = extract(space, cut_by_astropy(tmp_path / "cut", table), settings=settings).table
    names = [name for name in expected.column_names if name.startswith("measured_")]
    assert names
    order = [found["object_id"].to_pylist().index(name) for name in table["object_id"].to_pylist()]
    sizes = (t["measured_half_light_arcsec"].to_numpy() for t in (found.take(order), expected))
    np.testing.assert_allclose(*sizes, rtol=1e-3)
    assert set(names) <= set(found.column_names)


def test_masks_and_variance_of_a_patch_are_used(tmp_path):
    band = get_survey("rubin").band_names[2]
    pixels, mask = tile_pixels(0, "r") * 1000, np.zeros((SIDE, SIDE), np.int32)
    mask[200:204, 190:210] = 1 << 5
    head = tile_wcs(0).to_header()
    image = fits.ImageHDU(pixels, head, name="IMAGE")
    image.header["BUNIT"], image.header["FILTER"] = "nJy", band
    flags = fits.ImageHDU(mask, fits.Header({"MP_SAT": 5, "HIERARCH MP_DETECTED": 3}), name="MASK")
    variance = fits.ImageHDU(
        np.full_like(pixels, 400.0), fits.Header({"BUNIT": "nJy2"}), name="VARIANCE"
    )
    path = tmp_path / "patch-1.fits"
    fits.HDUList([fits.PrimaryHDU(), image, flags, variance]).writeto(path)
    mosaic = mosaic_of(str(tmp_path / "patch-*.fits"), "rubin")
    assert mosaic.assign(np.array([150.0]), np.array([2.0])).tolist() == [0]
    [cutout] = mosaic.cutouts(0, [{"ra": 150.0, "dec": 2.0}])
    position = tile_wcs(0).world_to_pixel_values(150.0, 2.0)
    side = round(SIZE / SCALE)
    wanted = Cutout2D(np.where(mask > 0, np.nan, pixels), position, side).data
    unit = get_survey("rubin").nanomaggy_per_unit
    np.testing.assert_allclose(cutout.pixels[0] * unit, wanted / 3630.78, rtol=1e-3, atol=1e-9)
    assert cutout.noise[0] * unit == pytest.approx(20 / 3630.78, rel=1e-3)


def test_rows_off_the_tiles_and_bad_positions_have_their_status(tiles, tmp_path):
    table = pa.table({"object_id": ["off", "far", "bad", "null", "in"],
                      "ra": [150.5, 330.0, 400.0, None, 150.0],
                      "dec": [2.0, -2.0, 0.0, 2.0, 2.0]})  # fmt: skip
    found = extract_mosaic(make_space(), mosaic_of(tiles), table, tmp_path / "features").table
    status = dict(zip(found["object_id"].to_pylist(), found["status"].to_pylist(), strict=True))
    assert status == {"off": "outside_footprint", "far": "outside_footprint",
                      "bad": "bad_position", "null": "bad_position", "in": "ok"}  # fmt: skip


def test_no_tiles_or_no_wcs_is_named(tmp_path):
    with pytest.raises(SurveyError, match="no such files"):
        _ = mosaic_of(str(tmp_path / "*-{band}.fits")).tiles
    fits.PrimaryHDU(np.ones((9, 9), np.float32)).writeto(tmp_path / "a-r.fits")
    with pytest.raises(SurveyError, match="no celestial WCS"):
        mosaic_of(str(tmp_path / "*-{band}.fits")).assign(np.zeros(1), np.zeros(1))


def test_a_broken_tile_spoils_its_rows_only(tiles, tmp_path):
    path = tmp_path / "brick-1-image-z.fits"
    path.write_bytes(path.read_bytes()[:-5000])
    mosaic, table = mosaic_of(tiles), catalogue(8)
    number = mosaic.assign(table["ra"].to_numpy(), table["dec"].to_numpy())
    for row, tile in zip(table.to_pylist(), number.tolist(), strict=True):
        [cutout] = mosaic.cutouts(tile, [row])
        assert isinstance(cutout, CutoutError) == (tile == 1)


def test_the_verb_reads_tiles_and_goes_on(tiles, tmp_path, capsys):
    make_space().save(tmp_path / "space")
    pq.write_table(catalogue(12), tmp_path / "catalogue.parquet")
    words = ["extract", "--space", str(tmp_path / "space"), "--sample"]
    words += [str(tmp_path / "catalogue.parquet"), "--mosaic", tiles, "--out", str(tmp_path / "f")]
    assert main(words) == 2
    for _ in range(2):
        assert main([*words, "--survey", "decals", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ok"] == 12
    assert Features.open(tmp_path / "f").table.num_rows == 12


@pytest.mark.parametrize("name", ["psf_fwhm_arcsec", "mag", "kind"])
def test_another_column_is_another_extraction(name, tiles, tmp_path):
    space, mosaic, out = make_space(), mosaic_of(tiles), tmp_path / "features"
    table = catalogue(6)
    table = table.append_column("psf_fwhm_arcsec", pa.array([1.2] * 6))
    table = table.append_column("kind", pa.array(["a", "b"] * 3).dictionary_encode())
    extract_mosaic(space, mosaic, table, out)
    again = pa.concat_tables([table.slice(0, 2), table.slice(2)]).replace_schema_metadata(
        {"a": "b"}
    )
    assert extract_mosaic(space, mosaic, again, out).table.num_rows == 6
    other = pa.array(["a", "c"] * 3).dictionary_encode() if name == "kind" else pa.array([2.0] * 6)
    changed = table.set_column(table.column_names.index(name), name, other)
    with pytest.raises(TableError, match=r"another extraction \(sample differ"):
        extract_mosaic(space, mosaic, changed, out)


def test_a_psf_that_is_not_positive_spoils_its_row(tiles, tmp_path):
    psf = pa.array([-1.0, float("nan"), 0.0, None, 1.2])
    table = catalogue(5).append_column("psf_fwhm_arcsec", psf)
    found = extract_mosaic(make_space(), mosaic_of(tiles), table, tmp_path / "features").table
    rows = {row["object_id"]: row for row in found.to_pylist()}
    assert [rows[f"g{i}"]["status"] for i in range(5)] == ["unreadable"] * 3 + ["ok"] * 2
    for i in range(3):
        assert "psf_fwhm_arcsec must be positive" in rows[f"g{i}"]["message"]


@pytest.mark.parametrize("name", ["ra", "dec", "psf_fwhm_arcsec"])
def test_numbers_written_as_text_are_read_and_other_text_is_refused(name, tiles, tmp_path):
    table, space, mosaic = catalogue(2), make_space(), mosaic_of(tiles)
    table = table.append_column("psf_fwhm_arcsec", pa.array([1.2, 1.2]))
    place, values = table.column_names.index(name), table[name].to_pylist()
    text = table.set_column(place, name, pa.array(list(map(str, values))))
    assert len(extract_mosaic(space, mosaic, text, tmp_path / "features").ok()) == 2
    wrong = table.set_column(place, name, pa.array(["1.0", "wide"]))
    with pytest.raises(TableError, match=rf"column '{name}' \(string\) is not double .*wide"):
        extract_mosaic(space, mosaic, wrong, tmp_path / "other")


def test_ids_that_are_lists_are_refused(tiles, tmp_path):
    table = catalogue(2).set_column(0, "object_id", pa.array([[1], [2]]))
    with pytest.raises(TableError, match=r"column 'object_id' \(list.*\) is not string"):
        extract_mosaic(make_space(), mosaic_of(tiles), table, tmp_path / "features")


def test_a_part_with_other_columns_is_named(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr("galaxy_da.extraction.mosaic._FEWEST_ROWS", 1)
    extract_mosaic(make_space(), mosaic_of(tiles), catalogue(12), tmp_path / "features")
    path = part_path(tmp_path / "features", 1)
    pq.write_table(pq.read_table(path).drop_columns("mag"), path)
    with pytest.raises(TableError, match=r"part-00001\.parquet: its columns .* \(differ in mag\)"):
        Features.open(tmp_path / "features")


@pytest.mark.parametrize("size", ["inf", "nan"])
def test_a_size_that_is_not_finite_is_refused(size, tiles, tmp_path, capsys):
    words = ["extract", "--space", "decals", "--sample", "none.parquet", "--mosaic", tiles]
    words += ["--survey", "decals", "--out", str(tmp_path / "f"), "--size-arcsec", size]
    assert main(words) == 2
    assert "Invalid value for '--size-arcsec'" in capsys.readouterr().err

"""Positions and ids of a catalogue that contradict the images are told."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from folder_helpers import DEC, DECALS, IDS, RA, N, header, planes, write

from catalogs.datasets import write_sample
from galaxy_da.io.samples import Sample

SKY = SkyCoord(RA, DEC, unit="deg")


def report_of(tmp_path, sky, ids=IDS, **options):
    """Write the folder's sample with a catalogue of `sky` positions and `ids`."""
    for i in range(N):
        if not (path := tmp_path / "images" / f"{IDS[i]}.fits").exists():
            write(path, planes(seed=i), header(i, DECALS))
    table = pa.table({"id": list(ids), "ra": sky.ra.deg, "dec": sky.dec.deg})
    csv.write_csv(table, tmp_path / "c.csv")
    out = tmp_path / "s.parquet"
    return write_sample(tmp_path / "images", out, "decals", catalog=tmp_path / "c.csv", **options)


@pytest.mark.parametrize("match", ["name", "auto"])
def test_right_positions_have_no_offset_and_no_warning(tmp_path, match):
    report = report_of(tmp_path, SKY, match=match)
    assert "warning" not in report
    assert report["offset"]["images with WCS"]["median_arcsec"] == pytest.approx(0, abs=0.001)


def test_hours_are_read_as_such_and_the_reading_is_told(tmp_path):
    table = pa.table({"id": IDS, "ra": SKY.ra.hourangle, "dec": SKY.dec.deg})
    csv.write_csv(table, tmp_path / "hours.csv")
    told = {}
    for unit in (None, "hourangle"):
        report = report_of(tmp_path, SKY, match="name")
        options = {"catalog": tmp_path / "hours.csv", "match": "name", "unit": unit}
        report = write_sample(
            tmp_path / "images", tmp_path / f"{unit}.parquet", "decals", **options
        )
        told[unit] = report["catalogue"], report["rows"]
    assert told[None] == ("object_id from id, ra from ra, dec from dec [deg]; frame icrs", 0)
    assert told["hourangle"][0].endswith("[deg, hourangle]; frame icrs")
    table = Sample(tmp_path / "hourangle.parquet").catalog
    found = SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    wanted = SKY[[IDS.index(key) for key in table["object_id"].to_pylist()]]
    assert len(found) == N and found.separation(wanted).arcsec.max() < 1e-6
    with pytest.raises(ValueError, match="unit and frame need a catalogue"):
        write_sample(tmp_path / "images", tmp_path / "x.parquet", "decals", unit="hourangle")


@pytest.mark.parametrize(("angle", "arcsec"), [(90, 10.0), (200, 5.0), (0, 1.0)])
def test_a_common_offset_is_measured_and_told(tmp_path, angle, arcsec):
    shifted = SKY.directional_offset_by(angle * u.deg, arcsec * u.arcsec)
    report = report_of(tmp_path, shifted, match="name")
    offset = report["offset"]["images with WCS"]
    assert offset["median_arcsec"] == pytest.approx(arcsec, abs=0.002)
    assert offset["median_east_arcsec"] == pytest.approx(
        arcsec * np.sin(np.radians(angle)), abs=0.01
    )
    assert offset["median_north_arcsec"] == pytest.approx(
        arcsec * np.cos(np.radians(angle)), abs=0.01
    )
    assert f"positions lie {arcsec:.3g} arcsec from the middles" in report["warning"]
    assert f"position angle {angle} deg" in report["warning"]


def test_offsets_in_all_directions_are_told(tmp_path):
    scattered = SKY.directional_offset_by(np.arange(N) * 60 * u.deg, 4 * u.arcsec)
    warning = report_of(tmp_path, scattered)["warning"]
    assert "half of the galaxies lie more than 4 arcsec from the middle" in warning


def test_offsets_of_a_pixel_are_not_told(tmp_path):
    scattered = SKY.directional_offset_by(np.arange(N) * 60 * u.deg, 0.25 * u.arcsec)
    assert "warning" not in report_of(tmp_path, scattered)


def test_permuted_ids_are_told_where_positions_decide(tmp_path):
    report = report_of(tmp_path, SKY, ids=np.roll(IDS, 1))
    assert report["match"] == "position" and report["rows"] == N
    assert f"names or headers of {N} of {N} images hold the id of another row" in report["warning"]
    refused = report_of(tmp_path, SKY, ids=np.roll(IDS, 1), match="name")
    assert refused["rows"] == 0
    assert "arcsec from the galaxy that name gives" in next(iter(refused["refused"]))


def test_permuted_ids_are_told_where_the_galaxies_share_images(tmp_path):
    close = SkyCoord(RA[0], DEC[0], unit="deg").directional_offset_by(
        np.arange(N) * 60 * u.deg, 3 * u.arcsec
    )
    for i in range(N):
        own = header(i, DECALS)
        own["CRVAL1"], own["CRVAL2"] = close[i].ra.deg, close[i].dec.deg
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), own)
    assert "warning" not in report_of(tmp_path, close, match="name")
    warning = report_of(tmp_path, close, ids=np.roll(IDS, 1), match="name")["warning"]
    assert f"another row of the catalogue is nearer to the middle of {N} of {N} images" in warning


def test_rows_without_a_usable_position_are_told_and_matched_by_name(tmp_path):
    table = pa.table({"id": IDS, "ra": [None, *RA[1:]], "dec": [*DEC[:-1], 95.0]})
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    csv.write_csv(table, tmp_path / "bad.csv")
    out = tmp_path / "s.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=tmp_path / "bad.csv")
    assert (report["rows"], report["match"]) == (N, "name")
    assert f"2 of {N} rows have no usable position" in report["warning"]

"""Files are matched to rows by name, header and position."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from astropy.io import fits
from folder_helpers import DEC, DECALS, IDS, RA, N, assert_right, header, planes, read_back, write

from catalogs.datasets import write_sample
from catalogs.datasets.file_matching import IdNames


@pytest.mark.parametrize("how", ["name", "header", "position", "auto"])
def test_each_way_to_match_finds_the_same_galaxies(how, tmp_path, catalogue):
    for i in range(N):
        name = IDS[i] if how == "name" else f"{i:04d}"
        place = i if how in ("position", "auto") else None
        cards = {"OBJECT": IDS[i].lower()} if how == "header" else {"OBJECT": "field 7"}
        write(tmp_path / "images" / f"{name}.fits", planes(seed=i), header(place, DECALS, **cards))
    out = tmp_path / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=catalogue, match=how)
    assert report["match"] == ("position" if how == "auto" else how)
    assert report["rows"] == N
    assert_right(out)


def test_without_a_catalogue_the_wcs_and_the_names_make_the_rows(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    write(tmp_path / "images" / "nowhere.fits", planes(), header(None, DECALS))
    out = tmp_path / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals")
    assert report["rows"] == N
    assert report["unmatched_files"] == ["nowhere.fits"]
    assert next(iter(report["refused"])) == "it has no WCS; give the positions by --catalog"
    assert_right(out)


def test_a_wcs_elsewhere_contradicts_a_name(tmp_path, catalogue):
    for i in range(N):
        place = (i + 1) % N if i < 2 else i
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(place, DECALS))
    report = write_sample(
        tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=catalogue, match="name"
    )
    assert report["rows"] == N - 2
    assert report["unmatched_files"] == [f"{IDS[0]}.fits", f"{IDS[1]}.fits"]
    assert set(report["unmatched_rows"]) == {IDS[0], IDS[1], "lost"}


def test_two_images_of_a_galaxy_are_not_chosen_between(tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    write(tmp_path / "images" / f"a_{IDS[0]}.fits", planes(), header(0, DECALS))  # not equal: left
    write(tmp_path / "images" / "b" / f"{IDS[1]}.fits", planes(), header(1, DECALS))
    report = write_sample(
        tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=catalogue, match="name"
    )
    assert report["rows"] == N - 1
    assert report["unmatched_rows"] == ["lost", IDS[1]] or set(report["unmatched_rows"]) == {
        "lost", IDS[1]
    }  # fmt: skip
    assert f"a_{IDS[0]}.fits" in report["unmatched_files"]


def test_the_nearest_galaxy_must_be_clearly_the_nearest(tmp_path):
    write(tmp_path / "images" / "one.fits", planes(), header(0, DECALS))
    near, far = 2 / 3600, 3 / 3600
    for second, matched in ((far, 0), (20 / 3600, 1)):
        table = pa.table(
            {"id": ["p", "q"], "ra": [RA[0]] * 2, "dec": [DEC[0] + near, DEC[0] - second]}
        )
        csv.write_csv(table, tmp_path / "pair.csv")
        report = write_sample(
            tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=tmp_path / "pair.csv"
        )
        assert (report["rows"], report["match"]) == (matched, "name" if not matched else "position")


def test_row_numbers_are_no_names(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{N - 1 - i}.fits", planes(seed=i), header(i, DECALS))
    csv.write_csv(pa.table({"ra": RA, "dec": DEC}), tmp_path / "bare.csv")
    out = tmp_path / "s.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=tmp_path / "bare.csv")
    assert report["match"] == "position"
    _, cutouts = read_back(out)
    for i, cutout in enumerate(cutouts):
        np.testing.assert_allclose(cutout.pixels, planes(seed=i), rtol=1e-6)


def test_ids_are_found_as_whole_words():
    names = IdNames(["12", "NGC 12", "J12+05", "J12-05", "007", "a", "A"])
    assert names.equal("J12-05") == 3
    assert names.within("decals_j12+05_g") == 2
    assert names.within("x-J12-05") == 3
    assert names.within("ngc_12.v2") == 1
    assert names.within("cutout_0012_r") == 0
    assert names.within("scale_0.12") is None
    assert names.within("abc12") is None
    assert names.within("12_and_7") is None
    assert names.within("only_a") is None  # a and A are not told apart
    assert names.within("obj7") is None and names.within("obj_7") == 4


def test_real_decals_files_are_matched_by_position(tmp_path, data):
    folder = data / "decals_fits"
    places = {}
    for path in sorted(folder.glob("*.fits")):
        if "incomplete" in path.name:
            continue
        head = fits.getheader(path)
        places.setdefault((round(head["CRVAL1"], 4), round(head["CRVAL2"], 4)), []).append(
            path.name
        )
    once = {sky: names[0] for sky, names in places.items() if len(names) == 1}
    (ra, dec) = np.array(list(once)).T
    table = pa.table({"name": [f"galaxy {i}" for i in range(len(once))], "ra": ra, "dec": dec})
    csv.write_csv(table, tmp_path / "c.csv")
    out = tmp_path / "sample.parquet"
    report = write_sample(folder, out, "decals", catalog=tmp_path / "c.csv")
    assert report["match"] == "position"
    catalog, cutouts = read_back(out)
    assert report["rows"] == len(catalog) >= 5
    for row, cutout in zip(catalog.to_pylist(), cutouts, strict=True):
        assert row["cutout"].endswith(once[row["ra"], row["dec"]])
        assert cutout.bands == DECALS
    assert any("truncated" in reason for reason in report["refused"])
    assert 0.4 < report["colours"]["g-r"]["median"] < 1.2

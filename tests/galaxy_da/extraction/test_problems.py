import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import blobs, make_space, pair_table, write_sample

from galaxy_da.cli import main
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.problems import count_problems
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey
from training.adaptation import adapt


def test_messages_that_differ_in_numbers_or_names_are_of_one_kind():
    problems = [
        ("no_data", "ra 150.00000, dec -2.50000 lies at pixel (4, 17) of a 9 x 9 stamp"),
        ("no_data", "ra 1.50000, dec 2.50000 lies at pixel (-4e+05, 7) of a 9 x 9 stamp"),
        ("unreadable", "cut_1.fits: No such file or directory"),
        ("unreadable", "other.fits: No such file or directory"),
        ("unreadable", "images.npy#12: No such file or directory"),
        ("failed_quality", "band g is blank"),
        *[("unreadable", f"kind {letter}") for letter in "abcd"],
    ]
    counted = count_problems(problems)
    assert list(counted.values())[:2] == [
        {"rows": 3, "status": "unreadable"}, {"rows": 2, "status": "no_data"}
    ]  # fmt: skip
    assert next(iter(counted)) == "cut_1.fits: No such file or directory"
    assert sum(item["rows"] for item in counted.values()) == len(problems)
    assert list(counted)[-1] == "others" and len(counted) == 6
    assert count_problems([]) == {}


def run(folder, sample, capsys, *more):
    make_space().save(folder / "space")
    options = ["--space", folder / "space", "--sample", sample, "--out", folder / "features", *more]
    status = main(["extract", *map(str, options)])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_extract_counts_the_reasons_and_ends_with_one(tmp_path, capsys, as_json):
    sample = write_sample(tmp_path / "s", blobs(5, 140, 0.262), cutout=["a.fits"] * 3 + ["b", "c"])
    (sample.parent / "b").write_bytes(b"hello")
    status, text = run(tmp_path, sample, capsys, *(["--json"] if as_json else []))
    assert status == 1
    if as_json:
        printed = json.loads(text)
        assert printed["rows"] == printed["unreadable"] == 5
        assert {"rows": 4, "status": "unreadable"} in printed["problems"].values() or {
            "rows": 3, "status": "unreadable"
        } in printed["problems"].values()  # fmt: skip
    else:
        assert "unreadable  5" in text and "a.fits: No such file" in text
        assert "not a readable FITS, JPEG or PNG" in text


def test_extract_with_one_usable_row_ends_well(tmp_path, capsys):
    sample = write_sample(
        tmp_path / "s", blobs(2, 140, 0.262), cutout=["cutouts.npy#0", "cutouts.npy#9"]
    )
    status, text = run(tmp_path, sample, capsys)
    assert status == 0
    assert "ok          1" in text and "cutouts.npy#9" in text


def test_adapt_without_a_usable_pair_says_why(tmp_path):
    n = 40
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n)}
    images = blobs(n, 90, 0.4)
    first = write_sample(tmp_path / "a", images, bands=["g,r,z"] * n, **place)
    second = write_sample(tmp_path / "b", images, "sdss", cutout=["gone.fits"] * n, **place)
    pairs = pair_table(*(pq.read_table(path)["object_id"].to_pylist() for path in (first, second)))
    settings = {"survey": get_survey("sdss")}
    with pytest.raises(
        CatalogError, match=r"no readable cutout \(40 of 40: gone\.fits: No such fil"
    ):
        adapt(make_space(), Sample(first), Sample(second), pairs, **settings)
    half = write_sample(
        tmp_path / "c", images, "sdss", bands=["g,r,z"] * n, **place,
        cutout=["cutouts.npy#0"] + ["gone.fits"] * (n - 1),
    )  # fmt: skip
    with pytest.raises(
        CatalogError, match=r"only \d usable .*; 39 of 40 cutouts of sample\.parquet "
    ):
        adapt(make_space(), Sample(first), Sample(half), pairs, **settings)
    with pytest.raises(CatalogError, match=r"only \d+ usable cutouts"):
        adapt(make_space(), Sample(first), Sample(half), **settings)

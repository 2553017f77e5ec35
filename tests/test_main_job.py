"""The main job through the command line, with a survey nobody built in and no line of code."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from galaxy_da.cli import SECTIONS, main

MINE = """
name = "mine"
title = "A two-band camera"
pixel_scale_arcsec = 0.339
flux_unit = "count"
zeropoint_mag = 30
[[bands]]
name = "B"
wavelength_nm = 470
psf_fwhm_arcsec = 1.2
depth_mag = 24.5
[[bands]]
name = "I"
wavelength_nm = 800
psf_fwhm_arcsec = 1.0
depth_mag = 23.5
"""


def run(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    assert status == 0, out.err
    return out.out


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A small sky seen by DECaLS and by a camera described in a TOML file."""
    folder = tmp_path_factory.mktemp("sky")
    (folder / "mine.toml").write_text(MINE)
    status = main(
        ["simulate", "--surveys", "decals", "--survey-file", str(folder / "mine.toml"),
         "--n", "420", "--seed", "4", "--out", str(folder)]
    )  # fmt: skip
    assert status == 0
    return folder


def test_a_new_survey_needs_a_file_and_no_code(sky, capsys):
    anchor, mine = sky / "decals/sample.parquet", sky / "mine/sample.parquet"
    assert set(pq.read_table(mine)["bands"].to_pylist()) == {"B,I"}
    pairs, space, index = sky / "pairs.parquet", sky / "space", sky / "index"

    matched = json.loads(run(capsys, "crossmatch", anchor, mine, "--out", pairs, "--json"))
    truth = pq.read_table(sky / "pairs-decals-mine.parquet")
    true = set(zip(truth["anchor_id"].to_pylist(), truth["target_id"].to_pylist(), strict=True))
    table = pq.read_table(pairs)
    found = set(zip(table["anchor_id"].to_pylist(), table["target_id"].to_pylist(), strict=True))
    assert len(found & true) > 0.98 * len(true)
    assert len(found - true) <= 2
    assert matched["n_pairs"] == len(found)

    adapted = json.loads(
        run(capsys, "adapt", "--space", "decals", "--anchor", anchor, "--target", mine,
            "--pairs", pairs, "--survey", sky / "mine.toml", "--steps", 10, "--out", space,
            "--json")
    )  # fmt: skip
    assert adapted["surveys"] == "decals, mine"
    scores = adapted["candidates"]
    best = scores[adapted["chosen"]]["mean_reciprocal_rank"]
    assert best >= scores["by definition"]["mean_reciprocal_rank"]

    for name, sample in (("decals", anchor), ("mine", mine)):
        got = json.loads(
            run(capsys, "extract", "--space", space, "--sample", sample, "--out", sky / name / "f",
                "--json")
        )  # fmt: skip
        assert got["ok"] > 0.95 * got["rows"]
        read = got["surveys"][name]["read"]
        assert read.startswith("adapted with") if name == "mine" else read == "by definition"
    run(capsys, "index", sky / "decals/f", sky / "mine/f", "--out", index)

    key = f"mine:{table['target_id'][0].as_py()}"
    nearest = json.loads(
        run(capsys, "similar", index, "--id", key, "-k", 20, "--in", "decals", "--json")
    )["rows"]
    assert len(nearest) == 20
    assert {row["survey"] for row in nearest} == {"decals"}
    assert np.all(np.diff([row["distance"] for row in nearest]) >= 0)

    row = pq.read_table(mine).slice(0, 1).to_pylist()[0]
    by_position = json.loads(
        run(capsys, "similar", index, "--position", row["ra"], row["dec"], "-k", 1, "--json")
    )["rows"]
    assert len(by_position) == 1

    apart = json.loads(
        run(capsys, "distances", index, "--pairs", pairs, "--anchor", "decals", "--target", "mine",
            "--json")
    )  # fmt: skip
    assert apart["ratio"] < 1 and apart["auc"] > 0.6
    odd = json.loads(run(capsys, "outliers", index, "--survey", "mine", "-k", 7, "--json"))["rows"]
    assert [row["rank"] for row in odd if row["ranking"] == "strange galaxy"] == list(range(1, 8))

    run(capsys, "evaluate", "--space", space, "--anchor", anchor, "--target", mine, "--pairs",
        pairs, "--repeat", sky / "decals-repeat/sample.parquet", "--repeat-pairs",
        sky / "pairs-decals-decals-repeat.parquet", "--out", sky / "report")  # fmt: skip
    metrics = json.loads((sky / "report/metrics.json").read_text())["surveys"]["mine"]
    assert metrics["chosen"] == adapted["chosen"]
    ceiling = metrics["ceiling"]["recall_at_1"]
    assert 0 <= metrics["by_definition"]["recall_at_1"] <= ceiling + 0.05 <= 1.05  # by chance
    assert "<html" in (sky / "report/report.html").read_text()


@pytest.fixture(scope="module")
def indexed(sky):
    """Index of the anchor sample."""
    sample, features, index = sky / "decals/sample.parquet", sky / "plain", sky / "plain-index"
    words = ["extract", "--space", "decals", "--sample", str(sample), "--out", str(features)]
    assert main(words) == 0
    assert main(["index", str(features), "--out", str(index)]) == 0
    return index


def test_an_image_file_finds_itself(sky, indexed, tmp_path, capsys):
    from astropy.io import fits

    row = pq.read_table(sky / "decals/sample.parquet").slice(3, 1).to_pylist()[0]
    cube = np.load(sky / "decals/cutouts.npy", mmap_mode="r")[int(row["cutout"].split("#")[1])]
    fits.PrimaryHDU(np.array(cube), fits.Header({"BANDS": "grz"})).writeto(tmp_path / "s.fits")
    (first,) = json.loads(
        run(capsys, "similar", indexed, "--image", tmp_path / "s.fits", "--survey", "decals",
            "--space", "decals", "-k", 1, "--json")
    )["rows"]  # fmt: skip
    assert first["object_id"] == row["object_id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["surveys", "sdds"], "unknown survey 'sdds'"),
        (["extract", "--space", "nowhere", "--sample", "x", "--out", "y"], "no latent space here"),
        (["extract", "--space", "decals", "--sample", "x.parquet", "--out", "y"], "no such table"),
        (["index", "nothing", "--out", "i"], "no finished features here"),
        (["similar", "nothing", "--id", "a:b"], "nothing"),
        (["pretrain", "nosuch", "--out", "s"], "no such recipe"),
        (["simulate", "--surveys", "decals,nosuch", "--out", "s"], "unknown survey 'nosuch'"),
        (["crossmatch", "a.fits", "b.fits", "--out", "p"], "a.fits"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [["similar", "i"], ["nosuchverb"], ["extract", "--sample", "x"]])
def test_wrong_usage_is_exit_2(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2


def test_every_verb_explains_itself_with_an_example(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    verbs = [name for names in SECTIONS.values() for name in names]
    assert all(f"\n{title}:\n" in text for title in SECTIONS)
    assert all(f"\n  {verb} " in text for verb in verbs)
    for verb in verbs:
        assert main([verb, "--help"]) == 0
        assert f"Example: galaxy-da {verb}" in capsys.readouterr().out


def test_an_index_of_another_space_is_refused(indexed, tmp_path, capsys):
    from conftest import make_space

    make_space().save(tmp_path / "other")
    cube = tmp_path / "s.npy"
    np.save(cube, np.zeros(3))
    status = main(
        ["similar", str(indexed), "--image", str(cube), "--survey", "decals", "--space",
         str(tmp_path / "other")]
    )  # fmt: skip
    assert status == 2
    assert "space" in capsys.readouterr().err


def test_no_overlap_between_catalogues(sky, tmp_path, capsys):
    table = pq.read_table(sky / "mine/sample.parquet")
    south = table.set_column(
        table.column_names.index("dec"), "dec", [np.asarray(table["dec"]) - 45.0]
    )
    pq.write_table(south, tmp_path / "south.parquet")
    words = ["crossmatch", sky / "decals/sample.parquet", tmp_path / "south.parquet", "--out", "p"]
    assert main([str(word) for word in words]) == 2
    assert "no pairs within 1 arcsec" in capsys.readouterr().err.strip().splitlines()[-1]

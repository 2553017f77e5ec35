import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from catalogs.commands.crossmatch import crossmatch
from catalogs.commands.select import select
from galaxy_da.cli import main
from galaxy_da.images.cutouts import read_cutouts
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.surveys import get_survey


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(100, 140, 50), rng.uniform(-20, 20, 50)
    galactic = SkyCoord(ra, dec, unit="deg").galactic
    Table({"name": [f"a{k}" for k in range(50)], "alpha": ra, "DEC": dec}).write(tmp_path / "a.csv")
    Table(
        {"id": np.arange(50), "GLON": galactic.l.deg, "GLAT": galactic.b.deg, "e": [0.1] * 50}
    ).write(tmp_path / "t.csv")
    return tmp_path


def _run(folder, *options):
    paths = [str(folder / name) for name in ("a.csv", "t.csv")]
    return main(["crossmatch", *paths, "--out", str(folder / "p.parquet"), *options])


def test_columns_are_named_by_side_and_reported(files, capsys):
    assert _run(files, "--ra", "alpha,", "--json") == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["n_pairs"] == 50
    assert (result["n_anchor_unmatched"], result["n_target_unmatched"]) == (0, 0)
    assert result["anchor_catalog"]["columns"] == {"object_id": "name", "ra": "alpha", "dec": "DEC"}
    assert result["target_catalog"]["frame"] == "galactic"
    assert (
        "anchor: a.csv: object_id from name, ra from alpha, dec from DEC [deg]; frame icrs"
        in said.err
    )
    assert "note: 50 of 50 pairs have one position" in said.err
    assert len(read_pairs(files / "p.parquet")) == 50


def test_every_option_reaches_the_match(files, capsys):
    options = ["--ra", "alpha,", "--join", "--how", "outer", "--mode", "nearest", "--error", ",e"]
    options += [
        "--error-unit",
        ",arcsec",
        "--sigmas",
        "3",
        "--min-radius",
        "0",
        "--epoch",
        "2016",
        "--reference-epoch",
        "2000",
    ]
    assert _run(files, *options) == 0
    assert "there are no proper motions: positions are not moved to 2016" in capsys.readouterr().err
    pairs = pq.read_table(files / "p.parquet")
    assert {"alpha_anchor", "GLON_target", "ra_anchor", "ra_target"} < set(pairs.column_names)


def test_a_table_of_a_file_is_chosen_and_unmatched_rows_are_printed(tmp_path, capsys):
    part = {"ra": [10.0, 11.0, 12.0], "dec": [1.0, 2.0, 3.0]}
    hdus = [fits.table_to_hdu(Table({"id": ["x", "y", "z"], **part})) for _ in range(2)]
    hdus[0].name, hdus[1].name = "STARS", "GALAXIES"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "t.fits")
    Table({"id": ["a", "b"], "ra": [10.0001, 12.0], "dec": [1.0, 3.0001]}).write(tmp_path / "a.csv")
    anchor, target, out = (str(tmp_path / name) for name in ("a.csv", "t.fits", "p.parquet"))
    match = ["crossmatch", anchor, "--out", out]
    assert main([*match, target]) == 2
    assert "holds 1 STARS (columns: 3), 2 GALAXIES (columns: 3)" in capsys.readouterr().err
    for arguments in ([target, "--table", ",GALAXIES"], [f"{target}#GALAXIES"]):
        assert main([*match, *arguments]) == 0
        assert "unmatched" in (said := capsys.readouterr().out)
        assert "0 anchor and 1 target rows" in said


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--mode", "best"], "mode must be one of mutual, nearest, all but is 'best'"),
        (["--engine", "gpu"], "engine is one of local, dask, not 'gpu'"),
        (
            ["--engine", "dask", "--ra", "alpha,", "--how", "left"],
            "--ra, --how cannot be used with --engine dask",
        ),
        (["--scheduler", "tcp://x:1"], "--scheduler cannot be used with --engine local"),
        (["--how", "right"], "how must be one of inner, left, outer but is 'right'"),
        (["--ra", "a,b,c"], "ra takes one value or ANCHOR,TARGET, not 'a,b,c'"),
        (["--ra", "alpha,", "--frame", ",fk9"], "frame 'fk9' is not known"),
        (
            ["--ra", "alpha,", "--reference-epoch", "now"],
            "reference-epoch is a Julian year such as 2016.0, not 'now'",
        ),
        (["--ra", "alpha,", "--min-radius", "2"], "min_radius_arcsec must be in [0, 1)"),
        ([], "there is no column for ra; it has name, alpha, DEC"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(files, capsys, options, line):
    assert _run(files, *options) == 2
    assert line in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (files / "p.parquet").exists()


def test_the_dask_engine_gives_the_same_pairs(files):
    hats = pytest.importorskip("galaxy_da.io.hats.catalogues")
    pytest.importorskip("lsdb")
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(100, 140, 50), rng.uniform(-20, 20, 50)
    for name in "at":
        ids = [f"{name}{k}" for k in range(50)]
        table = pa.table({"object_id": ids, "ra": ra, "dec": dec + 1e-5 * (name == "t")})
        pq.write_table(table, files / f"{name}.parquet")
        hats.to_hats(table, files / name)
    pairs = {}
    for engine, ending, more in (("local", ".parquet", []), ("dask", "", ["synchronous"])):
        options = ["--engine", engine, *(["--scheduler", *more] if more else [])]
        paths = [str(files / f"{name}{ending}") for name in "at"]
        assert main(["crossmatch", *paths, "--out", str(files / "p.parquet"), *options]) == 0
        rows = read_pairs(files / "p.parquet").select(["anchor_id", "target_id", "ra"]).to_pylist()
        pairs[engine] = sorted(rows, key=lambda row: row["anchor_id"])
    assert pairs["dask"] == pairs["local"]
    assert len(pairs["local"]) == 50


def test_select_writes_one_class(tmp_path, capsys):
    votes = {
        "smooth-or-featured_smooth_fraction": [0.9, 0.6],
        "how-rounded_round_fraction": [0.9, 0.9],
    }
    table = pa.table({"object_id": ["1", "2"], "ra": [1.0, 2.0], "dec": [3.0, 4.0], **votes})
    pq.write_table(table, tmp_path / "gz.parquet")
    select(tmp_path / "gz.parquet", preset="smooth-round", out=tmp_path / "round.parquet")
    assert pq.read_table(tmp_path / "round.parquet")["object_id"].to_pylist() == ["1"]
    assert "n_selected  1" in capsys.readouterr().out


def test_examples_in_the_help_are_verbs():
    for verb in (crossmatch, select):
        assert f"Example: galaxy-da {verb.__name__} " in verb.__doc__


def test_both_cutouts_are_centred_on_one_sky(tmp_path):
    """A star at one place, listed 0.8 arcsec off by one survey, lies in both stamps alike."""
    for name, scale, shift in (("decals", 0.262, 0.0), ("sdss", 0.396, 0.8)):
        folder = tmp_path / name
        folder.mkdir()
        place = np.array([[30.0, 1.0], [31.0, 1.0]])
        for k, (ra, dec) in enumerate(place):
            wcs = WCS(naxis=2)
            wcs.wcs.ctype, wcs.wcs.crval = ("RA---TAN", "DEC--TAN"), (ra, dec)
            wcs.wcs.crpix, wcs.wcs.cdelt = (65.5, 65.5), (-scale / 3600, scale / 3600)
            offset = (np.indices((128, 128)) - 64.5) * scale
            star = np.exp(-(offset**2).sum(0) / 2 / 0.7**2).astype(np.float32)
            header = wcs.to_header()
            header["BANDS"] = "grz"
            fits.PrimaryHDU(np.stack([star] * 3), header).writeto(folder / f"{k}.fits")
        table = pa.table(
            {
                "object_id": [f"{name}-one", f"{name}-two"],
                "survey": [name] * 2,
                "ra": place[:, 0],
                "dec": place[:, 1] + shift / 3600,
                "bands": ["g,r,z"] * 2,
                "cutout": ["0.fits", "1.fits"],
            }
        )
        pq.write_table(table, folder / "sample.parquet")
    paths = [str(tmp_path / name / "sample.parquet") for name in ("decals", "sdss")]
    out = ["--out", str(tmp_path / "p.parquet"), "--centred", str(tmp_path / "centred")]
    assert main(["crossmatch", *paths, *out]) == 0
    middles = []
    for side, survey in (("anchor", "decals"), ("target", "sdss")):
        sample = Sample(tmp_path / "centred" / f"{side}.parquet")
        definition = get_survey(survey)
        cutouts = read_cutouts(sample.catalog, sample.folder, definition)
        frame = Frame()
        images = prepare(cutouts, definition, frame, ("g", "r", "z")).images[:, 1].numpy()
        grid = (np.arange(frame.pixels) - (frame.pixels - 1) / 2) * frame.pixel_scale_arcsec
        flux = np.sinh(images)
        middles.append([(flux.sum(axis) * grid).sum(1) / flux.sum((1, 2)) for axis in (1, 2)])
    np.testing.assert_allclose(middles[0], middles[1], atol=0.02)
    np.testing.assert_allclose(middles[0][1], -0.4, atol=0.02)  # north of it by half the offset


def test_catalogues_without_cutouts_cannot_be_centred(files, capsys):
    assert _run(files, "--ra", "alpha,", "--centred", str(files / "centred")) == 2
    assert "anchor: has neither cutout nor image" in capsys.readouterr().err
    assert not (files / "p.parquet").exists()

"""Every verb says what Python says: same options, same rows."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import blobs, make_space, write_sample
from index_helpers import make, random_vectors
from PIL import Image
from query_helpers import pair_table
from typer.testing import CliRunner

from galaxy_da import cli
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.index import Subset
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.interpolation import draw_strip
from galaxy_da.space import LatentSpace

AWKWARD = ["a,b", "ü:1", 'quo"te', " lead", "-k", "x=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "index"
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(10, 10.2, 200), rng.uniform(-0.1, 0.1, 200)
    ids = AWKWARD + [f"id {i}" for i in range(194)]
    features = [
        make(
            survey,
            list(random_vectors(200, 4, seed)),
            ids=ids,
            ra=ra,
            dec=dec + 0.2 / 3600,
            encoder=survey,
            z=pa.array(rng.uniform(size=200)),
        )
        for seed, survey in enumerate(("decals", "sdss"))
    ]
    LatentIndex.build(features).save(path)
    return path


@pytest.fixture(scope="module")
def index(folder):
    return LatentIndex.open(folder)


def run(verb, *arguments):
    return CliRunner().invoke(cli._shell, [verb, *map(str, arguments)])


def rows(verb, *arguments):
    result = run(verb, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["rows"]


FILTERS = ["--where", "z < 0.7", "--cone", "10.1", "0", "300"]
SUBSET = Subset(where="z < 0.7", cone=(10.1, 0.0, 300.0))


def test_similar(folder, index):
    for name in AWKWARD:
        key = f"sdss:{name}"
        expected = index.similar(key, 5, "decals", within=SUBSET).to_pylist()
        assert (
            rows("similar", folder, f"--id={key}", "-k", 5, "--in", "decals", *FILTERS) == expected
        )
    options = ["--like", "sdss:id 1", "--like=decals:-k", "--dislike", "decals:id 3"]
    expected = index.similar(["sdss:id 1", "decals:-k"], dislike=["decals:id 3"], within=SUBSET)
    assert rows("similar", folder, *options, *FILTERS) == expected.to_pylist()


def test_similar_to_a_position_and_a_vector(folder, index, tmp_path):
    ra, dec = (index.rows[name][index.row("sdss:id 3")].as_py() for name in ("ra", "dec"))
    expected = index.similar(index.at_position(ra, dec), survey="decals").to_pylist()
    assert rows("similar", folder, "--position", ra, dec, "--in", "decals") == expected
    vector = index.vectors[7] + 0.125
    np.save(tmp_path / "v.npy", vector)
    np.savetxt(tmp_path / "v.txt", vector)
    for name in ("v.npy", "v.txt"):
        assert rows("similar", folder, "--vector", tmp_path / name) == (
            index.similar(vector).to_pylist()
        )
    (tmp_path / "no.txt").write_text("a b")
    assert "is no vector of numbers" in str(
        run("similar", folder, "--vector", tmp_path / "no.txt").exception
    )


def test_distances(folder, index, tmp_path):
    pairs = pair_table([(name, name) for name in AWKWARD])
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    options = ["--pairs", tmp_path / "pairs.parquet", "--anchor", "decals", "--target", "sdss"]
    done = run("distances", folder, *options, "--out", tmp_path / "d.parquet", "--json")
    assert done.exit_code == 0, done.output
    expected = index.distances(pairs, anchor="decals", target="sdss")
    assert pq.read_table(tmp_path / "d.parquet").equals(expected.table)
    summary = read_metadata(expected.schema)
    assert json.loads(done.stdout) == {**summary, "table": str(tmp_path / "d.parquet")}


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A space, a sample of blobs and the index of their features, all on disk."""
    path = tmp_path_factory.mktemp("sky")
    space = make_space(nuisance_latents=2)
    space.save(path / "space")
    sample = Sample(write_sample(path / "decals", blobs(8, 132, 0.262)))
    LatentIndex.build([extract(space, sample, settings=ExtractSettings(precision="fp32"))]).save(
        path / "index"
    )
    return path


def test_similar_to_an_image_file(sky, tmp_path):
    index = LatentIndex.open(sky / "index")
    pixels = np.load(sky / "decals" / "cutouts.npy")[3]
    fits.writeto(tmp_path / "three.fits", pixels)
    options = ["--image", tmp_path / "three.fits", "--survey", "decals", "--space", sky / "space"]
    found = rows("similar", sky / "index", *options, "-k", 2)
    assert found[0]["object_id"] == "decals-0003"
    assert found[0]["distance"] < 0.05 * found[1]["distance"]
    assert len(index) == 8


def test_an_image_outside_the_domain_is_told(tmp_path):
    space = LatentSpace.load("decals")
    pixels = blobs(1, 132, 0.262)
    write_sample(tmp_path / "right", pixels)
    wrong = Sample(write_sample(tmp_path / "wrong", pixels * 1e5))  # nanomaggy read as maggy
    LatentIndex.build([extract(space, Sample(tmp_path / "right/sample.parquet"))]).save(
        tmp_path / "index"
    )
    (row,) = extract(space, wrong).table.to_pylist()
    fits.writeto(tmp_path / "wrong.fits", pixels[0] * 1e5)
    options = ["--image", tmp_path / "wrong.fits", "--survey", "decals", "--space", "decals"]
    said = run("similar", tmp_path / "index", *options)
    assert said.exit_code == 0 and row["flags"] & 32
    assert f"flags {row['flags']} (" in said.stderr and row["domain_reason"] in said.stderr


def test_interpolation(sky, tmp_path):
    index, space = LatentIndex.open(sky / "index"), LatentSpace.load(sky / "space")
    first, last = "decals:decals-0001", "decals:decals-0005"
    for options, points in (
        (["--to", last, "--steps", 3], index.between(first, last, 3)),
        (["--latent", 1, "--steps", 3], index.along(first, 1, 3)),
        (["--minus", last], index.combine([first], [last])),
    ):
        given = ["--space", sky / "space", "--from", first, "--out", tmp_path / "s.png"]
        said = rows("interpolate", sky / "index", *given, *options)
        with Image.open(tmp_path / "s.png") as image:
            assert np.array_equal(np.asarray(image), draw_strip(space, points))
        apart = np.linalg.norm(points[:, None, :4] - index.vectors[:][None], axis=-1)
        assert [row["object_id"] for row in said] == [
            f"decals-{number:04d}" for number in apart.argmin(1)
        ]
        np.testing.assert_allclose([row["distance"] for row in said], apart.min(1), atol=1e-4)


def test_same_and_duplicates(folder, index):
    expected = index.same("sdss:ü:1", 0.5, within=Subset(where="z < 0.9")).to_pylist()
    assert rows("same", folder, "sdss:ü:1", "--radius", 0.5, "--where", "z < 0.9") == expected
    expected = index.duplicates("sdss", arcsec=30, distance=2.0, within=SUBSET).to_pylist()
    assert expected
    options = ["--survey", "sdss", "--arcsec", 30, "--distance", 2]
    assert rows("duplicates", folder, *options, *FILTERS) == expected


def test_outliers(folder, index, tmp_path):
    options = ["--survey", "sdss", "-k", 9, "--where", "z < 0.7"]
    expected = index.outliers("sdss", 9, within=Subset(where="z < 0.7"))
    assert rows("outliers", folder, *options) == expected.to_pylist()
    assert run("outliers", folder, *options, "--out", tmp_path / "o.parquet").exit_code == 0
    assert pq.read_table(tmp_path / "o.parquet").equals(expected.table)


def test_rank(folder, index, tmp_path):
    scores = pa.table(
        {"survey": ["sdss"] * 3, "object_id": [*AWKWARD[:2], "id 5"], "score": [0.0, 5, 3]}
    )
    pyarrow.csv.write_csv(scores, tmp_path / "s.csv")
    pq.write_table(scores, tmp_path / "s.parquet")
    expected = index.rank(scores, "sdss", within=Subset(where="z < 0.7"))
    for name in ("s.csv", "s.parquet"):
        options = ["--scores", tmp_path / name, "--survey", "sdss", "--where", "z < 0.7"]
        assert run("rank", folder, *options, "--out", tmp_path / "r.parquet").exit_code == 0
        assert pq.read_table(tmp_path / "r.parquet").equals(expected.table)
    again = ["--start", tmp_path / "r.parquet", "--out", tmp_path / "a.parquet"]
    assert run("rank", folder, "--scores", tmp_path / "s.csv", *again).exit_code == 0
    assert pq.read_table(tmp_path / "a.parquet").equals(expected.table)


def test_mistakes_are_said(folder, tmp_path):
    for verb, options, said in (
        ("similar", [], "give exactly one of --id"),
        ("similar", ["--id", "sdss:id 1", "--where", "z"], "expected COLUMN OPERATOR"),
        ("duplicates", ["--survey", "sdss"], "give arcsec, distance or both"),
    ):
        result = run(verb, folder, *options)
        assert result.exit_code == 2
        assert said in " ".join(result.output.replace("│", " ").split())
    unknown = pa.table({"survey": ["sdss"] * 2, "object_id": ["id 1", "x"], "score": [5.0, 0.0]})
    pa.csv.write_csv(unknown, tmp_path / "u.csv")
    told = run("rank", folder, "--scores", tmp_path / "u.csv", "--out", tmp_path / "r.parquet")
    assert "note: 1 of 2 scored galaxies are not in this index" in told.stderr
    missing = run("rank", folder, "--scores", tmp_path / "no.csv", "--out", tmp_path / "r.parquet")
    assert "cannot be read as a table" in str(missing.exception)


def test_a_query_by_id_loads_no_library_that_it_does_not_use(folder):
    program = (
        "import sys; from galaxy_da.cli import main; main(sys.argv[1:]); "
        "print(*{'torch', 'pandas', 'scipy', 'sklearn', 'astropy', 'PIL'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", program, "similar", str(folder), "--id", "sdss:id 3", "-k", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    head, first, second, loaded = done.stdout.split("\n")[:4]
    assert head.split() == ["rank", "survey", "object_id", "ra", "dec", "distance", "flags"]
    assert first.split()[0] == "1" and second.split()[0] == "2"
    assert loaded == ""

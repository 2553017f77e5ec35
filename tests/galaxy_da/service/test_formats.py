"""Tables in every format, read by other libraries; cone search by VO clients."""

import io
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse, parse_single_table
from service_helpers import SPECOBJID, N

ASKED = {"id": "decals:decals-0003", "k": 9}


@pytest.fixture(scope="session")
def stilts():
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed")

    def run(*arguments):
        done = subprocess.run(["stilts", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def fetched(http, kind, by_header):
    media = {
        "votable": "application/x-votable+xml",
        "csv": "text/csv",
        "parquet": "application/vnd.apache.parquet",
        "arrow": "application/vnd.apache.arrow.stream",
    }
    if by_header:
        answer = http.get(
            "/api/similar", params=ASKED, headers={"Accept": f"{media[kind]}, */*;q=0.1"}
        )
    else:
        answer = http.get("/api/similar", params={**ASKED, "format": kind})
    assert answer.headers["content-type"].startswith(media[kind])
    return answer.content


@pytest.mark.parametrize("by_header", [False, True])
def test_every_format_holds_the_same_table(http, workspace, by_header):
    expected = workspace.index.similar(ASKED["id"], 9)
    ids = expected["object_id"].to_pylist()
    parquet = pq.read_table(io.BytesIO(fetched(http, "parquet", by_header)))
    arrow = pa.ipc.open_stream(fetched(http, "arrow", by_header)).read_all()
    for table in (parquet, arrow):
        assert expected == table
        assert table.schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    csv = pyarrow.csv.read_csv(io.BytesIO(fetched(http, "csv", by_header)))
    assert csv["object_id"].to_pylist() == ids
    assert csv["ra"].to_pylist() == expected["ra"].to_pylist()
    votable = parse_single_table(io.BytesIO(fetched(http, "votable", by_header))).to_table()
    assert list(votable["object_id"]) == ids and str(votable["ra"].unit) == "deg"
    np.testing.assert_array_equal(votable["distance"], expected["distance"].to_numpy())


def test_a_browser_gets_json(http):
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert http.get("/api/similar", params=ASKED, headers=headers).json()["rows"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/similar", ASKED),
        ("/api/same", {"id": "decals:decals-0003"}),
        ("/api/outliers", {"k": 5}),
        ("/api/duplicates", {"survey": "hsc", "arcsec": 900}),
        ("/vo/conesearch", {"RA": 150.2, "DEC": 2, "SR": 0.2, "VERB": 3}),
        ("/vo/conesearch", {"RA": 150.2, "DEC": 2, "SR": 0}),
        ("/vo/conesearch", {"RA": "x", "DEC": 2, "SR": 0}),
    ],
)
def test_votlint_finds_no_error(http, stilts, tmp_path, path, asked):
    answer = http.get(path, params={**asked, "format": "votable"} if "api" in path else asked)
    assert answer.status_code == 200
    (tmp_path / "answer.vot").write_bytes(answer.content)
    status, said = stilts("votlint", str(tmp_path / "answer.vot"))
    assert (status, said) == (0, "")


@pytest.mark.parametrize("radius", [0.1, 0.2])
def test_cone_search_agrees_with_brute_force(url, workspace, stilts, tmp_path, radius):
    rows = workspace.index.rows
    sky = SkyCoord(rows["ra"].to_numpy(), rows["dec"].to_numpy(), unit="deg")
    near = sky.separation(SkyCoord(150.2, 2.0, unit="deg")).deg <= radius
    expected = {workspace.index.key(i) for i in np.flatnonzero(near)}
    assert 0 < len(expected) < rows.num_rows
    found = pyvo.conesearch(f"{url}/vo/conesearch", pos=(150.2, 2.0), radius=radius, verbosity=3)
    assert set(found["key"]) == expected
    assert found[0].id in expected and found[0].pos.separation(sky[near]).min().arcsec < 1e-6
    source = tmp_path / "positions.csv"
    source.write_text("ra,dec\n150.2,2.0\n10,-80\n")
    status, said = stilts(
        "coneskymatch", "ifmt=csv", f"in={source}", "ra=ra", "dec=dec", f"sr={radius}",
        f"serviceurl={url}/vo/conesearch?", "find=all", "ofmt=csv", f"out={tmp_path}/found.csv",
    )  # fmt: skip
    assert status == 0, said
    table = pa.csv.read_csv(tmp_path / "found.csv")
    assert set(table["key"].to_pylist()) == expected
    status, said = stilts(
        "cone", f"serviceurl={url}/vo/conesearch?", "lon=150.2", "lat=2.0", f"radius={radius}",
        "ofmt=csv", f"out={tmp_path}/cone.csv",
    )  # fmt: skip
    assert status == 0, said
    assert set(pa.csv.read_csv(tmp_path / "cone.csv")["key"].to_pylist()) == expected


def test_cone_search_follows_the_standard(http):
    def ask(**asked):
        return parse(io.BytesIO(http.get("/vo/conesearch", params=asked).content))

    table = ask(RA=150.2, DEC=2, SR=180, VERB=1).get_first_table()
    assert {f.ucd for f in table.fields} == {"ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"}
    assert [str(f.datatype) for f in table.fields] == ["char", "double", "double"]
    assert len(table.array) == 3 * N
    assert len(ask(RA=150.2, DEC=2, SR=0).get_first_table().array) == 0
    assert len(ask(RA=10, DEC=2, SR=0.1).get_first_table().array) == 0
    short = ask(ra=150.2, dec=2, sr=180, maxrec=2)
    assert len(short.get_first_table().array) == 2
    infos = {info.name: info.value for info in short.resources[0].infos}
    assert infos["QUERY_STATUS"] == "OVERFLOW"
    for bad in ({"RA": 1}, {"RA": "nan", "DEC": 0, "SR": 1}, {"RA": 1, "DEC": 99, "SR": 1},
                {"RA": 1, "DEC": 9, "SR": -1}, {"RA": 1, "DEC": 9, "SR": 1, "VERB": 9},
                {"RA": 1, "DEC": 9, "SR": 1, "MAXREC": "-1"}):  # fmt: skip
        (info, _) = ask(**bad).resources[0].infos
        assert info.name == "Error" and info.value


def test_integers_beyond_a_double_keep_every_digit(http, workspace):
    key = "sdss:sdss-0003"
    right = SPECOBJID + 3 * 13
    assert http.get("/api/objects", params={"id": key}).json()["columns"]["specobjid"] == str(right)
    (row,) = http.post("/api/objects/table", json={"ids": [key]}).json()["rows"]
    assert row["specobjid"] == str(right)
    assert row["flags"] == 0
    points = http.get("/api/map", params={"column": "specobjid", "format": "json"}).json()
    assert points["value"][points["object_id"].index("sdss-0003")] == str(right)
    text = http.post("/api/objects/table", json={"ids": [key], "format": "csv"}).text
    assert str(right) in text
    content = http.post("/api/objects/table", json={"ids": [key], "format": "votable"}).content
    assert parse_single_table(io.BytesIO(content)).to_table()["specobjid"][0] == str(right)

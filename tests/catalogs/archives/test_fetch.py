import hashlib
import json
import re
import threading
import time
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import ArchiveServer, Reply
from stamps_source import LIMITS, StampSource, picture, reply

from catalogs.archives.fetch import fetch, request_keys
from catalogs.archives.http import Http
from catalogs.archives.journal import Journal, Outcome
from catalogs.archives.limits import Limits
from galaxy_da.errors import CatalogError, CutoutError, StorageError, TableError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.samples import STATUSES, Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.surveys import get_survey

_names = map("test-fetch-{}".format, count())


def catalogue(n, seed=0, **columns):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "object_id": pa.array([f"g{seed}-{i}" for i in range(n)], pa.string()),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-60, 60, n),
            **columns,
        }
    )


def at(server, **fields):
    return StampSource(url=server.url, service=next(_names), **fields)


def requested_ra(server, since=0):
    return [float(entry.request.params["ra"]) for entry in server.log[since:]]


@pytest.fixture
def server():
    with ArchiveServer(reply) as running:
        yield running


def test_every_row_gets_its_own_cutout(server, tmp_path):
    rows = catalogue(40, z=np.arange(40) / 40)
    result = fetch(at(server), rows, tmp_path / "out")
    assert result == {
        "sample": str(tmp_path / "out" / "sample.parquet"),
        **{"rows": 40, "ok": 40, "requested": 40, "reused": 0, "resumed": 0, "damaged": 0},
    }
    sample = Sample(tmp_path / "out" / "sample.parquet")
    assert sample.survey == "sdss"
    assert sample.catalog.select(rows.column_names).equals(rows.replace_schema_metadata(None))
    for row in sample.catalog.to_pylist():
        data = (sample.folder / row["cutout"]).read_bytes()
        assert data == picture(row["ra"], row["dec"])
        assert (row["sha256"], row["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert all(
        isinstance(cutout, Cutout)
        for cutout in read_cutouts(sample.catalog, sample.folder, get_survey("sdss"))
    )
    assert read_metadata(sample.catalog.schema)["fetch"]["identity"] == {"url": server.url}


def test_the_services_error_becomes_the_rows_status(tmp_path):
    statuses = [s for s in STATUSES if s not in ("ok", "fetch_failed")]

    class Moody(StampSource):
        def fetch(self, ra, dec, http):
            if ra < len(statuses):
                raise CutoutError(f"it is {statuses[int(ra)]}", status=statuses[int(ra)])
            return super().fetch(ra, dec, http)

    def broken(request, tries):
        return "500" if float(request.params["ra"]) == 9 else None

    n = len(statuses)
    rows = catalogue(n + 2).set_column(1, "ra", pa.array([*map(float, range(n)), 9.0, 10.0]))
    service = next(_names)
    with (
        ArchiveServer(reply, broken) as running,
        Http(service, LIMITS, attempts=2, backoff_s=0.01) as http,
    ):
        fetch(Moody(url=running.url, service=service), rows, tmp_path / "out", http=http)
    table = pq.read_table(tmp_path / "out" / "sample.parquet")
    assert table["status"].to_pylist() == [*statuses, "fetch_failed", "ok"]
    assert table["message"].to_pylist()[:n] == [f"it is {status}" for status in statuses]
    assert "kept failing" in table["message"][n].as_py()
    assert table["cutout"].null_count == n + 1


def test_rows_outside_the_footprint_are_not_requested(server, tmp_path):
    class North(StampSource):
        def covers(self, ra, dec):
            return dec > 10

    rows = catalogue(60)
    result = fetch(North(url=server.url, service=next(_names)), rows, tmp_path / "out")
    north = rows["dec"].to_numpy() > 10
    assert result["outside_footprint"] == (~north).sum() > 0
    assert sorted(requested_ra(server)) == sorted(rows["ra"].to_numpy()[north])
    assert (
        "not requested"
        in pq.read_table(result["sample"])["message"].to_pylist()[int(np.argmin(north))]
    )


def test_rows_without_a_usable_position_are_not_requested(server, tmp_path):
    rows = catalogue(6)
    dec = rows["dec"].to_pylist()
    dec[1], dec[4] = float("nan"), 91.0
    rows = rows.set_column(2, "dec", pa.array(dec))
    source = at(server)
    result = fetch(source, rows, tmp_path / "out")
    assert (result["ok"], result["bad_position"], result["requested"]) == (4, 2, 4)
    table = pq.read_table(result["sample"])
    assert [i for i, s in enumerate(table["status"].to_pylist()) if s == "bad_position"] == [1, 4]
    assert (
        table["message"][4].as_py() == "dec is 91; expected degrees in [-90, 90] (swapped with ra?)"
    )
    assert len(requested_ra(server)) == 4
    assert fetch(source, rows, tmp_path / "out")["requested"] == 0


def test_a_second_run_requests_only_failed_rows(server, tmp_path):
    rows = catalogue(30)
    ra = rows["ra"].to_numpy()
    broken = set(ra[:4])
    server.faults = lambda r, _: "500" if float(r.params["ra"]) in broken else None

    class Blank(StampSource):
        def fetch(self, ra_, dec, http):
            data = super().fetch(ra_, dec, http)
            if ra_ == ra[10]:
                raise CutoutError("blank", status="no_data")
            return data

    service = next(_names)
    source = Blank(url=server.url, service=service)
    with Http(service, LIMITS, attempts=2, backoff_s=0.01) as http:
        first = fetch(source, rows, tmp_path / "out", http=http)
    assert (first["ok"], first["fetch_failed"], first["no_data"]) == (25, 4, 1)
    so_far = len(server.log)
    server.faults = lambda *_: None
    second = fetch(source, rows, tmp_path / "out")
    assert (second["ok"], second["no_data"]) == (29, 1)
    assert "fetch_failed" not in second
    assert set(requested_ra(server, so_far)) == broken
    so_far = len(server.log)
    assert fetch(source, rows, tmp_path / "out")["resumed"] == 30
    assert len(server.log) == so_far


def test_lost_and_changed_cutouts_are_fetched_again(server, tmp_path):
    source, rows = at(server), catalogue(10)
    fetch(source, rows, tmp_path / "out")
    before = pq.read_table(tmp_path / "out" / "sample.parquet")
    paths = [tmp_path / "out" / uri for uri in before["cutout"].to_pylist()]
    paths[2].unlink()
    paths[5].write_bytes(paths[5].read_bytes()[:-1] + b"?")
    so_far = len(server.log)
    result = fetch(source, rows, tmp_path / "out")
    assert (result["damaged"], result["resumed"], result["ok"]) == (2, 8, 10)
    assert sorted(requested_ra(server, so_far)) == sorted(rows["ra"].to_numpy()[[2, 5]])
    assert pq.read_table(tmp_path / "out" / "sample.parquet").equals(before)


def test_another_catalogue_reuses_cutouts_on_this_machine(server, tmp_path):
    source, rows = at(server), catalogue(20)
    fetch(source, rows, tmp_path / "one")
    other = pa.concat_tables([rows.slice(12), catalogue(5, seed=1)])
    so_far = len(server.log)
    result = fetch(source, other, tmp_path / "two")
    assert (result["reused"], result["requested"], result["ok"]) == (8, 5, 13)
    assert sorted(requested_ra(server, so_far)) == sorted(other["ra"].to_numpy()[8:])
    # a changed original is not what was fetched
    uri = pq.read_table(tmp_path / "one" / "sample.parquet")["cutout"][0].as_py()
    (tmp_path / "one" / uri).write_bytes(b"edited")
    assert fetch(source, rows.slice(0, 2), tmp_path / "three")["reused"] == 1
    # another identity is another request
    assert fetch(at(server), rows.slice(0, 2), tmp_path / "four")["reused"] == 0


def test_rows_at_one_position_share_one_request(server, tmp_path):
    rows = pa.table(
        {"object_id": ["a", "b", "c"], "ra": [0.0, 360.0, 1e-9], "dec": [-0.0, 0.0, 0.0]}
    )
    assert fetch(at(server), rows, tmp_path / "out")["ok"] == 3
    assert len(server.log) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3600), st.integers(-900, 900)), unique=True, min_size=2))
def test_keys_differ_where_positions_do(positions):
    ra, dec = np.array(positions, float).T / 10
    keys = request_keys(StampSource(url="", service="x"), ra, dec)
    assert len(set(keys)) == len({(a % 3600, d) for a, d in positions})


def test_the_catalogues_columns_are_kept_beside_the_cutouts_own(server, tmp_path):
    old = {
        "cutout": ["a.fits", "b.fits"], "pixel_scale_arcsec": [0.262] * 2,
        "psf_fwhm_arcsec": [1.3] * 2, "stretch": ["galaxy-zoo"] * 2, "photometric": [False] * 2,
    }  # fmt: skip
    rows = catalogue(2, survey=["decals"] * 2, **old)
    fetch(at(server), rows, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "sample.parquet")
    assert table["survey"].to_pylist() == ["sdss"] * 2
    assert table["survey_catalog"].to_pylist() == ["decals"] * 2
    for name, values in old.items():
        assert table[f"{name}_catalog"].to_pylist() == values
        assert name == "cutout" or name not in table.column_names


def test_the_requested_pixel_scale_is_written(server, tmp_path):
    class Scaled(StampSource):
        def identity(self):
            return {"url": self.url, "pixel_scale_arcsec": 0.5}

    fetch(Scaled(url=server.url, service=next(_names)), catalogue(2), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "sample.parquet")
    assert table["pixel_scale_arcsec"].to_pylist() == [0.5, 0.5]


def test_an_empty_catalogue_is_an_empty_sample(server, tmp_path):
    result = fetch(at(server), catalogue(0), tmp_path / "out")
    assert (result["rows"], len(Sample(result["sample"]))) == (0, 0)


def test_another_catalogue_or_source_is_refused(server, tmp_path):
    source, rows = at(server), catalogue(3)
    fetch(source, rows, tmp_path / "out")
    with pytest.raises(CatalogError, match=r"holds another fetch \(differs in rows, catalogue\)"):
        fetch(source, rows.slice(1), tmp_path / "out")
    elsewhere = StampSource(url="http://elsewhere", service=source.service)
    with pytest.raises(CatalogError, match="url is 'http://elsewhere' but was 'http://127"):
        fetch(elsewhere, rows, tmp_path / "out")
    more = rows.append_column("z", pa.array([0.1, 0.2, 0.3]))
    assert fetch(source, more, tmp_path / "out")["resumed"] == 3  # a new column asks nothing
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(CatalogError, match="is not empty and holds no fetch"):
        fetch(source, rows, tmp_path / "mine")
    assert len(server.log) == 3


def test_two_processes_do_not_share_a_folder(tmp_path):
    gate = threading.Event()

    def wait_for_gate(request):
        gate.wait(10)
        return reply(request)

    with ArchiveServer(wait_for_gate) as running:
        source = at(running)
        other = threading.Thread(target=fetch, args=(source, catalogue(1), tmp_path / "out"))
        other.start()
        while not running.log:
            time.sleep(0.01)
        with pytest.raises(CatalogError, match="another process is fetching into it"):
            fetch(source, catalogue(1), tmp_path / "out")
        gate.set()
        other.join()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"object_id": ["a", "b", "a"]}, TableError, "a.*2 times"),
        ({"object_id": [1, 2, 3]}, TableError, "must hold strings"),
        ({"ra": [361.0, None, -1.0]}, CatalogError, "none of 3 rows has .*: ra is 361"),
    ],
)
def test_bad_catalogues_are_refused_before_any_request(server, tmp_path, change, error, message):
    rows = pa.table({"object_id": ["a", "b", "c"], "ra": [1.0] * 3, "dec": [1.0] * 3} | change)
    with pytest.raises(error, match=message):
        fetch(at(server), rows, tmp_path / "out")
    assert not server.log
    assert not (tmp_path / "out").exists()


def test_a_wrong_account_stops_the_job_at_once(tmp_path):
    with (
        ArchiveServer(lambda request: Reply(status=401)) as running,
        pytest.raises(CatalogError, match=r"HTTP 401.*check the account"),
    ):
        fetch(at(running), catalogue(2000), tmp_path / "out")
    assert len(running.log) <= 4  # those under way


def test_a_service_that_refuses_every_row_stops_the_job(tmp_path):
    def refuse_later(request):
        return reply(request) if float(request.params["ra"]) < 5 else Reply(b"no such layer", 400)

    rows = catalogue(300)
    rows = rows.set_column(1, "ra", pa.array(np.arange(300.0)))
    with ArchiveServer(refuse_later) as running:
        source = at(running)
        with pytest.raises(CatalogError, match=r"20 cutouts in a row failed.*no such layer"):
            fetch(source, rows, tmp_path / "out")
        assert len(running.log) < 100  # the workers finish what they have begun
        so_far = len(running.log)
        running.reply = reply
        assert fetch(source, rows, tmp_path / "out")["ok"] == 300
        assert not {0.0, 1.0, 2.0, 3.0, 4.0} & set(requested_ra(running, so_far))


def test_one_limiter_serves_two_fetches_at_once(server, tmp_path):
    service = next(_names)
    slow = StampSource(
        url=server.url, service=service, limits=Limits(requests_per_second=25, concurrency=2)
    )
    threads = [
        threading.Thread(target=fetch, args=(slow, catalogue(20, seed), tmp_path / str(seed)))
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.log) == 40
    assert server.requests_in_any_second() <= 25


def test_a_torn_journal_line_does_not_count(tmp_path):
    path = tmp_path / "journal.jsonl"
    done = [Outcome(key=f"{i}", status="ok", sha256="ab", bytes=i) for i in range(5)]
    with Journal(path) as journal:
        journal.add(done)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        with Journal(path) as journal:
            assert list(journal.outcomes.values()) == done[:lines]
            journal.add([Outcome(key="new", status="no_data", message="after the tear")])
        with Journal(path) as journal:
            assert list(journal.outcomes) == [str(i) for i in range(lines)] + ["new"]


def test_a_damaged_journal_and_plan_are_one_line(tmp_path, server):
    source, rows = at(server), catalogue(2)
    fetch(source, rows, tmp_path / "out")
    (tmp_path / "out" / "fetch.jsonl").write_text("{not json}\n")
    with pytest.raises(StorageError, match=re.escape("fetch.jsonl: line 1 is damaged")):
        fetch(source, rows, tmp_path / "out")
    (tmp_path / "out" / "fetch.json").write_text("{")
    with pytest.raises(StorageError, match=re.escape("fetch.json: is damaged")):
        fetch(source, rows, tmp_path / "out")


def test_the_journal_is_plain_lines(server, tmp_path):
    fetch(at(server), catalogue(3), tmp_path / "out")
    lines = (tmp_path / "out" / "fetch.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"key", "status", "sha256", "bytes"}] * 3


@pytest.mark.slow
def test_a_hundred_thousand_rows_cost_no_more_than_their_share(tmp_path):
    class Elsewhere(StampSource):
        def covers(self, ra, dec):
            return np.zeros(len(ra), bool)

    def seconds(n):
        start = time.perf_counter()
        fetch(Elsewhere(url="", service="none"), catalogue(n), tmp_path / str(n))
        return time.perf_counter() - start

    assert seconds(100_000) < 30 * max(seconds(10_000), 0.1)

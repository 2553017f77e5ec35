"""A long download with faults, kills, a full disk and Ctrl-C."""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from server import FAULTS, ArchiveServer, Reply
from stamps_source import StampSource, picture, reply

from catalogs.archives.fetch import fetch, request_keys
from catalogs.archives.journal import Journal, Outcome
from galaxy_da.errors import StorageError
from galaxy_da.io.samples import Sample

HERE = Path(__file__).parent
ROWS = 1000
RATE = 200
CONCURRENCY = 8  # of run_fetch.py
PATIENCE_S = 120


def catalogue(folder, n=ROWS):
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "object_id": [f"galaxy {i}" for i in range(n)],
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-55, 85, n),
        }
    )
    pq.write_table(table, folder / "catalogue.parquet")
    return table


def is_blank(ra):
    return float(ra) % 1 < 0.02


def sky(request):
    return Reply(status=404) if is_blank(request.params["ra"]) else reply(request)


def five_percent(request, tries):
    dice = random.Random(f"{request.params['ra']} {tries}")
    # Retry-After holds everybody back, so a few of those go a long way
    kinds = [f for f in FAULTS for _ in range(2 if f in ("429", "503") else 5)]
    return dice.choice(kinds) if dice.random() < 0.05 else None


def start(folder, server, *limit, prefix=()):
    return subprocess.Popen(
        [*prefix, sys.executable, HERE / "run_fetch.py", folder, server.url, f"{RATE}", *limit],
        stdout=subprocess.PIPE,
        text=True,
    )


def journal_lines(folder):
    path = folder / "out" / "fetch.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def wait_for_lines(process, folder, lines):
    limit = time.monotonic() + PATIENCE_S
    while journal_lines(folder) < lines:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < limit
        time.sleep(0.005)


def settled(folder):
    """Keys recorded as done, read without the code under test, but for a torn last line."""
    lines = (folder / "out" / "fetch.jsonl").read_bytes().split(b"\n")[:-1]
    outcomes = [json.loads(line) for line in lines]
    last = {outcome["key"]: outcome["status"] for outcome in outcomes}
    return {key for key, status in last.items() if status in ("ok", "no_data")}


def assert_whole(folder, pictures):
    """Check that every file named as a cutout is that cutout to the last byte."""
    cutouts = folder / "out" / "cutouts"
    files = [p for p in cutouts.rglob("*.png") if ".partial/" not in p.as_posix()]  # drafts
    assert all(path.read_bytes() == pictures[path.stem] for path in files)
    return len(files)


def assert_no_good_answer_is_asked_for_again(log, stops):
    """Check that only requests in progress at a stop were sent twice."""
    for first, last in itertools.pairwise([0, *stops, len(log)]):
        answered = set()
        for entry in log[first:last]:
            assert entry.request.params["ra"] not in answered
            if entry.whole:
                answered.add(entry.request.params["ra"])
    good = Counter(entry.request.params["ra"] for entry in log if entry.whole)
    assert sum(n - 1 for n in good.values()) <= CONCURRENCY * len(stops)


def test_two_kills_a_full_disk_and_five_percent_faults_end_complete(tmp_path):
    rows = catalogue(tmp_path)
    dice = random.Random(11)
    with ArchiveServer(sky, five_percent, slow_s=3.0) as server:
        ra, dec = rows["ra"].to_numpy(), rows["dec"].to_numpy()
        keys = request_keys(StampSource(url=server.url, service="sky"), ra, dec)
        pictures = {k: picture(a, d) for k, a, d in zip(keys, ra, dec, strict=True)}
        key_of = {repr(float(a)): key for a, key in zip(ra, keys, strict=True)}
        done = []  # what was recorded, and how many requests the server had seen, at each stop

        def stopped():
            time.sleep(0.3)  # requests that were on their way
            done.append((settled(tmp_path), len(server.log)))
            assert_whole(tmp_path, pictures)

        for stop in ("kill", "full", "kill"):
            before = journal_lines(tmp_path)
            if stop == "kill":
                process = start(tmp_path, server)
                wait_for_lines(process, tmp_path, before + dice.randint(80, 220))
                time.sleep(dice.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
                process.communicate()
                assert process.returncode == -signal.SIGKILL
            else:  # the kernel cuts the journal's next line short
                size = (tmp_path / "out" / "fetch.jsonl").stat().st_size
                process = start(tmp_path, server, str(size + dice.randint(20_000, 40_000)))
                output, _ = process.communicate(timeout=PATIENCE_S)
                assert process.returncode == 2
                assert output.startswith("StorageError") and os.strerror(errno.EFBIG) in output
                assert journal_lines(tmp_path) > before + 50
            stopped()
        process = start(tmp_path, server)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output

        log = [key_of[entry.request.params["ra"]] for entry in server.log]
        for recorded, requests in done:
            assert recorded
            assert not recorded & set(log[requests:])
        assert_no_good_answer_is_asked_for_again(server.log, [requests for _, requests in done])
        assert server.requests_in_any_second() <= RATE
        faults = Counter(entry.fault for entry in server.log)
    assert set(faults) == {None, *FAULTS}
    assert 0.03 < 1 - faults[None] / len(log) < 0.07

    sample = Sample(tmp_path / "out" / "sample.parquet").catalog
    expected = np.where(dec > -50, np.where([is_blank(a) for a in ra], "no_data", "ok"), "outside")
    status = np.char.replace(sample["status"].to_numpy().astype(str), "_footprint", "")
    np.testing.assert_array_equal(status, expected)
    assert not set(log) & {
        key for key, what in zip(keys, expected, strict=True) if what == "outside"
    }
    assert assert_whole(tmp_path, pictures) == (expected == "ok").sum()
    assert not list((tmp_path / "out").rglob("*.partial*"))


def test_a_full_disk_that_is_freed(tmp_path):
    """A tmpfs of 1 MiB in a user namespace: so that the kernel raises ENOSPC."""
    probe = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o "size=1m" tmpfs "$0/out"'
    (tmp_path / "out").mkdir()
    if (
        not shutil.which("unshare")
        or subprocess.run([*probe, mount, tmp_path], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine does not let users mount a tmpfs in a namespace of their own")
    rows = catalogue(tmp_path, 500)
    script = f"""{mount} && "$@"; echo "exit $?"
        mount -o remount,size=64m "$0/out" && "$@"; echo "exit $?"
        cp -r "$0/out" "$0/copy" """
    with ArchiveServer(sky) as server:
        process = start(tmp_path, server, prefix=[*probe, script, tmp_path])
        output, _ = process.communicate(timeout=PATIENCE_S)
        twice = [
            ra for ra, n in Counter(e.request.params["ra"] for e in server.log).items() if n > 1
        ]
    lines = output.splitlines()
    assert lines[0].startswith("StorageError") and os.strerror(errno.ENOSPC) in lines[0]
    assert lines[1:] == ["exit 2", "exit 0"]
    sample = Sample(tmp_path / "copy" / "sample.parquet").catalog
    assert set(sample["status"].to_pylist()) == {"ok", "no_data", "outside_footprint"}
    assert len(sample) == len(rows)
    assert len(twice) <= 2 * 8 * 4  # under way when the disk was full: received, but nowhere to put
    for row in sample.to_pylist():
        if row["status"] == "ok":
            assert (tmp_path / "copy" / row["cutout"]).read_bytes() == picture(
                row["ra"], row["dec"]
            )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_cutout_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, code):
    written, write = [], Path.write_bytes

    def write_half(path, data):
        if path.suffix == ".png":
            written.append(path)
            if len(written) > 20:
                write(path, data[: len(data) // 2])
                raise OSError(code, os.strerror(code), str(path))
        return write(path, data)

    rows = catalogue(tmp_path, 60)
    with ArchiveServer(reply) as server:
        source = StampSource(url=server.url, service=f"half {code}")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write_half)
            with pytest.raises(StorageError, match=os.strerror(code)):
                fetch(source, rows, tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.partial*"))
        done = journal_lines(tmp_path)
        assert len(list((tmp_path / "out" / "cutouts").rglob("*.png"))) == done == 20
        result = fetch(source, rows, tmp_path / "out")
    assert (result["resumed"], result["requested"], result["ok"]) == (20, 40, 60)


def test_a_cutout_written_but_not_recorded_is_not_requested_again(tmp_path, monkeypatch):
    rows = catalogue(tmp_path, 10)
    with ArchiveServer(reply) as server:
        source = StampSource(url=server.url, service="unrecorded")

        def die(journal, outcomes):
            list(outcomes)
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "add", die)
            with pytest.raises(MemoryError):
                fetch(source, rows, tmp_path / "out")
        files = list((tmp_path / "out" / "cutouts").rglob("*.png"))
        assert files
        assert journal_lines(tmp_path) == 0
        result = fetch(source, rows, tmp_path / "out")
    assert (result["reused"], result["requested"]) == (len(files), 10 - len(files))
    assert len(server.log) == 10


def test_a_journal_that_cannot_grow_keeps_its_last_whole_line(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    write = os.write

    def write_half(file, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: len(data) // 2])

    with Journal(path) as journal:
        journal.add([Outcome(key="a", status="ok")])
        whole = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write_half)
            with pytest.raises(StorageError, match="No space left on device"):
                journal.add([Outcome(key="b", status="no_data", message="x" * 200)])
        assert path.read_bytes() == whole
        assert list(journal.outcomes) == ["a"]
        journal.add([Outcome(key="b", status="ok")])
    with Journal(path) as journal:
        assert list(journal.outcomes) == ["a", "b"]


def test_ctrl_c_ends_cleanly_and_goes_on(tmp_path):
    catalogue(tmp_path, 400)
    requests, interrupted = itertools.count(), threading.Event()

    def slow_sky(request):
        if next(requests) > 120:  # the rest come after the interrupt, however busy the machine is
            interrupted.wait(PATIENCE_S)
        return sky(request)

    with ArchiveServer(slow_sky) as server:
        process = start(tmp_path, server)
        wait_for_lines(process, tmp_path, 50)
        process.send_signal(signal.SIGINT)
        interrupted.set()
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert not list((tmp_path / "out").rglob("*.partial*"))
        files = len(list((tmp_path / "out" / "cutouts").rglob("*.png")))
        recorded = settled(tmp_path)
        assert 40 <= files <= len(recorded) < 380  # blank stamps are recorded without a file
        process = start(tmp_path, server)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        counts = Counter(entry.request.params["ra"] for entry in server.log)
    assert set(counts.values()) == {1}

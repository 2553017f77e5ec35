"""The command `serve`: several processes, one index, one queue."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import httpx
import pytest
import uvicorn
from service_helpers import start_service, wait_for, zipped
from uvicorn.supervisors.multiprocess import Process

from galaxy_da.cli import main
from galaxy_da.client import Client
from galaxy_da.service import run
from galaxy_da.service.jobs.queue import ENDED


def workers_of(child):
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    return [
        int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    ]


@pytest.mark.slow
def test_workers_share_an_index_and_a_queue(workspace, tmp_path):
    log = tmp_path / "log"
    child, url = start_service(workspace, tmp_path / "jobs", log, "--workers", "2")
    try:
        with Client(url) as sky:
            assert len(sky.similar("decals:decals-0001", k=3)) == 3
            (tmp_path / "s.zip").write_bytes(zipped(workspace.folder / "sdss"))
            job = sky.submit("extract", sample=tmp_path / "s.zip")
            wait_for(url, job.id, "running", *ENDED)
            # one of them runs the jobs; new workers take over
            workers = workers_of(child)
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            os.kill(workers[1], signal.SIGKILL)
            deadline = time.monotonic() + 120
            while True:
                try:
                    state = wait_for(url, job.id, *ENDED)
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < deadline
            assert state["state"] == "done", state
        with ThreadPoolExecutor(8) as pool:
            asked = [f"{url}/api/similar?id=hsc:hsc-{n:04d}" for n in range(24)]
            codes = [answer.status_code for answer in pool.map(httpx.get, asked)]
        assert set(codes) == {200}
        text = httpx.get(f"{url}/metrics").text
        counted = [
            line for line in text.splitlines() if 'route="/api/similar",status="200"' in line
        ]
        assert sum(float(line.split()[-1]) for line in counted) >= 24
        assert 'galaxy_da_jobs{state="done"} 1.0' in text
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) in (0, -signal.SIGTERM)
    said = log.read_text().splitlines()  # Python may warn of the killed workers
    lines = [json.loads(line) for line in said if line.startswith("{")]
    asked = [line for line in lines if line["event"] == "request"]
    assert len({line["request_id"] for line in asked}) == len(asked) >= 25
    assert any(line["event"] == "job started" and line["job"] == job.id for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_service_killed_during_uploads_and_jobs(workspace, tmp_path):
    """Acknowledged jobs are done after the last start, and no other folder remains."""
    folder, log, known = tmp_path / "jobs", tmp_path / "log", set()
    data = zipped(workspace.folder / "sdss")
    for number in range(6):
        child, url = start_service(
            workspace, folder, log, *(["--workers", "2"] if number % 2 else [])
        )

        def upload(url=url):
            try:
                answer = httpx.post(
                    f"{url}/api/jobs", data={"verb": "extract"}, files={"sample": data}, timeout=30
                )
                known.add(answer.json()["id"])
            except (httpx.HTTPError, KeyError):
                pass

        with ThreadPoolExecutor(3) as pool:
            for _ in range(3):
                pool.submit(upload)
            time.sleep(0.3 * number)
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(1)
    child, url = start_service(workspace, folder, log)
    listed = {job["id"] for job in httpx.get(f"{url}/api/jobs").json()}
    assert known and known <= listed
    for job_id in listed:
        assert wait_for(url, job_id, *ENDED, seconds=600)["state"] == "done"
    child.send_signal(signal.SIGINT)
    child.wait(60)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == listed


def test_other_machines_need_a_token_file(workspace, tmp_path, capsys):
    where = ["--index", str(workspace.folder / "index"), "--space", str(workspace.folder / "space")]
    assert main(["serve", *where, "--host", "0.0.0.0"]) == 2
    assert "--token-file" in capsys.readouterr().err
    (tmp_path / "limits.toml").write_text("rows = -1")
    assert main(["serve", *where, "--limits", str(tmp_path / "limits.toml")]) == 2
    assert "rows" in capsys.readouterr().err
    assert main(["serve", "--index", str(tmp_path), "--space", "decals"]) == 2


@pytest.mark.parametrize("killed", [True, False])
def test_the_health_of_a_worker_that_dies_is_known_at_once(killed):
    worker = Process(uvicorn.Config("nothing:app"), [])
    worker.process = get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.process.start()  # it never answers, as one that is starting
    timer = threading.Timer(0.5, worker.process.kill if killed else lambda: None)
    timer.start()
    begun = time.monotonic()
    assert not run._answers(worker, 60 if killed else 1.0)
    assert (0.4 if killed else 0.9) < time.monotonic() - begun < 30
    worker.kill()
    worker.process.join()


def test_a_worker_that_answers_is_alive():
    worker = Process(uvicorn.Config("nothing:app"), [])
    worker.process = get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.process.start()
    threading.Thread(target=worker.pong, daemon=True).start()
    assert run._answers(worker, 30)
    worker.kill()
    worker.process.join()

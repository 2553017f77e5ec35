"""Jobs from upload to results; each runs a verb in a process of its own."""

import io
import json
import os
import signal
import subprocess
import time
import zipfile
from functools import partial

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, pair_table, write_sample
from fastapi.testclient import TestClient
from service_helpers import running, wait_for, zipped

from galaxy_da.client import Client, ServiceError
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.files import write_json
from galaxy_da.io.locks import try_lock
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import ENDED, JobQueue, State
from galaxy_da.service.jobs.runner import JobRunner
from galaxy_da.service.jobs.verbs import JobRequest
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import JobSettings
from galaxy_da.space import LatentSpace


@pytest.fixture(scope="module")
def served(workspace, tmp_path_factory):
    queue = JobQueue(tmp_path_factory.mktemp("jobs"))
    jobs = JobSettings(queue=queue, space=str(workspace.folder / "space"))
    with running(workspace.app(jobs=jobs, limits=Limits(running_jobs=2))) as url:
        yield url


@pytest.fixture(scope="module")
def sky(served):
    with Client(served) as client:
        yield client


@pytest.fixture(scope="module")
def extracted(served, sky, workspace, tmp_path_factory):
    """Extraction run by the client: its job, events and results folder."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "sample.zip").write_bytes(zipped(workspace.folder / "sdss"))
    job = sky.submit("extract", sample=folder / "sample.zip")
    events = []
    with httpx.stream("GET", f"{served}/api/jobs/{job.id}/events", timeout=240) as stream:
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    job.wait()
    for result in job.status()["results"]:
        job.download(result["name"], folder / result["name"])
    return job, events, folder


def test_an_extraction_equals_the_verb_s_output(extracted, workspace):
    job, _, folder = extracted
    assert job.status()["state"] == "done"
    with zipfile.ZipFile(folder / "features.zip") as archive:
        archive.extractall(folder / "features")
    found = Features.open(folder / "features")
    expected = Features.open(workspace.folder / "features" / "sdss")
    assert found.space_id == expected.space_id and found.encoders == expected.encoders
    numbers = ["embedding", "variance", "nuisance", "reconstruction_error", "magnitude"]
    assert found.table.drop_columns(numbers).equals(expected.table.drop_columns(numbers))
    np.testing.assert_allclose(vectors(found.table), vectors(expected.table), atol=2e-3, rtol=1e-2)
    flat = pq.read_table(folder / "features.parquet")
    assert flat.schema.field("ra").metadata[b"unit"] == b"deg"
    assert flat["embedding"].equals(found.table["embedding"])


def test_events_report_progress_and_state(extracted):
    _, events, _ = extracted
    states = [data["state"] for name, data in events if name == "state"]
    assert states[-1] == "done" and set(states) <= {"queued", "running", "done"}
    progress = [data for name, data in events if name == "progress"]
    assert progress[-1] == {"done": 24, "total": 24, "step": "extract"}


def test_only_listed_results_can_be_downloaded(extracted, served, tmp_path):
    job, _, _ = extracted
    base = f"{served}/api/jobs/{job.id}"
    assert {r["name"] for r in job.status()["results"]} == {"features.parquet", "features.zip"}
    for name in ("nothing", "..%2flog.txt", "%2fetc%2fpasswd", "..%2f..%2fjobs.sqlite"):
        assert httpx.get(f"{base}/results/{name}").status_code == 404
    assert "extract" in httpx.get(f"{base}/log").text
    with pytest.raises(ServiceError, match="no result"):
        job.download("nothing", tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_a_job_with_invalid_data_fails_with_a_one_line_message(served, workspace):
    table = pq.read_table(workspace.folder / "sdss" / "sample.parquet").drop_columns("ra")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    files = {"sample": sink.getvalue().to_pybytes()}
    answer = httpx.post(f"{served}/api/jobs", data={"verb": "extract"}, files=files)
    job = wait_for(served, answer.json()["id"], *ENDED)
    assert job["state"] == "failed" and "'ra'" in job["message"] and job["results"] == []
    assert "\n" not in job["message"]


def test_a_large_survey_definition_is_refused(served, workspace):
    files = {"sample": zipped(workspace.folder / "sdss"), "survey": b"#" * (1 << 21)}
    answer = httpx.post(f"{served}/api/jobs", data={"verb": "extract"}, files=files)
    assert answer.status_code == 413 and "survey" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("seconds", "limits", "message"),
    [
        (0.5, Limits(), "longer than 0.5 s"),
        (600, Limits(job_memory_bytes=1 << 28), "needs more memory than a job may use"),
    ],
    ids=["time", "memory"],
)
def test_a_job_over_its_time_or_memory_fails(workspace, tmp_path, seconds, limits, message):
    queue = JobQueue(tmp_path)
    request = JobRequest(
        verb="extract", options={}, space=str(workspace.folder / "space"), limits=limits
    )
    files = {"sample": io.BytesIO(zipped(workspace.folder / "sdss"))}
    job_id = queue.submit("", request, files, lambda name, path: None)
    runner = JobRunner(queue, 1, seconds)
    runner.start()
    while queue.get(job_id).state not in ENDED:
        time.sleep(0.05)
    runner.stop()
    job = queue.get(job_id)
    assert job.state is State.FAILED and message in job.message and not job.crashes


def test_a_failed_job_has_the_message_of_its_verb(sky, served, workspace, tmp_path):
    for name in ("decals", "hsc"):
        (tmp_path / f"{name}.zip").write_bytes(zipped(workspace.folder / name))
    samples = {"anchor": tmp_path / "decals.zip", "target": tmp_path / "hsc.zip"}
    job = wait_for(served, sky.submit("adapt", {"seed": 1}, **samples).id, *ENDED)
    assert job["state"] == "failed" and "at least 200 are needed" in job["message"]


@pytest.mark.slow
def test_a_job_adapts_to_a_new_survey(sky, served, workspace, tmp_path):
    """Samples with images in a zip, pairs in a table."""
    ids = [f"{i:03d}" for i in range(400)]
    for name, scale in (("decals", 0.262), ("hsc", 0.168)):
        images = blobs(400, 64, scale, noise=0.002)
        write_sample(tmp_path / name, images, name, object_id=ids, bands=["g,r,z"] * 400)
        (tmp_path / f"{name}.zip").write_bytes(zipped(tmp_path / name))
    pq.write_table(pair_table(ids, ids), tmp_path / "pairs.parquet")
    samples = {"anchor": tmp_path / "decals.zip", "target": tmp_path / "hsc.zip"}
    job = sky.submit("adapt", {"survey": "hsc"}, **samples, pairs=tmp_path / "pairs.parquet")
    state = wait_for(served, job.id, *ENDED, seconds=1000)
    assert state["state"] == "done", state
    with zipfile.ZipFile(job.download("space.zip", tmp_path / "space.zip")) as archive:
        archive.extractall(tmp_path / "space")
    adapted = LatentSpace.load(tmp_path / "space")
    assert "hsc" in adapted.surveys and adapted.id == workspace.space.id


def test_jobs_are_cancelled_and_removed(served, workspace):
    files = {"sample": zipped(workspace.folder / "sdss")}
    ids = [
        httpx.post(f"{served}/api/jobs", data={"verb": "extract"}, files=files).json()["id"]
        for _ in range(4)
    ]
    wait_for(served, ids[0], "running")
    for job_id in reversed(ids):
        assert httpx.delete(f"{served}/api/jobs/{job_id}").status_code == 204
    states = [wait_for(served, job_id, *ENDED)["state"] for job_id in ids]
    assert states == ["cancelled"] * 4
    for job_id in ids:
        assert httpx.delete(f"{served}/api/jobs/{job_id}").status_code == 204
        assert httpx.get(f"{served}/api/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize(
    ("data", "names", "status"),
    [
        ({"verb": "extract"}, [], 422),
        ({"verb": "simulate"}, ["sample"], 422),
        ({"verb": "extract", "options": "{"}, ["sample"], 422),
        ({"verb": "extract", "options": '{"out": "/etc"}'}, ["sample"], 422),
        ({"verb": "adapt", "options": '{"survey": "/etc/x.toml"}'}, ["anchor", "target"], 422),
        ({"verb": "adapt", "options": '{"seed": -1}'}, ["anchor", "target"], 422),
        ({"verb": "extract"}, ["sample", "pairs"], 422),
        ({"verb": "extract"}, ["../../x"], 422),
        ({"options": "{}"}, ["sample"], 422),
    ],
)
def test_invalid_jobs_are_refused(workspace, tmp_path, data, names, status):
    queue = JobQueue(tmp_path)
    http = TestClient(workspace.sharing_app(jobs=JobSettings(queue=queue, space="decals")))
    files = dict.fromkeys(names, b"PAR1")
    answer = http.post("/api/jobs", data=data, files=files or {"other": b""})
    assert answer.status_code == status, answer.text
    assert queue.ids() == set() and not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_the_queue_is_bounded(workspace, tmp_path):
    jobs = JobSettings(queue=JobQueue(tmp_path), space="decals")
    http = TestClient(workspace.sharing_app(jobs=jobs, limits=Limits(waiting_jobs=2)))
    given = {"data": {"verb": "extract"}, "files": {"sample": b"PAR1"}}
    codes = [http.post("/api/jobs", **given).status_code for _ in range(4)]
    assert codes == [202, 202, 429, 429]
    assert jobs.queue.counts()[State.QUEUED] == 2


def test_a_service_without_jobs_names_the_option(http):
    answer = http.get("/api/jobs")
    assert answer.status_code == 404 and "--jobs" in answer.json()["error"]["message"]


def test_a_state_changes_only_from_the_expected_state(tmp_path):
    queue = JobQueue(tmp_path)
    job = queue.new_id()
    queue.add(job, "", "extract", {"a": 1})
    assert queue.get(job).options == {"a": 1}
    assert queue.move(job, State.QUEUED, State.RUNNING)
    assert not queue.move(job, State.QUEUED, State.RUNNING)
    queue.cancel(job)
    assert queue.get(job).cancelling and queue.get(job).state is State.RUNNING
    assert queue.get(job, "somebody else") is None
    assert sum(queue.counts().values()) == 1


def test_a_job_without_a_pid_is_interrupted_later(tmp_path):
    """A job may be cancelled before its process has written its pid."""
    queue = JobQueue(tmp_path)
    job = queue.new_id()
    folder = queue.path(job)
    folder.mkdir()
    lock = try_lock(folder / process.LOCK)
    queue.add(job, "", "extract", {})
    assert queue.move(job, State.QUEUED, State.RUNNING)
    queue.cancel(job)
    runner = JobRunner(queue, 1)
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs may not
    with subprocess.Popen(["sleep", "60"], start_new_session=True, preexec_fn=hears) as young:
        runner.start()
        time.sleep(1)
        write_json(folder / process.PID, young.pid)
        assert young.wait(30) == -signal.SIGINT
    os.close(lock)
    deadline = time.monotonic() + 30
    while queue.get(job).state is State.RUNNING and time.monotonic() < deadline:
        time.sleep(0.05)
    runner.stop()
    assert queue.get(job).state is State.CANCELLED

"""Random kills of a service, its workers, their helpers and its jobs lose no acknowledged job."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from service_helpers import killable, start_service, wait_for, zipped

from galaxy_da.service.jobs.queue import ENDED

KEPT = 6  # one job in so many runs to its end, and the client cancels the others
AT_ONCE = 4  # submissions before each burst of kills, the first of which is acknowledged
MOST_IN_BURST = 5
MOST_KILLS = 2  # of a job, which fails at the third
PATIENCE_SECONDS = 900
TRY_AGAIN = (503, 504)


class Client:
    """Client that repeats a request until the service, wherever it is, acknowledges it."""

    def __init__(self, data):
        self.data, self.url, self.kept, self.cancelled = data, None, set(), set()

    def submit(self, keep):
        """Submit a job, and cancel it unless it is to be kept."""
        files = {"sample": self.data}
        answer = self._repeat("POST", "/api/jobs", 202, data={"verb": "extract"}, files=files)
        job_id = answer.json()["id"]
        if keep:
            self.kept.add(job_id)
            return
        # a repeated cancellation removes the job that the first one had ended
        self._repeat("DELETE", f"/api/jobs/{job_id}", 204, again=404)
        self.cancelled.add(job_id)

    def look(self):
        """Ask once for outliers, so that there are processes of slow questions."""
        with suppress(httpx.HTTPError):
            httpx.get(f"{self.url}/api/outliers?survey=hsc&k=3", timeout=5)

    def _repeat(self, method, path, code, again=None, **content):
        """Repeat a request until the answer has a status code, or `again` from the second time."""
        deadline, codes = time.monotonic() + PATIENCE_SECONDS, {code}
        while time.monotonic() < deadline:
            try:
                answer = httpx.request(method, self.url + path, timeout=120, **content)
            except httpx.HTTPError:
                codes |= {again}
            else:
                if answer.status_code in codes:
                    return answer
                assert answer.status_code in TRY_AGAIN, answer.text
            time.sleep(0.1)
        raise AssertionError(f"{method} {path} was not acknowledged in {PATIENCE_SECONDS} s")


class Killer:
    """Kill one process after the other, and count the kills of each job."""

    def __init__(self, folder, seed):
        self.folder, self.dice = folder, random.Random(seed)
        self.of_job, self.of_services, self.of_parts = {}, 0, 0

    def kill(self, service):
        """Kill the service, or a process of it or of a job; return true if it was the service."""
        victims = {pid: job for pid, job in killable(service.pid, self.folder).items()
                   if self.of_job.get(job, 0) < MOST_KILLS or job is None}  # fmt: skip
        if not victims or self.dice.random() < 0.1:
            stop(service)
            self.of_services += 1
            return True
        pid = self.dice.choice(sorted(victims))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if victims[pid] is None:
            self.of_parts += 1
        else:
            self.of_job[victims[pid]] = self.of_job.get(victims[pid], 0) + 1
        return False


def stop(service):
    os.killpg(service.pid, signal.SIGKILL)
    service.wait()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kills", [200])
def test_random_kills_lose_no_acknowledged_job(workspace, tmp_path, kills):
    folder, log, limits = tmp_path / "jobs", tmp_path / "log", tmp_path / "limits.toml"
    limits.write_text("waiting_jobs = 1000\nrunning_jobs = 2\n")
    several = ("--limits", str(limits), "--workers", "2")
    client, killer = Client(zipped(workspace.folder / "sdss")), Killer(folder, kills)
    service, client.url = start_service(workspace, folder, log, *several)
    try:
        with ThreadPoolExecutor(8) as clients:
            going_on, left = [], kills
            while left:
                clients.submit(client.look)
                first, *others = (
                    clients.submit(client.submit, killer.dice.random() < 1 / KEPT)
                    for _ in range(AT_ONCE)
                )
                first.result()
                going_on += others
                burst = min(killer.dice.randint(1, MOST_IN_BURST), left)
                left -= burst
                for _ in range(burst):
                    time.sleep(killer.dice.uniform(0, 0.7))
                    if killer.kill(service):
                        service, client.url = start_service(workspace, folder, log, *several)
            for submission in going_on:
                submission.result()
    finally:
        stop(service)
    service, url = start_service(workspace, folder, log, "--limits", str(limits))
    try:
        listed, promised = _listed(url), client.kept | client.cancelled
        for job_id in listed - promised:  # a kill came before the acknowledgement
            httpx.delete(f"{url}/api/jobs/{job_id}")
        states = {
            job_id: wait_for(url, job_id, *ENDED, seconds=3600)["state"]
            for job_id in listed & promised
        }
        listed = _listed(url)
    finally:
        stop(service)
    print(
        f"kills: {killer.of_services} of the service, {killer.of_parts} of its processes, "
        f"{sum(killer.of_job.values())} of {len(killer.of_job)} jobs; acknowledged: "
        f"{len(client.kept)} jobs, {len(client.cancelled)} cancelled jobs"
    )
    assert len(promised) >= kills and client.kept <= listed
    assert {states[job_id] for job_id in client.kept} == {"done"}
    assert {states[job_id] for job_id in states.keys() - client.kept} <= {"cancelled", "done"}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == listed
    expected = _embeddings(workspace.folder / "features" / "sdss" / "*.parquet")
    for job_id in client.kept:
        results = folder / job_id / "results"
        assert {path.name for path in results.iterdir()} == {"features.parquet", "features.zip"}
        np.testing.assert_allclose(_embeddings(results / "features.parquet"), expected, atol=1e-5)
    drafts = {path.parent.name for path in Path(folder).rglob("*.partial")}
    assert not drafts & client.kept  # a cancelled job keeps the draft of a killed write


def _listed(url):
    return {job["id"] for job in httpx.get(f"{url}/api/jobs", timeout=120).json()}


def _embeddings(pattern):
    """Read the latents of a feature table of one file."""
    (path,) = pattern.parent.glob(pattern.name)
    return np.array(pq.read_table(path, columns=["embedding"])["embedding"].to_pylist())

"""Random kills of a service, its workers, their helpers and its jobs lose no acknowledged job."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from service_helpers import killable, start_service, wait_for, zipped

from galaxy_da.service.jobs.queue import ENDED

JOBS = 24
MOST_KILLS = 2  # of a job, which fails at the third


class Killer:
    """Kill one process after the other, and count the kills of each job."""

    def __init__(self, folder, seed):
        self.folder, self.dice, self.of_job = folder, random.Random(seed), {}

    def kill(self, service):
        """Kill the service, or a process of it or of a job; return true if it was the service."""
        victims = {pid: job for pid, job in killable(service.pid, self.folder).items()
                   if self.of_job.get(job, 0) < MOST_KILLS or job is None}  # fmt: skip
        if not victims or self.dice.random() < 0.1:
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()
            return True
        pid = self.dice.choice(sorted(victims))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if victims[pid] is not None:
            self.of_job[victims[pid]] = self.of_job.get(victims[pid], 0) + 1
        return False


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kills", [200])
def test_random_kills_lose_no_acknowledged_job(workspace, tmp_path, kills):
    folder, log, known = tmp_path / "jobs", tmp_path / "log", set()
    data, killer = zipped(workspace.folder / "sdss"), Killer(folder, kills)

    def use(url):
        try:
            if len(known) < JOBS:
                files = {"sample": data}
                answer = httpx.post(
                    f"{url}/api/jobs", data={"verb": "extract"}, files=files, timeout=30
                )
                known.add(answer.json()["id"])
            httpx.get(f"{url}/api/outliers?survey=hsc&k=3", timeout=5)
        except (httpx.HTTPError, KeyError):
            pass

    service, url = start_service(workspace, folder, log, "--workers", "2")
    use(url)
    with ThreadPoolExecutor(3) as clients:
        for _ in range(kills):
            clients.submit(use, url)
            time.sleep(killer.dice.uniform(0, 2))
            if killer.kill(service):
                service, url = start_service(workspace, folder, log, "--workers", "2")
    os.killpg(service.pid, signal.SIGKILL)
    service.wait()
    service, url = start_service(workspace, folder, log)
    try:
        listed = {job["id"] for job in httpx.get(f"{url}/api/jobs").json()}
        assert known and known <= listed
        for job_id in listed:
            assert wait_for(url, job_id, *ENDED, seconds=1200)["state"] == "done"
    finally:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
    assert {path.name for path in folder.iterdir() if path.is_dir()} == listed
    for job_id in listed:
        results = {path.name for path in (folder / job_id / "results").iterdir()}
        assert results == {"features.parquet", "features.zip"}
    assert not list(Path(folder).rglob("*.partial"))

"""Runner of queued jobs, each in a process of its own, which may outlive the service.

One worker process is the runner: the one that holds the folder's lock. The system releases the lock
when that process dies, and another takes over. Each running job holds a lock too, so the new runner
follows the jobs that are alive and restarts only those that ended without an outcome.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from galaxy_da.errors import StorageError
from galaxy_da.io.locks import try_lock
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import Job, JobQueue, Progress, State
from galaxy_da.service.telemetry import LOG

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0
_MAX_CRASHES = 3
_TAIL_BYTES = 4096
_BAR = re.compile(r"(?P<step>[^|]*?):\s+\d+%\|[^|]*\|\s*(?P<done>\d{1,18})/(?P<total>\d{1,18})")


class JobRunner:
    """Thread that starts, follows and ends the jobs of a queue, at most `max_running` at once.

    A job that this runner has followed for `seconds` is killed, and fails.
    """

    def __init__(self, queue: JobQueue, max_running: int, seconds: float = math.inf) -> None:
        self._queue = queue
        self._max_running = max_running
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._lock: int | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._interrupted: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Start the thread; it waits while another process is the runner."""
        self._thread.start()

    def stop(self) -> None:
        """Interrupt the running jobs, which continue at the next start, and end the thread."""
        self._stop.set()
        self._thread.join()
        if self._lock is None:
            return
        running = self._queue.in_state(State.RUNNING)
        for job in running:
            self._interrupt(job.id)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for job in running:
            while self._is_alive(job.id) and time.monotonic() < deadline:
                self._interrupt(job.id)
                time.sleep(_POLL_SECONDS)
            while self._is_alive(job.id):
                self._signal(job.id, signal.SIGKILL)
                time.sleep(_POLL_SECONDS)
            if not self._outcome(job):
                self._queue.move(job.id, State.RUNNING, State.QUEUED, "the service was stopped")
        os.close(self._lock)

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            try:
                if self._is_runner():
                    self._tick()
            except (OSError, StorageError):
                LOG.exception("the job queue failed")

    def _is_runner(self) -> bool:
        if self._lock is None:
            self._lock = try_lock(self._queue.folder / ".runner")
            if self._lock is not None:
                self._sweep()
        return self._lock is not None

    def _tick(self) -> None:
        for job in self._queue.in_state(State.RUNNING):
            started_here = job.id in self._children
            if self._is_alive(job.id):
                self._follow(job)
            elif not self._outcome(job):
                self._restart(job, started_here)
        free = self._max_running - len(self._queue.in_state(State.RUNNING))
        for job in self._queue.in_state(State.QUEUED)[: max(free, 0)]:
            self._start(job)

    def _start(self, job: Job) -> None:
        folder = self._queue.path(job.id)
        try:
            lock = try_lock(folder / process.LOCK)
        except FileNotFoundError:
            self._queue.move(job.id, State.QUEUED, State.FAILED, "its files were removed")
            return
        if lock is None:
            return  # its upload or its previous process is still ending
        try:
            (folder / process.PID).unlink(missing_ok=True)
            if not self._queue.move(job.id, State.QUEUED, State.RUNNING):
                return  # cancelled meanwhile
            LOG.info("job started", extra={"fields": {"job": job.id, "verb": job.verb}})
            command = [sys.executable, "-P", "-m", process.__name__, str(folder), str(lock)]
            with (folder / process.LOG).open("ab") as log:
                self._children[job.id] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,
                    env={**os.environ, "TQDM_MININTERVAL": "0.5"},
                )
        finally:
            os.close(lock)

    def _follow(self, job: Job) -> None:
        if job.cancelling:
            self._interrupt(job.id)
            since = self._interrupted.get(job.id)
            if since is not None and time.monotonic() - since > _PATIENCE_SECONDS:
                self._signal(job.id, signal.SIGKILL)
            return
        self._store_progress(job.id)
        now = time.monotonic()
        if now - self._since.setdefault(job.id, now) > self._seconds:
            self._signal(job.id, signal.SIGKILL)
            if job.id in self._children:
                self._children.pop(job.id).wait()
            message = f"took longer than {self._seconds:g} s"
            self._queue.move(job.id, State.RUNNING, State.FAILED, message)

    def _store_progress(self, job_id: str) -> None:
        progress = _read_progress(self._queue.path(job_id) / process.LOG)
        if progress is not None and progress != self._progress.get(job_id):
            self._queue.set_progress(job_id, progress)
            self._progress[job_id] = progress

    def _outcome(self, job: Job) -> bool:
        """Store the outcome of an ended job in the queue; return false if there is none."""
        self._reap(job.id)
        self._since.pop(job.id, None)
        try:
            text = (self._queue.path(job.id) / process.OUTCOME).read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        self._store_progress(job.id)
        outcome = json.loads(text)
        state = State(outcome["state"])
        self._queue.move(job.id, State.RUNNING, state, outcome.get("message", ""))
        LOG.info("job ended", extra={"fields": {"job": job.id, "state": state}})
        return True

    def _restart(self, job: Job, started_here: bool) -> None:
        """Queue a job without an outcome again, or let it fail after several crashes.

        A process that never began is no crash of the job if its runner was killed with it.
        """
        if job.cancelling:
            self._queue.move(job.id, State.RUNNING, State.CANCELLED)
            return
        if not started_here and not (self._queue.path(job.id) / process.PID).exists():
            self._queue.move(job.id, State.RUNNING, State.QUEUED, "its start was interrupted")
            return
        crashes, after, message = job.crashes + 1, State.QUEUED, "its process was killed"
        if crashes >= _MAX_CRASHES:
            after, message = State.FAILED, f"{message} {crashes} times; too little memory?"
        self._queue.move(job.id, State.RUNNING, after, message, crashes=1)
        LOG.warning("job crashed", extra={"fields": {"job": job.id, "crashes": crashes}})

    def _is_alive(self, job_id: str) -> bool:
        self._reap(job_id)
        try:
            lock = try_lock(self._queue.path(job_id) / process.LOCK)
        except FileNotFoundError:
            return False
        if lock is None:
            return True
        os.close(lock)
        return False

    def _reap(self, job_id: str) -> None:
        child = self._children.get(job_id)
        if child is not None and child.poll() is not None:
            del self._children[job_id]

    def _interrupt(self, job_id: str) -> None:
        """Interrupt a job once; a job without a pid yet is tried again at the next call."""
        if job_id not in self._interrupted and self._signal(job_id, signal.SIGINT):
            self._interrupted[job_id] = time.monotonic()

    def _signal(self, job_id: str, number: signal.Signals) -> bool:
        """Signal a job, whose held lock proves that the pid is its own; false if there is none."""
        try:
            pid = json.loads((self._queue.path(job_id) / process.PID).read_text(encoding="utf-8"))
            os.killpg(pid, number)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    def _sweep(self) -> None:
        """Remove folders of interrupted uploads."""
        for folder in self._queue.folder.iterdir():
            if not (folder / process.LOCK).exists() or folder.name in self._queue.ids():
                continue
            lock = try_lock(folder / process.LOCK)
            if lock is None:
                continue  # an upload in progress
            if folder.name not in self._queue.ids():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _read_progress(log: Path) -> Progress | None:
    """Read the last progress bar of a log."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = handle.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    for line in reversed(tail.replace("\r", "\n").split("\n")):
        if bar := _BAR.match(line):
            done, total, step = bar.group("done", "total", "step")
            return Progress(done=int(done), total=int(total), step=step.strip())
    return None

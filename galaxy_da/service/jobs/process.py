"""The process of one job: ``python -m galaxy_da.service.jobs.process FOLDER LOCK``.

It unpacks the upload, runs the verbs, packs the results and writes one ``outcome.json``. It holds
an inherited lock until it ends. A free lock without an outcome means that the process was killed.
A job with an outcome never runs again. The process is sealed: it opens no file outside the sample's
folder that a table names, and reaches no other machine.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
import traceback
import zipfile
from contextlib import suppress
from pathlib import Path

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.containment import seal
from galaxy_da.io.files import atomic_path, ensure_folder, write_json
from galaxy_da.service.limits import is_out_of_memory

__all__ = ["LOCK", "LOG", "OUTCOME", "PID", "REQUEST", "RESULTS", "UPLOAD"]

LOCK, LOG, OUTCOME, PID, REQUEST = "lock", "log.txt", "outcome.json", "pid", "request.json"
UPLOAD, RESULTS = "upload", "results"

_INTERRUPTED = 130
_NICE = 10
_INPUT, _WORK = "input", "work"
_stopped = threading.Event()


def _main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)
    os.nice(_NICE)  # the service answers its clients first
    with suppress(OSError):  # Linux may schedule each session as one
        Path("/proc/self/autogroup").write_text(str(_NICE))
    signal.signal(signal.SIGINT, _interrupt)
    if (folder / OUTCOME).exists():
        return 0
    write_json(folder / PID, os.getpid())
    try:
        message = _run(folder)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except GalaxyDAError as error:
        message = str(error)
    except Exception as error:  # every error is an outcome of the job
        if _stopped.is_set():
            return _INTERRUPTED
        traceback.print_exc()
        message = f"internal error ({type(error).__name__}); the log has more"
        if is_out_of_memory(error):
            message = "needs more memory than a job may use"
    message = message.replace(f"{folder}/", "")  # clients need not know where it is
    outcome = {"state": "failed", "message": message} if message else {"state": "done"}
    write_json(folder / OUTCOME, outcome)
    for part in (UPLOAD, _INPUT, _WORK):  # not needed after the outcome
        shutil.rmtree(folder / part, ignore_errors=True)
    return 0


def _interrupt(number: int, frame: object) -> None:
    _stopped.set()  # a verb may catch the exception and report a failure
    raise KeyboardInterrupt


def _run(folder: Path) -> str:
    """Run a job; return the reason if it failed, else an empty string."""
    from galaxy_da.service.jobs.verbs import VERBS, JobRequest
    from galaxy_da.service.uploads.samples import check_sample, unpack_sample

    request = JobRequest.model_validate_json((folder / REQUEST).read_text(encoding="utf-8"))
    limits = request.limits
    resource.setrlimit(resource.RLIMIT_DATA, (limits.job_memory_bytes,) * 2)
    seal()
    verb = VERBS[request.verb]
    files = {}
    for path in sorted((folder / UPLOAD).iterdir()):
        files[path.stem] = path
        if path.stem in verb.samples:
            files[path.stem] = unpack_sample(path, folder / _INPUT / path.stem, limits)
            check_sample(files[path.stem], limits)
    results, work = ensure_folder(folder / RESULTS), ensure_folder(folder / _WORK)
    plan = verb.model_validate(request.options).plan(request.space, files, work, results)
    for step in plan.steps:
        status, last_line = _run_verb(step, folder / LOG)
        if _stopped.is_set():
            raise KeyboardInterrupt
        if status:
            return last_line
    for name, source in plan.packed.items():
        _pack(source, results / name)
    return ""


def _run_verb(arguments: list[str], log: Path) -> tuple[int, str]:
    """Run one verb; return its status and the last line it wrote to the log."""
    from galaxy_da.cli import main

    start = log.stat().st_size
    status = main(arguments)
    sys.stderr.flush()
    lines = log.read_bytes()[start:].decode("utf-8", "replace").splitlines()
    written = [line.strip() for line in lines if line.strip()]
    last = written[-1] if written else f"ended with status {status}"
    return status, last.removeprefix("galaxy-da: ")


def _pack(source: Path, target: Path) -> None:
    with (
        atomic_path(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source))


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), int(sys.argv[2])))

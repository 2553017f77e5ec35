"""The process of one job: ``python -m galaxy_da.service.jobs.process FOLDER LOCK``.

It unpacks what came, runs the verbs, packs the results, and writes one ``outcome.json``. While it
lives it holds the lock that it was started with; when that is free and there is no outcome, it was
killed. A job that has an outcome is never run again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import threading
import traceback
import zipfile
from pathlib import Path
from typing import Any

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.files import atomic_path, ensure_folder, write_json

__all__ = ["LOCK", "LOG", "OUTCOME", "PID", "REQUEST", "RESULTS", "UPLOAD"]

LOCK, LOG, OUTCOME, PID, REQUEST = "lock", "log.txt", "outcome.json", "pid", "request.json"
UPLOAD, RESULTS = "upload", "results"

_INTERRUPTED = 130
_NICE = 10
_SCRATCH = "input", "work"
_stopped = threading.Event()


def _main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)
    os.nice(_NICE)  # whoever asks the service comes first
    signal.signal(signal.SIGINT, _interrupt)
    if (folder / OUTCOME).exists():
        return 0
    write_json(folder / PID, os.getpid())
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    try:
        message = _run(folder, request)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except GalaxyDAError as error:
        message = str(error)
    except MemoryError:
        message = "takes more memory than a job may have"
    except Exception as error:  # whatever happens is the job's outcome
        if _stopped.is_set():
            return _INTERRUPTED
        traceback.print_exc()
        message = f"a fault, {type(error).__name__}; the log has more"
    outcome = {"state": "failed", "message": message} if message else {"state": "done"}
    write_json(folder / OUTCOME, outcome)
    for part in (UPLOAD, *_SCRATCH):  # needed no more, since there is an outcome
        shutil.rmtree(folder / part, ignore_errors=True)
    return 0


def _interrupt(number: int, frame: object) -> None:
    _stopped.set()  # a verb may make an ordinary failure of the exception
    raise KeyboardInterrupt


def _run(folder: Path, request: dict[str, Any]) -> str:
    """Run a job; return why it failed, or nothing."""
    from galaxy_da.service.jobs.unpacking import check_sample, unpack_sample
    from galaxy_da.service.jobs.verbs import VERBS
    from galaxy_da.service.limits import Limits

    limits = Limits.model_validate(request["limits"])
    resource.setrlimit(resource.RLIMIT_DATA, (limits.job_memory_bytes,) * 2)
    verb = VERBS[request["verb"]]
    files = {}
    for path in sorted((folder / UPLOAD).iterdir()):
        files[path.stem] = path
        if path.stem in verb.samples:
            files[path.stem] = unpack_sample(path, folder / _SCRATCH[0] / path.stem, limits)
            check_sample(files[path.stem], limits)
    results = ensure_folder(folder / RESULTS)
    work = ensure_folder(folder / _SCRATCH[1])
    options = verb.options.model_validate(request["options"])
    plan = verb.plan(request["space"], files, work, results, options)
    for step in plan.steps:
        status, said = _step(step, folder / LOG)
        if _stopped.is_set():
            raise KeyboardInterrupt
        if status:
            return said
    for name, source in plan.packed.items():
        _pack(source, results / name)
    return ""


def _step(arguments: list[str], log: Path) -> tuple[int, str]:
    """Run one verb; return its status, and the last line it wrote on stderr, which is the log."""
    from galaxy_da.cli import main

    start = log.stat().st_size
    status = main(arguments)
    sys.stderr.flush()
    lines = log.read_bytes()[start:].decode("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    return status, (said[-1] if said else f"ended with {status}").removeprefix("galaxy-da: ")


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

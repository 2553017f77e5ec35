"""Engine of a fetch: obtain cutouts from this machine or from the service, in threads.

A cutout is written whole, then recorded. A cutout that a kill left unrecorded is found by its name
and not requested again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from tenacity import Retrying, retry_if_exception, stop_after_attempt
from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from catalogs.archives.cache import Cache, Cached
from catalogs.archives.http import Http
from catalogs.archives.journal import Journal, Outcome
from catalogs.archives.source import CutoutSource
from galaxy_da.errors import CatalogError, CutoutError, GalaxyDAError
from galaxy_da.io.files import atomic_path, file_hash

_UNSETTLED = ("fetch_failed", "unreadable")  # worth another try
_FAILURES_IN_A_ROW = 20
_READS = 3
_PREFETCHED = 4  # requests queued per worker

_Result: TypeAlias = tuple[Outcome, str] | None  # and "requested" or "reused"; None if stopped


def cutout_path(key: str, suffix: str) -> Path:
    """Return the path of a request's cutout in the output folder."""
    return Path("cutouts", key[:2], f"{key}{suffix}")


@dataclass(frozen=True)
class Job:
    """Source, output folder and tools of one fetch."""

    source: CutoutSource
    folder: Path
    http: Http
    journal: Journal
    cache: Cache
    progress: bool

    def _path(self, key: str) -> Path:
        return self.folder / cutout_path(key, self.source.suffix)

    def verify(self, keys: set[str]) -> tuple[set[str], int]:
        """Return the settled requests, and the number of cutouts that were lost or changed."""
        settled = {
            key: outcome
            for key, outcome in self.journal.outcomes.items()
            if key in keys and outcome.status not in _UNSETTLED
        }
        cutouts = [key for key, outcome in settled.items() if outcome.status == "ok"]

        def is_whole(key: str) -> bool:
            path = self._path(key)
            whole = path.is_file() and file_hash(path) == settled[key].sha256
            if not whole:
                path.unlink(missing_ok=True)
            return whole

        hidden = not (self.progress and cutouts)
        whole = thread_map(is_whole, cutouts, desc="verify", unit="img", disable=hidden)
        lost = {key for key, good in zip(cutouts, whole, strict=True) if not good}
        return settled.keys() - lost, len(lost)

    def run(self, positions: Mapping[str, tuple[float, float]]) -> Counter[str]:
        """Obtain and record cutouts in threads; stop if request after request fails."""
        known = self.cache.find(list(positions))
        counts: Counter[str] = Counter()
        failures = 0
        with tqdm(total=len(positions), desc="fetch", unit="img", disable=not self.progress) as bar:

            def record(results: list[_Result]) -> None:
                nonlocal failures
                kept = [result for result in results if result is not None]
                self.journal.add(outcome for outcome, _ in kept)
                for outcome, how in kept:
                    counts[how] += 1
                    failures = failures + 1 if outcome.status in _UNSETTLED else 0
                    if failures >= _FAILURES_IN_A_ROW:
                        raise CatalogError(
                            f"{self.source.service}: {failures} cutouts in a row failed, the last "
                            f"because {outcome.message}; what is done is kept, run the same "
                            "command again to go on"
                        )
                bar.update(len(kept))

            _in_threads(
                lambda item: self._obtain(item[0], item[1], known.get(item[0])),
                positions.items(),
                record,
                self.source.limits.concurrency,
                self.http.stop,
            )
        return counts

    def remember(self, keys: Iterable[str]) -> None:
        """Add this job's cutouts to the cache."""
        outcomes = self.journal.outcomes
        done = {key for key in keys if key in outcomes and outcomes[key].status == "ok"}
        self.cache.add({k: (self._path(k), str(outcomes[k].sha256)) for k in done})

    def _obtain(self, key: str, position: tuple[float, float], known: Cached | None) -> _Result:
        """Obtain one cutout from this machine or from the service; None if the job was stopped."""
        target = self._path(key)
        try:
            # a kill left it unrecorded, or another fetch on this machine has it
            if target.is_file() or (known is not None and _link(known, target)):
                return _ok(key, target.read_bytes()), "reused"
            data = self._fetch(*position)
        except CatalogError:
            self.http.stop()  # before this thread takes another item
            raise
        except CutoutError as error:
            if self.http.stopped:
                return None
            return Outcome(key=key, status=error.status, message=str(error)), "requested"
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)
        return _ok(key, data), "requested"

    def _fetch(self, ra: float, dec: float) -> bytes:
        """Fetch from the service, again if the reply is not a whole image."""
        again = retry_if_exception(
            lambda error: isinstance(error, CutoutError) and error.status == "unreadable"
        )
        retrying = Retrying(retry=again, stop=stop_after_attempt(_READS), reraise=True)
        return retrying(self.source.fetch, ra, dec, self.http)


def _ok(key: str, data: bytes) -> Outcome:
    return Outcome(key=key, status="ok", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _link(known: Cached, target: Path) -> bool:
    """Link (across file systems: copy) an unchanged cutout that is on this machine."""
    path, sha256 = known
    if not path.is_file() or file_hash(path) != sha256:
        return False
    with atomic_path(target) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)
    return True


def _in_threads(
    work: Callable[[Any], _Result],
    items: Iterable[Any],
    record: Callable[[list[_Result]], None],
    workers: int,
    stop: Callable[[], None],
) -> None:
    """Work on items in threads; on an error let running items end, and record them."""
    todo = iter(items)
    pool = ThreadPoolExecutor(workers)
    running: set[Future[_Result]] = set()
    try:
        while True:
            room = _PREFETCHED * workers - len(running)
            running |= {pool.submit(work, item) for item in islice(todo, room)}
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            running -= ended
            record(_good(ended))
            for future in ended:
                future.result()
    except BaseException:
        stop()
        pool.shutdown(cancel_futures=True)
        with suppress(GalaxyDAError):  # report the first error
            record(_good(running))
        raise
    finally:
        pool.shutdown()


def _good(futures: Iterable[Future[_Result]]) -> list[_Result]:
    return [
        future.result()
        for future in futures
        if future.done() and not future.cancelled() and future.exception() is None
    ]

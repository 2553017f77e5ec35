"""Obtain cutouts: from this machine where they are on it, else from the service, in threads.

A cutout is written whole, then recorded. What a kill leaves between the two is found by its name
and not requested again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt
from tqdm import tqdm

from catalogs.archives.cache import Cache, Cached
from catalogs.archives.http import Http
from catalogs.archives.journal import Journal, Outcome
from catalogs.archives.source import CutoutSource
from galaxy_da.errors import CatalogError, CutoutError, GalaxyDAError
from galaxy_da.io.files import atomic_path, file_hash

__all__ = ["Job", "cutout_path"]

_UNSETTLED = ("fetch_failed", "unreadable")  # worth another try
_FAILURES_IN_A_ROW = 20
_READS = 3
_PREFETCHED = 4  # requests queued per worker


def cutout_path(key: str, suffix: str) -> Path:
    """Return where the answer to a request lies in the output folder."""
    return Path("cutouts", key[:2], f"{key}{suffix}")


@dataclass(frozen=True)
class Job:
    """One fetch: where from, where to, and its tools.

    Attributes
    ----------
    source : CutoutSource
        Where cutouts come from.
    folder : Path
        Where they go.
    http : Http
        Asks the service.
    journal : Journal
        Knows what was answered.
    cache : Cache
        Knows what other fetches left on this machine.
    progress : bool
        Whether to show progress bars.
    """

    source: CutoutSource
    folder: Path
    http: Http
    journal: Journal
    cache: Cache
    progress: bool

    def path(self, key: str) -> Path:
        """Return where a cutout goes."""
        return self.folder / cutout_path(key, self.source.suffix)

    def verify(self, keys: set[str]) -> tuple[set[str], int]:
        """Return the requests that are settled, and how many cutouts were lost or changed."""
        settled = {
            key: outcome
            for key, outcome in self.journal.outcomes.items()
            if key in keys and outcome.status not in _UNSETTLED
        }
        cutouts = [key for key, outcome in settled.items() if outcome.status == "ok"]

        def is_whole(key: str) -> bool:
            path = self.path(key)
            whole = path.is_file() and file_hash(path) == settled[key].sha256
            if not whole:
                path.unlink(missing_ok=True)
            return whole

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            whole = list(
                tqdm(
                    pool.map(is_whole, cutouts),
                    total=len(cutouts),
                    desc="verify",
                    unit="img",
                    disable=not (self.progress and cutouts),
                )
            )
        lost = {key for key, fine in zip(cutouts, whole, strict=True) if not fine}
        return settled.keys() - lost, len(lost)

    def run(self, asked: Mapping[str, tuple[float, float]]) -> Counter[str]:
        """Obtain cutouts in threads and record them; stop where every request fails."""
        known = self.cache.find(list(asked))
        counts: Counter[str] = Counter()
        failures = 0
        with tqdm(total=len(asked), desc="fetch", unit="img", disable=not self.progress) as bar:

            def record(results: list[_Result | None]) -> None:
                nonlocal failures
                kept = [result for result in results if result is not None]
                self.journal.add(result.outcome for result in kept)
                for result in kept:
                    counts["requested" if result.requested else "reused"] += 1
                    failed = result.outcome.status in _UNSETTLED
                    failures = failures + 1 if failed else 0
                    if failures >= _FAILURES_IN_A_ROW:
                        raise CatalogError(
                            f"{self.source.service}: {failures} cutouts in a row failed, the last "
                            f"because {result.outcome.message}; what is done is kept, run the same "
                            "command again to go on"
                        )
                bar.update(len(kept))

            _in_threads(
                lambda item: self._obtain(item[0], item[1], known.get(item[0])),
                asked.items(),
                record,
                self.source.limits.concurrency,
                self.http.stop,
            )
        return counts

    def remember(self, keys: Iterable[str]) -> None:
        """Tell the cache where this job's cutouts lie."""
        outcomes = self.journal.outcomes
        self.cache.add(
            {
                key: Cached(path=self.path(key), sha256=str(outcomes[key].sha256))
                for key in dict.fromkeys(keys)
                if key in outcomes and outcomes[key].status == "ok"
            }
        )

    def _obtain(
        self, key: str, position: tuple[float, float], known: Cached | None
    ) -> _Result | None:
        """Get one cutout from this machine or from the service; None when the job was stopped."""
        target = self.path(key)
        try:
            if target.is_file():  # left by a kill between its writing and its recording
                return _Result(_ok(key, target.read_bytes()), requested=False)
            if known is not None and _link(known, target):
                return _Result(_ok(key, target.read_bytes()), requested=False)
            data = self._ask(*position)
        except CatalogError:
            self.http.stop()  # before this thread takes another item
            raise
        except CutoutError as error:
            if self.http.stopped:
                return None
            outcome = Outcome(key=key, status=error.status, message=str(error))
            return _Result(outcome, requested=True)
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)
        return _Result(_ok(key, data), requested=True)

    def _ask(self, ra: float, dec: float) -> bytes:
        """Ask the service, again where the reply is no whole image."""
        retrying = Retrying(
            retry=retry_if_exception(_is_unreadable), stop=stop_after_attempt(_READS), reraise=True
        )
        return retrying(self.source.fetch, ra, dec, self.http)


@dataclass(frozen=True)
class _Result:
    outcome: Outcome
    requested: bool


def _ok(key: str, data: bytes) -> Outcome:
    return Outcome(key=key, status="ok", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _is_unreadable(error: BaseException) -> bool:
    return isinstance(error, CutoutError) and error.status == "unreadable"


def _link(known: Cached, target: Path) -> bool:
    """Link (across file systems: copy) a cutout that is on this machine, if it is what it was."""
    if not known.path.is_file() or file_hash(known.path) != known.sha256:
        return False
    with atomic_path(target) as temporary:
        try:
            temporary.hardlink_to(known.path)
        except OSError:
            shutil.copyfile(known.path, temporary)
    return True


def _in_threads(
    work: Callable[[Any], _Result | None],
    items: Iterable[Any],
    record: Callable[[list[_Result | None]], None],
    workers: int,
    stop: Callable[[], None],
) -> None:
    """Work on items a few ahead; on an error let what is under way end, and record it."""
    todo = iter(items)
    pool = ThreadPoolExecutor(workers)
    under_way: set[Future[_Result | None]] = set()
    try:
        while True:
            room = _PREFETCHED * workers - len(under_way)
            under_way |= {pool.submit(work, item) for item in islice(todo, room)}
            if not under_way:
                return
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            under_way -= ended
            record(_good(ended))
            for future in ended:
                future.result()
    except BaseException:
        stop()
        pool.shutdown(cancel_futures=True)
        with suppress(GalaxyDAError):  # the first error is the one to tell
            record(_good(under_way))
        raise
    finally:
        pool.shutdown()


def _good(futures: Iterable[Future[_Result | None]]) -> list[_Result | None]:
    return [
        future.result()
        for future in futures
        if future.done() and not future.cancelled() and future.exception() is None
    ]

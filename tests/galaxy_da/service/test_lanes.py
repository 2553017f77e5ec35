"""Questions in processes: the time limit ends them, memory is bounded, clients take turns."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from service_helpers import running

from galaxy_da.errors import CutoutError
from galaxy_da.service.errors import RequestError
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import CLIENT, Crew, Forker, Lane
from galaxy_da.service.limits import Limits
from galaxy_da.service.worker import BACKGROUND_NICE, Question


@pytest.fixture(scope="module")
def crew(workspace):
    limits = Limits(question_memory_bytes=3 << 30)
    held = Holdings(workspace.space, workspace.index, limits, None, None)
    forker = Forker(held)
    forker.wait()
    yield Crew(forker, 0)
    forker.close()


def asked(crew, function, seconds=60.0, **arguments):
    """Answer a question by a function of this folder's `worker_questions`."""
    return crew.answer(Question("worker_questions", function, arguments, seconds))


@pytest.fixture(autouse=True, scope="module")
def importable(tmp_path_factory):
    """Let the program find this module's questions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_comes_after_the_service(crew):
    """Linux may schedule each session as one: niceness counts inside a session only."""
    pid = asked(Crew(crew._forker, 7), "pid")
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    assert os.getsid(pid) == os.getsid(0) and os.getpgid(pid) != os.getpgid(0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not Linux")
def test_slow_processes_leave_a_core_to_the_service(crew):
    everywhere = os.sched_getaffinity(0)
    assert asked(Crew(crew._forker, BACKGROUND_NICE - 1), "cores") == everywhere
    left = asked(Crew(crew._forker, BACKGROUND_NICE), "cores")
    assert left == (everywhere - {min(everywhere)} or everywhere)


def test_a_process_ends_at_the_time_limit_whatever_it_runs(crew):
    for function in ("loop", "multiply", "sleep"):
        pid = asked(crew, "pid")
        start = time.monotonic()
        with pytest.raises(RequestError) as late:
            asked(crew, function, seconds=0.5)
        assert late.value.status == 504 and time.monotonic() - start < 5
        deadline = time.monotonic() + 5
        while is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert asked(crew, "pid") not in (pid, os.getpid())


def test_memory_is_bounded_and_the_next_question_finds_a_new_process(crew):
    before = asked(crew, "pid")
    with pytest.raises(RequestError) as refused:
        asked(crew, "allocate", number=1 << 30)
    assert refused.value.status == 413
    assert asked(crew, "pid") != before
    assert asked(crew, "allocate", number=1 << 20) == 8 << 20


def test_errors_are_those_of_the_question(crew):
    with pytest.raises(CutoutError, match="no such thing") as error:
        asked(crew, "refuse")
    assert error.value.status == "no_data"
    with pytest.raises(RequestError, match="teapot") as error:
        asked(crew, "refuse_request")
    assert (error.value.status, error.value.headers) == (418, {"A": "b"})
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        asked(crew, "divide")


def test_a_killed_process_is_replaced_and_a_question_that_kills_fails(crew):
    os.kill(asked(crew, "pid"), signal.SIGKILL)
    assert asked(crew, "pid")
    with pytest.raises(RequestError) as gone:
        asked(crew, "kill")
    assert gone.value.status == 503 and gone.value.headers["Retry-After"]


def test_processes_end_with_the_service(workspace):
    crew = Crew(Forker(Holdings(workspace.space, workspace.index, Limits(), None, None)), 0)
    pid = asked(crew, "pid")
    crew._forker.close()
    crew.renew(crew._forker)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Recorder:
    """Stand-in for a crew that notes whom it serves."""

    def __init__(self):
        self.served, self.go_on = [], threading.Event()

    def answer(self, question):
        self.served.append(question.arguments["client"])
        assert self.go_on.wait(20)


def test_clients_take_turns_and_none_fills_the_queue():
    async def run():
        recorder = Recorder()
        lane = Lane(recorder, 2, 40, 20)

        def ask(client):
            CLIENT.set(client)
            return asyncio.create_task(lane.ask("m", "f", client=client))

        greedy = [ask("greedy") for _ in range(30)]
        await asyncio.sleep(0)
        modest = [ask(name) for name in ("a", "b")]
        await asyncio.sleep(0.05)
        recorder.go_on.set()
        results = await asyncio.gather(*greedy, *modest, return_exceptions=True)
        lane.close()
        return recorder.served, [error.status for error in results if error is not None]

    served, refused = asyncio.run(run())
    assert served[:2] == ["greedy"] * 2 and {"a", "b"} <= set(served[2:4])
    assert refused == [503] * 18  # two run, a quarter of forty wait


def test_endless_questions_do_not_delay_the_service(workspace):
    app = workspace.app()
    endless = Question("worker_questions", "loop", {}, 8)
    with running(app) as url, httpx.Client(base_url=url) as http, ThreadPoolExecutor(8) as pool:
        app.state.service.start()
        asked = [pool.submit(app.state.service.slow.crew.answer, endless) for _ in range(8)]
        time.sleep(1)
        times = {"/healthz": [], "/api/similar?id=sdss:sdss-0001": []}
        for _ in range(30):
            for path, taken in times.items():
                start = time.perf_counter()
                assert http.get(path).status_code == 200
                taken.append(time.perf_counter() - start)
        assert not any(item.done() for item in asked)
        assert max(map(np.median, times.values())) < 0.1
        assert [item.exception().status for item in asked] == [504] * 8

"""Threads and batches: order, errors, queue limits and time limits."""

import asyncio
import threading
import time

import pytest

from galaxy_da.service.errors import RequestError
from galaxy_da.service.executor import Batcher, Workers


def batcher(compute, **limits):
    return Batcher(compute, **{"batch_size": 4, "max_waiting": 100, "timeout_s": 10, **limits})


def test_requests_during_a_batch_form_the_next_batch():
    sizes, go_on = [], threading.Event()

    def compute(items):
        sizes.append(len(items))
        assert go_on.wait(10)
        return [item * item for item in items]

    async def run():
        work = batcher(compute)
        asked = [asyncio.create_task(work.run(n)) for n in range(11)]
        await asyncio.sleep(0.05)
        late = asyncio.create_task(work.run(100))
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*asked, late)

    assert asyncio.run(run()) == [n * n for n in (*range(11), 100)]
    assert sizes == [4, 4, 4]


def test_a_single_request_does_not_wait():
    async def run():
        work = batcher(lambda items: items)
        start = time.perf_counter()
        assert await work.run(1) == 1
        return time.perf_counter() - start

    assert asyncio.run(run()) < 1


def test_an_error_result_fails_one_request_and_an_exception_the_whole_batch():
    def compute(items):
        if 9 in items:
            raise RuntimeError("fault")
        return [ValueError(item) if item == 1 else item for item in items]

    async def run():
        work = batcher(compute)
        first = await asyncio.gather(*(work.run(n) for n in range(3)), return_exceptions=True)
        second = await asyncio.gather(*(work.run(n) for n in (8, 9)), return_exceptions=True)
        return first, second, await work.run(5)

    first, second, third = asyncio.run(run())
    assert [first[0], str(first[1]), first[2]] == [0, "1", 2]
    assert [str(error) for error in second] == ["fault", "fault"] and third == 5


def test_cancelled_requests_are_not_computed():
    seen, go_on = [], threading.Event()

    def compute(items):
        seen.extend(items)
        assert go_on.wait(10)
        return items

    async def run():
        work = batcher(compute, batch_size=1, timeout_s=0.2)
        asked = [asyncio.create_task(work.run(n)) for n in range(3)]
        await asyncio.sleep(0.05)
        asked[1].cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        go_on.set()
        return results

    late, left, never = asyncio.run(run())
    assert late.status == never.status == 504 and isinstance(left, asyncio.CancelledError)
    assert 1 not in seen


def test_the_number_of_waiting_requests_is_bounded():
    go_on = threading.Event()

    def compute(items):
        assert go_on.wait(10)
        return items

    async def run():
        work, workers = batcher(compute, batch_size=1, max_waiting=2), Workers(1, 2, 10)
        first = asyncio.create_task(work.run(0))
        await asyncio.sleep(0.05)
        asked = [first, *(asyncio.create_task(work.run(n)) for n in range(1, 5))]
        calls = [asyncio.create_task(workers.run(lambda: go_on.wait(10))) for _ in range(5)]
        await asyncio.sleep(0.05)
        go_on.set()
        batched = await asyncio.gather(*asked, return_exceptions=True)
        called = await asyncio.gather(*calls, return_exceptions=True)
        again = await workers.run(lambda: "free")
        workers.close()
        return batched, called, again

    batched, called, again = asyncio.run(run())
    assert batched[:3] == [0, 1, 2] and again == "free"
    refused = [*batched[3:], *called[3:]]
    assert len(refused) == 4 and called[:3] == [True] * 3
    for error in refused:
        assert isinstance(error, RequestError)
        assert error.status == 503 and error.headers["Retry-After"]


def test_a_call_over_the_time_limit_keeps_its_thread_until_it_ends():
    go_on = threading.Event()

    async def run():
        workers = Workers(1, 0, 0.1)
        with pytest.raises(RequestError) as late:
            await workers.run(lambda: go_on.wait(10))
        with pytest.raises(RequestError) as busy:
            await workers.run(lambda: None)
        go_on.set()
        while workers._pending:
            await asyncio.sleep(0.01)
        assert await workers.run(lambda: 1) == 1
        return late.value.status, busy.value.status

    assert asyncio.run(run()) == (504, 503)

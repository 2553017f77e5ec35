"""Batches: order, errors, queue limits and time limits."""

import asyncio
import threading
import time

from galaxy_da.service.errors import RequestError
from galaxy_da.service.executor import Batcher


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
        work = batcher(compute, batch_size=1, max_waiting=2)
        first = asyncio.create_task(work.run(0))
        await asyncio.sleep(0.05)
        asked = [first, *(asyncio.create_task(work.run(n)) for n in range(1, 5))]
        await asyncio.sleep(0.05)
        go_on.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    batched = asyncio.run(run())
    assert batched[:3] == [0, 1, 2]
    refused = batched[3:]
    assert len(refused) == 2
    for error in refused:
        assert isinstance(error, RequestError)
        assert error.status == 503 and error.headers["Retry-After"]

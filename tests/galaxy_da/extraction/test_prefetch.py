import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_da.extraction.prefetch import parallel_map


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4), st.integers(1, 6))
def test_results_match_map(items, threads, prefetch):
    def slowly(item):
        time.sleep(item / 2000)
        return item * 10

    found = parallel_map(slowly, items, threads=threads, prefetch=prefetch)
    assert list(found) == [item * 10 for item in items]


def test_no_more_items_are_started_than_prefetched():
    taken, done = [], 0
    items = (taken.append(item) or item for item in range(20))
    for result in parallel_map(lambda item: item, items, threads=2, prefetch=3):
        assert result == done
        done += 1
        assert len(taken) <= done + 3
    assert done == 20


def test_threads_are_initialized_and_errors_raised_in_order():
    ready = threading.local()

    def prepare():
        ready.value = 1

    def use(item):
        return ready.value // item

    results = parallel_map(use, [1, 1, 0, 1], threads=2, prefetch=4, initializer=prepare)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)

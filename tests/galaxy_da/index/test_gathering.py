"""Binary search of ids in pieces, beside Python's own."""

from bisect import bisect_left

import numpy as np
import pyarrow as pa
import pytest

from galaxy_da.index.gathering import SortedText


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_sorted_text_is_found_as_python_finds_it(kind):
    rng = np.random.default_rng(0)
    letters = list("ab09 é\u4e2d\U0001f52d\uffee")
    words = sorted({"".join(rng.choice(letters, rng.integers(0, 6))) for _ in range(400)})
    array = pa.array(["zz", *words[:150]], kind).slice(1)
    column = pa.chunked_array([array, pa.array([], kind), pa.array(words[150:], kind)])
    text = SortedText(column)
    for low, stop in ((0, len(words)), (40, 200), (160, 160)):
        for word in [*words, *(f"{word}~" for word in words)]:
            place = bisect_left(words, word, low, stop)
            there = place < stop and words[place] == word
            assert text.find(word, low, stop) == (place if there else -1)


def test_empty_ids_and_half_characters_are_looked_up():
    text = SortedText(pa.chunked_array([pa.array([""])]))
    assert text.find("", 0, 1) == 0
    assert text.find("\ud800", 0, 1) == -1

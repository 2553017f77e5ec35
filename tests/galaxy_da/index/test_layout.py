import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from galaxy_da.index.layout import Layout, expanded

_segment = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 6), min_size=1)


@given(st.lists(_segment, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_row_numbers_match_a_sorted_list(counts, random):
    surveys = [dict(sorted(c.items())) for c in counts]
    sizes = [sum(c.values()) for c in surveys]
    share = random.choice([0, 0.3, 0.9])
    gone = [[p for p in range(n) if random.random() < share] for n in sizes]
    if sum(map(len, gone)) == sum(sizes):
        gone[0].pop()
    layout = Layout(surveys, [np.array(g, np.int64) for g in gone])
    names = [[name for name, n in c.items() for _ in range(n)] for c in surveys]
    living = [(s, p) for s, n in enumerate(sizes) for p in range(n) if p not in gone[s]]
    living.sort(key=lambda item: (names[item[0]][item[1]], item))

    rows = np.arange(layout.n_rows)
    assert list(zip(*(part.tolist() for part in layout.places(rows)), strict=True)) == living
    for name, (start, stop) in layout.spans.items():
        assert {names[s][p] for s, p in living[start:stop]} == {name}
    assert sum(stop - start for start, stop in layout.spans.values()) == len(living)
    low, high = sorted([random.randint(0, len(living)), random.randint(0, len(living))])
    mask = np.array([random.random() < 0.5 for _ in living])
    for s, n in enumerate(sizes):
        own = [living.index((s, p)) if (s, p) in living else -1 for p in range(-1, n)]
        assert_array_equal(layout.numbers(s, np.arange(-1, n)), own)
        assert_array_equal(layout.rows_of(s), [row for row in own if row >= 0])
        inside = [p for i, (t, p) in enumerate(living) if t == s and low <= i < high]
        assert expanded(layout.runs(s, low, high)).tolist() == sorted(inside)
        marked = [p for i, (t, p) in enumerate(living) if t == s and mask[i]]
        assert expanded(layout.marked(s, mask)).tolist() == sorted(marked)

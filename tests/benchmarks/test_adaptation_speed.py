import pytest

from benchmarks.adaptation_speed import speed_rows


@pytest.mark.slow
def test_every_method_is_timed():
    rows = {row["method"]: row for row in speed_rows(galaxies=200, steps=(1, 8))}
    assert list(rows) == ["xu2023", "adapt, 1 steps", "adapt, 8 steps", "ceiling"]
    assert all(rows[name]["seconds"] > 0 for name in list(rows)[:-1])
    for name in rows:
        assert 0 <= rows[name]["recall_at_1"] <= 1
    assert rows["ceiling"]["recall_at_1"] > rows["xu2023"]["recall_at_1"]
    assert rows["ceiling"]["pairs"] == pytest.approx(130, abs=30)

"""Every benchmark runs and compares like with like; its numbers are for `make bench`."""

import pytest

from evaluation.benchmarks.crossmatch import crossmatch_rows
from evaluation.benchmarks.extraction import extraction_rows, product_rows
from evaluation.benchmarks.index import benchmark_search

pytestmark = pytest.mark.slow


def test_crossmatch_finds_astropys_pairs():
    assert all(row["pairs_identical"] for row in crossmatch_rows(sizes=(3000,), repeats=1))


def test_extraction_names_its_peers():
    rows = {row["what"]: row for row in extraction_rows(n=128, repeats=1)}
    assert rows["bare encoder"]["to_bare_encoder"] == 1
    assert any("convnext_nano" in what for what in rows)
    assert all(row["images_per_s"] > 0 for row in rows.values())


def test_the_encoder_cannot_beat_the_product():
    assert all(0 < row["share"] < 1.2 for row in product_rows(repeats=1))


def test_search_ratios():
    assert len(benchmark_search(n=2000, dimension=8, repeats=1)) == 3

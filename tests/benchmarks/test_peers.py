"""Benchmarks beside peers: equal results, and rates that can be true."""

import pytest

from benchmarks.crossmatch import crossmatch_rows
from benchmarks.distributed import distributed_rows
from benchmarks.extraction import extraction_rows, ratio_rows
from benchmarks.index import benchmark_search, filter_rows, growth_rows
from benchmarks.index_codes import code_rows
from benchmarks.peers.catalogue_matching import PEERS
from benchmarks.stages import rate_rows, stage_rows

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1200)
def test_crossmatch_finds_the_pairs_of_its_peers():
    (rows,) = crossmatch_rows(sizes=(3000,), repeats=1)
    assert {row["peer"] for row in rows} == set(PEERS)
    ran = [row for row in rows if not row["note"]]
    assert {row["peer"] for row in ran} >= {"ours", "astropy", "lsdb", "ours on HATS"}
    for row in ran:
        assert row["n_pairs"] > 2000
        assert row["missing"] == 0
        assert row["extra"] == 0 or (row["peer"], row["mode"]) == ("stilts", "mutual")
        assert row["peak_gib"] > 0.05
    assert all(row["n_pairs"] == 0 and "not on PATH" in row["note"] for row in rows if row["note"])


def test_extraction_has_rates_beside_peers():
    found = extraction_rows(n=128, repeats=1)
    rows = {row["task"]: row for row in found}
    assert rows["bare encoder"]["to_bare_encoder"] == 1
    assert any("convnext_nano" in task for task in rows)
    assert all(row["images_per_s"] > 0 for row in rows.values())
    encoder, *_ = ratio_rows(found)
    assert encoder["ratio"] * rows["encoder of the first release"]["images_per_s"] == pytest.approx(
        rows["bare encoder"]["images_per_s"]
    )


def test_stages_add_up_and_networks_are_below_the_rate_of_a_convolution():
    us = {row["stage"]: row["us"] for row in stage_rows(repeats=3)}
    parts = ("prepare", "encode", "decode latents", "measure light")
    assert us["all but decoding JPEG"] == pytest.approx(sum(us[part] for part in parts), rel=0.4)
    rates = rate_rows(repeats=3)
    assert all(0.05 < row["share"] < 1.2 for row in rates if row["task"] != "product")
    (encoder,) = {row["million_multiply_adds"] for row in rates if row["task"] == "encoder"}
    assert encoder == pytest.approx(16.9, abs=0.1)  # counted by hand from the widths


@pytest.mark.parametrize("kind", ["flat", "ivfpq"])
def test_search_has_ratios_for_every_query(kind):
    rows = benchmark_search(n=10_000, dimension=8, repeats=1, kind=kind)
    assert [row["query"].split(":")[0] for row in rows] == [kind] * 4


def test_growth_recall_is_that_of_exhaustive_search():
    flat, cells = (next(growth_rows([10_000], 8, kind)) for kind in ("flat", "ivfpq"))
    assert flat["recall"] == 1
    assert 0.9 < cells["recall"] <= 1
    assert cells["search_bytes"] < flat["search_bytes"] == pytest.approx(32, rel=0.01)


def test_more_candidates_find_more_neighbours_by_every_code():
    rows = code_rows(10_000, dimension=8, bits=(1,))
    assert [row["codes"] for row in rows] == ["IVF-PQ"] * 3 + ["RaBitQ, 1 bit"] * 3
    for of_one in (rows[:3], rows[3:]):
        recalls = [row["recall"] for row in of_one]
        assert recalls == sorted(recalls)
        assert 0.95 < recalls[-1] <= 1
        assert 8 < of_one[0]["bytes"] < 40


def test_conditions_keep_recall_within_the_search():
    for row in filter_rows(n=10_000, dimension=8):
        assert row["pushed_recall"] > 0.9


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("verb", "n"), [("extract", 600), ("index", 12_000), ("crossmatch", 8_000)]
)
def test_workers_give_the_results_of_the_local_run(verb, n):
    local, workers = distributed_rows(verb, n, (0, 2))
    assert local["efficiency"] == 1
    assert local["difference"] == 0
    assert workers["difference"] <= (1e-5 if verb == "extract" else 0)  # 1e-6 in fp32
    assert workers["cpu_s"] > 0

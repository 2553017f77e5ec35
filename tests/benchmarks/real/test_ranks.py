import pytest

from benchmarks.real.__main__ import measure_real
from benchmarks.real.ranks import SdssPool, group_rows, rank_rows
from galaxy_da.space import LatentSpace


def test_groups_have_the_share_of_first_ranks_and_the_median():
    ranks = [("a", 1, 2), ("a", 1, 1), ("a", 7, 1), ("b", 4, 3)]
    rows = [
        {"group": group, "pair": str(i), "pool": 9, "galaxy": galaxy, "all": every}
        for i, (group, galaxy, every) in enumerate(ranks)
    ]
    first, second = group_rows(rows)
    assert (first["pairs"], first["galaxy: median"], first["all: median"]) == (3, 1, 1)
    assert first["galaxy: first"] == first["all: first"] == pytest.approx(2 / 3)
    assert (second["group"], second["galaxy: first"], second["all: median"]) == ("b", 0, 3)


@pytest.mark.slow
def test_real_pairs_are_ranked_among_few_galaxies(data):
    space = LatentSpace.load("decals")
    pool = SdssPool.read(space, data / "sdss_spirals.parquet")
    few = SdssPool(space, pool.cutouts[:200])
    rows = rank_rows(space, data, few)
    assert len(pool.cutouts) > 7300
    assert [row["group"] for row in rows].count("KiDS r, FITS") == 10
    assert len(rows) == 15 and {row["pool"] for row in rows} == {201}
    for kind in ("galaxy", "all"):
        assert sorted(row[kind] for row in rows)[7] < 40


@pytest.mark.slow
def test_all_real_images_are_measured(data):
    rows = measure_real(LatentSpace.load("decals"), data)
    assert {"KiDS r, FITS", "Galaxy Zoo", "Galaxy10"} <= {row["images"] for row in rows}
    chance = next(r for r in rows if r["measure"] == "chance")
    best = next(r for r in rows if r["measure"] == "logistic")
    assert (chance["n"], chance["galaxy"]) == (110, 0.1)
    assert best["galaxy"] > 3 * chance["galaxy"]

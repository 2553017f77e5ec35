"""Outliers, their scores and the re-ranking."""

import pyarrow as pa
import pytest
from browser_helpers import cards, settle, visit, wait_until

from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex


@pytest.fixture(scope="module")
def index(sky):
    return LatentIndex.open(sky / "index")


def keys_of(table):
    return [f"{row['survey']}:{row['object_id']}" for row in table.to_pylist()]


@pytest.mark.parametrize("method", ["combined", "knn"])
def test_order_is_the_librarys(page, index, method):
    visit(page, "/outliers")
    page.select_option("#filter-method", method)
    page.select_option("#filter-survey", "sdss")
    page.select_option("#filter-k", "24")
    wait_until(page, "location.hash.includes('k=24')")
    settle(page)
    assert cards(page) == keys_of(index.outliers("sdss", 24, method))


def test_only_clean_images(page, index):
    visit(page, "/outliers?k=12")
    page.check("#filter-clean")
    wait_until(page, "location.hash.includes('clean=1')")
    settle(page)
    assert cards(page) == keys_of(index.outliers(k=12, within=Subset(clean=True)))


def test_scores_rerank_as_the_library_does(page, index):
    visit(page, "/outliers?survey=decals&k=24")
    shown = cards(page)
    page.locator(".card").nth(0).hover()
    page.click(f"[aria-label='More like {shown[0]}']")
    page.focus(f"[id='open-{shown[1]}']")
    page.keyboard.press("d")
    page.click(f"[aria-label='3 of 5 for {shown[2]}']")
    page.focus(f"[id='open-{shown[3]}']")
    page.keyboard.press("4")
    assert "4 scores" in page.inner_text(".score-bar")
    assert page.locator(".card").nth(1).get_attribute("data-verdict") == "dislike"
    page.keyboard.press("r")
    wait_until(page, "location.hash.includes('by=')")
    settle(page)
    given = dict(zip(shown[:4], (5, 0, 3, 4), strict=True))
    scores = pa.table(
        {
            "survey": [key.split(":")[0] for key in given],
            "object_id": [key.split(":")[1] for key in given],
            "score": [float(value) for value in given.values()],
        }
    )
    expected = keys_of(index.rank(scores, "decals").slice(0, 24))
    assert cards(page) == expected
    assert cards(page) != shown
    visit(page, page.evaluate("location.hash.slice(1)"))  # the URL holds scores and ranking
    assert cards(page) == expected
    assert "by 4 scores" in page.inner_text("h1")
    page.click("#clear-scores")
    wait_until(page, "!location.hash.includes('by=')")
    settle(page)
    assert cards(page) == shown


def test_disagreeing_pairs_show_both_images(page, index):
    found = index.outliers(None, 12, "disagreement")
    visit(page, "/outliers?method=disagreement&k=12")
    assert cards(page) == keys_of(found)
    others = page.locator(".partner").evaluate_all("all => all.map(one => one.hash)")
    assert others == [
        f"#/object?id={row['other_survey']}%3A{row['other_id']}" for row in found.to_pylist()
    ]

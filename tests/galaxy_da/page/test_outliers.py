"""Outliers, their scores and the re-ranking."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from browser_helpers import cards, settle, visit, wait_until

from galaxy_da.latent_index import LatentIndex


@pytest.fixture(scope="module")
def index(sky):
    return LatentIndex.open(sky / "index")


def keys_of(table):
    return [f"{row['survey']}:{row['object_id']}" for row in table.to_pylist()]


def test_order_is_the_librarys(page, index):
    visit(page, "/outliers")
    page.select_option("#filter-survey", "sdss")
    page.select_option("#filter-k", "24")
    wait_until(page, "location.hash.includes('k=24')")
    settle(page)
    found = index.outliers("sdss", 24)
    assert cards(page) == keys_of(found)
    assert found["reason"][0].as_py() in page.inner_text(".card:first-child")


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


def test_bad_data_have_a_gallery_with_the_image_that_they_differ_from(page, index):
    found = index.outliers(None, 60)
    bad = found.filter(pc.equal(found["ranking"], "bad data"))
    visit(page, "/outliers?k=60")
    section = page.locator("section[aria-labelledby=bad-data]")
    assert section.locator(".card").count() == len(bad) > 0
    others = section.locator(".partner").evaluate_all("all => all.map(one => one.hash)")
    assert others == [
        "#/object?id=" + key.replace(":", "%3A")
        for key in bad["compare_with"].to_pylist()
        if key is not None
    ]

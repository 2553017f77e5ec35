"""Neighbours: likes and dislikes, filters, selection and export."""

import io
import re

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import votable
from browser_helpers import cards, drawn, settle, visit, wait_until

from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex

KEY = "decals:decals-0003"


def keys_of(table):
    return [f"{row['survey']}:{row['object_id']}" for row in table.to_pylist()]


@pytest.fixture(scope="module")
def index(sky):
    return LatentIndex.open(sky / "index")


def shows(page, table):
    """Wait until the gallery shows these galaxies, in this order."""
    wait_until(
        page,
        "keys => JSON.stringify([...document.querySelectorAll('main .card')]"
        ".map(card => card.dataset.key)) === JSON.stringify(keys)",
        keys_of(table),
    )


def test_neighbours_and_distances_are_the_librarys(page, index):
    visit(page, f"/similar?like={KEY}&k=24")
    expected = index.similar(KEY, k=24)
    assert cards(page) == keys_of(expected)
    distances = page.locator(".card .measure").all_inner_texts()
    assert distances == [f"{d:.2f}" for d in expected["distance"].to_pylist()]
    assert drawn(page, ".card img")


def test_likes_and_dislikes_change_the_results(page, index):
    visit(page, f"/similar?like={KEY}&k=12")
    first = cards(page)
    page.locator(".card").nth(2).hover()
    page.click(f"[aria-label='More like {first[2]}']")
    shows(page, index.similar([KEY, first[2]], k=12))
    unwanted = cards(page)[4]
    page.focus(f"[id='open-{unwanted}']")
    page.keyboard.press("d")
    expected = index.similar([KEY, first[2]], k=12, dislike=[unwanted])
    shows(page, expected)
    assert "dislike=" in page.url
    page.click(f"[aria-label='Remove dislike {unwanted}']")
    shows(page, index.similar([KEY, first[2]], k=12))
    assert "dislike=" not in page.url
    page.go_back()
    shows(page, expected)


def test_survey_number_and_conditions_narrow_the_search(page, index):
    visit(page, f"/similar?like={KEY}")
    page.select_option("#filter-survey", "sdss")
    wait_until(page, "location.hash.includes('survey=sdss')")
    settle(page)
    page.click("text=Conditions")
    page.fill("[name=where]", "mag_r < 19\nkind = disc")
    page.click("text=Apply")
    wait_until(page, "location.hash.includes('where=')")
    settle(page)
    expected = index.similar(
        KEY, k=60, survey="sdss", within=Subset(where=["mag_r < 19", "kind = disc"])
    )
    assert cards(page) == keys_of(expected)
    assert "2 conditions" in page.inner_text(".filters")


def test_invalid_condition_shows_the_librarys_message(page):
    page.expected += ["422", "404"]
    visit(page, f"/similar?like={KEY}&where=colour+%3E+3")
    assert "colour" in page.inner_text(".message")


def test_one_row_per_survey(page, index):
    visit(page, f"/similar?like={KEY}&k=12")
    page.check("#by-survey")
    wait_until(page, "location.hash.includes('by=survey')")
    settle(page)
    for name in ("decals", "sdss"):
        wall = page.get_by_label(f"Neighbours in {name}")
        shown = wall.locator(".card").evaluate_all("all => all.map(one => one.dataset.key)")
        assert shown == keys_of(index.similar(KEY, k=12, survey=name))


def test_arrow_keys_move_and_enter_opens(page):
    visit(page, f"/similar?like={KEY}&k=24")
    shown = cards(page)
    page.locator(".card a").first.focus()
    columns = page.evaluate(
        """() => {
          const tops = [...document.querySelectorAll(".card")].map(card => card.offsetTop);
          return tops.filter(top => top === tops[0]).length;
        }"""
    )
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    at = page.evaluate("document.activeElement.closest('.card').dataset.key")
    assert at == shown[columns + 1]
    page.keyboard.press("Enter")
    wait_until(page, "location.hash.startsWith('#/object')")
    page.wait_for_selector(f"h1:has-text('{at.split(':')[1]}')")


def exported(page, menu, label):
    menu.locator("summary").click()
    with page.expect_download() as download:
        menu.get_by_role("button", name=label).click()
    return download.value.path().read_bytes()


def read_votable(data):
    return votable.parse(io.BytesIO(data)).get_first_table().to_table()["object_id"].tolist()


READERS = {
    "VOTable": read_votable,
    "CSV": lambda data: pyarrow.csv.read_csv(io.BytesIO(data))["object_id"].to_pylist(),
    "Parquet": lambda data: pq.read_table(io.BytesIO(data))["object_id"].to_pylist(),
    "DS9 regions": lambda data: re.findall(r"text=\{\w+:([^}]*)\}", data.decode()),
}


@pytest.mark.parametrize("label", READERS)
def test_answer_is_exported(page, index, label):
    visit(page, f"/similar?like={KEY}&k=12")
    data = exported(page, page.locator("main .menu"), label)
    expected = index.similar(KEY, k=12)["object_id"].to_pylist()
    assert READERS[label](data) == expected


def test_pictures_are_shown_as_taken_prepared_or_decoded(page):
    visit(page, f"/similar?like={KEY}&k=12")
    for kind in ("prepared", "reconstruction", "cutout"):
        page.select_option("#filter-pictures", kind)
        wait_until(page, "kind => location.hash.includes(`pictures=${kind}`)", kind)
        settle(page)
        sources = page.locator(".card img").evaluate_all("all => all.map(one => one.src)")
        assert all(f"/{kind}.png" in source for source in sources)
        assert drawn(page, ".card img")


def test_selection_is_kept_exported_and_has_a_url(page):
    visit(page, f"/similar?like={KEY}&k=12")
    chosen = cards(page)[1:4]
    for key in chosen:
        page.focus(f"[id='open-{key}']")
        page.keyboard.press("x")
    tray = page.get_by_label("Selection", exact=True)
    assert "3 galaxies selected" in tray.inner_text()
    for label, read in READERS.items():
        ids = read(exported(page, tray.locator(".menu"), label))
        assert ids == [key.split(":")[1] for key in chosen]
    tray.get_by_role("link").click()
    page.wait_for_selector("h1:has-text('3 selected galaxies')")
    where = page.evaluate("location.hash.slice(1)")
    visit(page, where)
    assert cards(page) == chosen
    assert "3 galaxies selected" in tray.inner_text()  # after a reload
    tray.get_by_text("Clear").click()
    assert tray.is_hidden()

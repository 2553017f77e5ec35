"""Page of one galaxy."""

import numpy as np
import pytest
from browser_helpers import cards, drawn, visit

from galaxy_da.io.samples import Flag
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace

KEY = "decals:decals-0011"


@pytest.fixture(scope="module")
def known(sky):
    index = LatentIndex.open(sky / "index")
    return index, index.same(KEY, space=LatentSpace.load(sky / "space")).to_pylist()


def test_pictures_in_every_survey(page, known):
    visit(page, f"/object?id={KEY}")
    assert page.locator(".observations thead .survey").all_inner_texts() == ["decals", "sdss"]
    assert page.locator(".observations tbody tr:has(img)").count() == 3  # kinds of picture
    assert page.locator(".observations img").count() == 6
    assert drawn(page, ".observations img")


def test_distance_and_probability_are_the_librarys(page, known):
    _, (row,) = known
    visit(page, f"/object?id={KEY}")
    apart, distance, chance = page.locator(".measures tr td:nth-child(3)").all_inner_texts()
    assert apart == f"{row['separation_arcsec']:.2f}″"
    assert distance.split()[0] == f"{row['distance']:.2f}"
    assert np.isclose(float(chance.strip("<> %")) / 100, row["match_probability"], rtol=0.01)


def test_catalogue_columns_and_neighbours(page, known):
    index, _ = known
    columns = ["mag_r", "kind", "ra", "specobjid"]
    (row,) = index.take(np.array([index.row(KEY)]), columns).to_pylist()
    visit(page, f"/object?id={KEY}")
    facts = page.inner_text(".facts")
    assert f"r magnitude\n{row['mag_r']:.4g}" in facts
    assert row["kind"] in facts
    assert str(row["specobjid"]) in facts  # every digit
    assert f"{row['ra']:.5f}°" in page.inner_text(".position")
    expected = index.similar(KEY, k=24).to_pylist()
    assert cards(page) == [f"{r['survey']}:{r['object_id']}" for r in expected]


def test_columns_have_readable_names_units_and_meanings(page, known):
    index, _ = known
    rows = index.take(np.arange(len(index)), ["morph_half_light_arcsec"]).to_pylist()
    number, row = next(
        (i, row) for i, row in enumerate(rows) if row["morph_half_light_arcsec"] is not None
    )
    visit(page, f"/object?id={index.key(number)}")
    line = page.locator(".facts div[title=morph_half_light_arcsec]").inner_text()
    assert line.startswith("Half-light radius\n")
    assert "along the major axis" in line
    shown, _, error = line.rpartition("\n")[2].strip("″").partition(" ± ")
    assert abs(float(shown) - row["morph_half_light_arcsec"]) <= 0.06 * float(error)
    assert "″" in line
    assert "P(edge on)" in page.inner_text(".facts")


def test_position_is_linked_to_other_services(page, known):
    index, _ = known
    (row,) = index.take(np.array([index.row(KEY)]), ["ra"]).to_pylist()
    visit(page, f"/object?id={KEY}")
    links = page.locator(".elsewhere a")
    texts = links.all_inner_texts()
    assert "SDSS in Aladin" in texts and "DECaLS in Aladin" in texts and "SIMBAD" in texts
    addresses = links.evaluate_all("all => all.map(one => one.href)")
    assert all(f"{row['ra']:.5f}"[:-1] in address for address in addresses)
    assert set(links.evaluate_all("all => all.map(one => one.rel)")) == {"noopener noreferrer"}


def answer_objects_with(page, **values):
    """Let the page get objects with other values."""
    page.route(
        "**/api/objects?*",
        lambda route: route.fulfill(json=route.fetch().json() | values),
    )


def test_a_galaxy_whose_position_is_not_known_has_no_place_and_no_link(page):
    answer_objects_with(page, ra=None, dec=None, links=[])
    visit(page, f"/object?id={KEY}")
    assert "Its position on the sky is not known" in page.inner_text(".object-heading")
    assert page.locator(".elsewhere a").count() == 0
    visit(page, "/")
    assert page.locator(".hint button code").count() == 1  # its key, and no place
    assert drawn(page, ".tiles img")


def test_every_flag_has_a_name(page):
    answer_objects_with(page, flags=sum(Flag))
    visit(page, f"/object?id={KEY}")
    shown = page.inner_text(".facts div[title=flags] dd")
    assert len(shown.split(", ")) == len(Flag)
    assert "not photometric" in shown


def test_counterpart_is_linked(page, known):
    _, (row,) = known
    visit(page, f"/object?id={KEY}")
    page.click(f".observations thead a:has-text('{row['object_id']}')")
    page.wait_for_selector(f"h1:has-text('{row['object_id']}')")
    assert page.locator(".observations thead .survey").all_inner_texts() == ["sdss", "decals"]


def test_object_without_an_id_shows_a_message(page):
    visit(page, "/object")
    assert page.inner_text("h1") == "No galaxy chosen"

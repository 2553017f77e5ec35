"""Properties of every view: accessibility, width, themes, keys, links."""

from base64 import b64decode

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_helpers import DESKTOP, PHONE, open_page, settle, visit, wait_until

KEY = "decals:decals-0003"
VIEWS = {
    "search": "/",
    "similar": f"/similar?like={KEY}&like=sdss:sdss-0009&dislike=sdss:sdss-0001&k=12",
    "object": f"/object?id={KEY}",
    "outliers": f"/outliers?k=12&score=5~{KEY}&by=5~{KEY}",
    "map": "/map?at=0,0,1&lasso=-9,-9;9,-9;9,9;-9,9",
    "latents": f"/latents?id={KEY}&set=0:1.5",
    "jobs": "/jobs",
    "selection": f"/selection?id={KEY}&id=sdss:sdss-0009",
}
SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize(
    ("theme", "size"),
    [
        ("dark", DESKTOP),
        ("light", PHONE),
        pytest.param("light", DESKTOP, marks=pytest.mark.slow),
        pytest.param("dark", PHONE, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", VIEWS)
def test_view_is_accessible_and_fits(browser, service, name, theme, size, tmp_path):
    options = {"is_mobile": True, "has_touch": True} if size is PHONE else {}
    with open_page(browser, service, viewport=size, color_scheme=theme, **options) as page:
        visit(page, VIEWS[name])
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        found = Axe().run(page).response["violations"]
        faults = [
            (fault["id"], node["target"], node["failureSummary"])
            for fault in found
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]
        assert faults == []


def test_theme_follows_the_system_until_one_is_chosen(browser, service):
    with open_page(browser, service, color_scheme="light") as page:
        visit(page, "/jobs")
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.emulate_media(color_scheme="dark")
        wait_until(page, f"{background} !== '{light}'")
        dark = page.evaluate(background)
        page.click("#theme")
        assert page.evaluate(background) == light
        page.reload()
        assert page.evaluate(background) == light  # though the system is dark
        page.keyboard.press("t")
        assert page.evaluate(background) == dark


def test_keys_open_every_view(page):
    visit(page, "/jobs")
    for key, path in (("m", "/map"), ("o", "/outliers"), ("e", "/latents"), ("s", "/")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        wait_until(page, "path => location.hash === `#${path}`", path)
        settle(page)
    page.keyboard.press("?")
    assert "Re-rank" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert page.get_attribute("html", "data-negative") == "true"


def test_keyboard_focus_is_visible_everywhere(page):
    visit(page, VIEWS["similar"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const {outlineStyle, outlineWidth} = getComputedStyle(document.activeElement);
                  const text = document.activeElement.outerHTML.slice(0, 80);
                  return [text, outlineStyle, outlineWidth];
                }"""
            )
        )
    assert any("act like" in name for name, *_ in seen)
    seen = [entry for entry in seen if not entry[0].startswith("<body")]  # after the last element
    unseen = [name for name, style, width in seen if style == "none" or width == "0px"]
    assert unseen == []


def test_title_and_focus_follow_the_view(page):
    visit(page, "/")
    assert "galaxies" in page.title()
    page.click("nav >> text=Outliers")
    wait_until(page, "document.title.startsWith('Outliers')")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.get_attribute("nav a[aria-current]", "href") == "#/outliers"


def test_back_closes_a_dialog(page):
    visit(page, "/jobs")
    page.click("nav >> text=Search")
    settle(page)
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.go_back()
    wait_until(page, "location.hash === '#/jobs'")
    settle(page)
    assert page.locator("dialog[open]").count() == 0


def test_waiting_picture_differs_from_a_black_one(page):
    """A picture that is on its way, a black one and a missing one look different."""
    held = []
    black = b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    )

    def answer(route):
        held.append(route) if "0009" in route.request.url else route.fulfill(
            body=black, content_type="image/png"
        )

    page.route("**/api/images/*", answer)
    visit(page, "/selection?id=sdss:sdss-0009&id=sdss:sdss-0010")
    page.wait_for_selector(".card:nth-child(2) .plate:not(.waiting)")
    background = "i => getComputedStyle(document.querySelectorAll('.card .plate')[i]).background"
    waiting, shown = (page.evaluate(background, i) for i in (0, 1))
    assert "gradient" in waiting and "gradient" not in shown
    assert page.locator(".card .plate.waiting").count() == 1
    for route in held:
        route.fulfill(body=black, content_type="image/png")
    wait_until(page, "!document.querySelector('.card .plate.waiting')")


def test_touch_screens_get_words_for_fingers(page, phone):
    seen = {}
    for name, opened in (("mouse", page), ("touch", phone)):
        visit(opened, "/")
        visit(opened, VIEWS["similar"])
        seen[name] = opened.locator("main").inner_text()
        visit(opened, "/")
        seen[name] += opened.locator("main").inner_text()
    assert "Press l for more" in seen["mouse"] and "drop a FITS" in seen["mouse"]
    assert "Tap +" in seen["touch"] and "choose a picture" in seen["touch"]
    assert "Press" not in seen["touch"] and "drop" not in seen["touch"]
    assert "Tap" not in seen["mouse"]


def test_reduced_motion_stops_transitions(browser, service):
    with open_page(browser, service, reduced_motion="reduce") as page:
        visit(page, "/jobs")
        length = "parseFloat(getComputedStyle(document.querySelector('#theme')).transitionDuration)"
        assert page.evaluate(length) < 0.001


def test_page_asks_for_a_token_and_sends_it(browser, service):
    """A 401 opens a dialog; the request is repeated with its token."""
    with open_page(browser, service) as page:
        page.expected.append("401")
        seen = []

        def guard(route):
            token = route.request.headers.get("authorization")
            seen.append(token)
            if token == "Bearer secret":
                route.continue_()
            else:
                route.fulfill(status=401, json={"error": {"message": "a token is needed"}})

        page.route("**/api/jobs", guard)
        page.goto(f"{service}/#/jobs")
        page.fill("dialog [name=token]", "secret")
        page.click("dialog .primary")
        page.wait_for_selector("main form")
        assert seen == [None, "Bearer secret"]


def test_route_documentation_needs_no_network(page):
    page.goto(f"{page.address}/docs")
    page.wait_for_selector(".opblock")


def test_injected_scripts_do_not_run(page):
    """The content security policy blocks injected scripts and handlers."""
    page.expected.append("Content Security Policy")
    visit(page, "/jobs")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=hit=1>')")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'hit=1'}))"
    )
    assert page.evaluate("typeof hit") == "undefined"

"""Helpers for browser tests: a page that records errors, and common actions."""

import time
from contextlib import contextmanager

import numpy as np

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def open_page(browser, address, **options):
    """Open a page; check that it logs no error and requests nothing from elsewhere."""
    options = {"viewport": DESKTOP, "color_scheme": "dark", "accept_downloads": True, **options}
    context = browser.new_context(**options)
    page = context.new_page()
    faults = []
    page.expected = ["net::ERR_ABORTED"]  # requests of a view that was left; tests add their own
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"{request.failure} {request.url}"))
    page.on("request", lambda request: _local(request.url, address) or faults.append(request.url))
    page.set_default_timeout(15_000)
    page.address = address
    yield page
    context.close()
    unexpected = [fault for fault in faults if not any(word in fault for word in page.expected)]
    assert unexpected == []


def _local(url, address):
    return url.startswith((address, "blob:", "data:"))


def visit(page, where=""):
    """Open a view by its URL and wait until it is shown."""
    page.goto("about:blank")
    page.goto(f"{page.address}/#{where}")
    page.wait_for_selector("main h1", state="attached")
    settle(page)


def wait_until(page, expression, argument=None, seconds=15):
    """Wait until an expression is true; the page's policy forbids Playwright's own function."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"not true after {seconds} s: {expression}"
        page.wait_for_timeout(20)


def settle(page):
    """Wait until the view of the current URL is shown."""
    wait_until(
        page,
        "!document.body.classList.contains('loading')"
        " && document.body.dataset.route === location.hash",
    )


def cards(page):
    """Keys of the galaxies in the gallery, in order."""
    return page.locator("main .card").evaluate_all("cards => cards.map(card => card.dataset.key)")


def drawn(page, selector):
    """Check that every picture is loaded and has more than one colour."""
    return page.locator(selector).evaluate_all(
        """async images => {
          for (const image of images) {
            image.loading = "eager";
            await image.decode();
            const canvas = new OffscreenCanvas(16, 16), context = canvas.getContext("2d");
            context.drawImage(image, 0, 0, 16, 16);
            const {data} = context.getImageData(0, 0, 16, 16);
            if (new Set(data.filter((_, i) => i % 4 === 0)).size < 3) return false;
          }
          return images.length > 0;
        }"""
    )


def pixels(page, selector):
    """Read the pixels of a picture on the page, (y, x, 3)."""
    width, data = page.locator(selector).evaluate(
        """async image => {
          await image.decode();
          const {naturalWidth: x, naturalHeight: y} = image;
          const context = new OffscreenCanvas(x, y).getContext("2d");
          context.drawImage(image, 0, 0);
          return [x, [...context.getImageData(0, 0, x, y).data]];
        }"""
    )
    return np.array(data, int).reshape(-1, width, 4)[..., :3]

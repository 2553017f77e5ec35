"""A page that tells of every fault, and short words for what a person does and sees."""

import time
from contextlib import contextmanager

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def open_page(browser, address, **options):
    """Open a page; at its end, no error was logged, no request failed or left the machine."""
    options = {"viewport": DESKTOP, "color_scheme": "dark", "accept_downloads": True, **options}
    context = browser.new_context(**options)
    page = context.new_page()
    faults = []
    page.expected = ["net::ERR_ABORTED"]  # dropped with the view that asked; tests add their own
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
    """Go to a view by its URL and wait until it is on show."""
    page.goto("about:blank")
    page.goto(f"{page.address}/#{where}")
    page.wait_for_selector("main h1", state="attached")
    settle(page)


def wait_until(page, expression, argument=None, seconds=15):
    """Wait until an expression is true; the page's policy forbids Playwright's own way."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"not true after {seconds} s: {expression}"
        page.wait_for_timeout(20)


def settle(page):
    """Wait until the view of the URL, and no earlier one, is on show."""
    wait_until(
        page,
        "!document.body.classList.contains('loading')"
        " && document.body.dataset.route === location.hash",
    )


def cards(page):
    """Keys of the galaxies on the wall, in order."""
    return page.locator("main .card").evaluate_all("cards => cards.map(card => card.dataset.key)")


def drawn(page, selector):
    """Whether every picture there was loaded and is of more than one colour."""
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

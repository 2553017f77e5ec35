"""Sliders of the latents, with the decoded image."""

import io

import httpx
import numpy as np
from browser_helpers import drawn, pixels, visit, wait_until
from PIL import Image

KEY = "decals:decals-0005"


def decoded(service, latents):
    answer = httpx.post(f"{service}/api/decode", json={"latents": [latents]})
    return np.array(Image.open(io.BytesIO(answer.content)).convert("RGB"), int)


def test_slider_changes_the_decoded_image(page, service, api):
    about = api.get("/api/latents", params={"id": KEY}).json()
    visit(page, f"/latents?id={KEY}")
    page.wait_for_selector("img.decoded[src^=blob]")
    before = pixels(page, "img.decoded")
    assert np.array_equal(before, decoded(service, about["latents"]))
    page.focus("#latent-2")
    for _ in range(30):
        page.keyboard.press("ArrowRight")  # 0.05 standard deviations each
    moved = list(about["latents"])
    moved[2] += 1.5 * about["std"][2]
    expected = decoded(service, moved)
    wait_until(page, "location.hash.includes('set=2')")
    page.wait_for_load_state("networkidle")
    after = pixels(page, "img.decoded")
    assert np.abs(after - expected).max() <= 1
    assert np.abs(after - before).max() > 1
    assert drawn(page, ".strip-image")
    assert "Latent 2" in page.inner_text(".along")


def test_sliders_are_named_by_what_they_change(page, api):
    about = api.get("/api/latents", params={"id": KEY}).json()
    galaxy = api.get("/api/info").json()["space"]["galaxy_latents"]
    visit(page, f"/latents?id={KEY}")
    strongest = max(range(galaxy), key=lambda i: about["strengths"][i])
    first = page.locator(".sliders section").first.locator("input").first
    assert first.get_attribute("id") == f"latent-{strongest}"
    change = ", ".join(about["changes"][strongest]) or "fine detail"
    assert first.get_attribute("aria-label") == f"Latent {strongest}: {change}"
    assert change in page.locator(".sliders label").first.inner_text()


def test_url_restores_sliders_and_reset_clears_them(page):
    visit(page, f"/latents?id={KEY}&set=0:1.5,7:-2")
    assert page.input_value("#latent-0") == "1.5"
    assert page.input_value("#latent-7") == "-2"
    page.wait_for_selector("img.decoded[src^=blob]")
    page.click("#reset")
    wait_until(page, "!location.hash.includes('set=')")
    assert page.input_value("#latent-7") == "0"


def test_nearest_galaxies_follow_the_sliders(page):
    visit(page, f"/latents?id={KEY}")
    page.wait_for_selector(".neighbours .card")
    assert page.locator(".neighbours .card").first.get_attribute("data-key") == KEY
    for number in range(12):
        page.focus(f"#latent-{number}")
        page.keyboard.press("End")
    wait_until(page, f"document.querySelector('.neighbours .card')?.dataset.key !== '{KEY}'")


def test_start_page_offers_galaxies(page):
    visit(page, "/latents")
    page.locator(".tiles a").first.click()
    page.wait_for_selector("img.decoded[src^=blob]")
    assert page.inner_text("h1").startswith("Latents of ")

"""Search by id, position and picture."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from astropy.io import fits
from browser_helpers import cards, drawn, pixels, settle, visit, wait_until
from PIL import Image

from galaxy_da.images.cutouts import read_image
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace


def expect_key(page, path):
    wait_until(page, f"location.hash.startsWith('#{path}')")
    settle(page)


def test_front_page_shows_galaxies_and_counts(page, api):
    visit(page, "/")
    total = api.get("/api/info").json()["index"]["objects"]
    assert str(total) in page.inner_text("h1")
    assert drawn(page, ".tiles img")


def test_others_shows_other_galaxies_and_has_a_url(page):
    visit(page, "/")
    first = page.locator(".tiles a").evaluate_all("all => all.map(one => one.title)")
    page.click("#others")
    wait_until(page, "location.hash === '#/?seed=1'")
    wait_until(page, "first => document.querySelector('.tiles a').title !== first", first[0])
    shown = page.locator(".tiles a").evaluate_all("all => all.map(one => one.title)")
    visit(page, "/?seed=1")
    assert page.locator(".tiles a").evaluate_all("all => all.map(one => one.title)") == shown


def test_id_is_completed_and_opened(page):
    visit(page, "/")
    page.keyboard.press("/")
    page.keyboard.type("sdss:sdss-000")
    options = page.locator("[role=option]")
    options.nth(2).wait_for()
    assert "sdss-0002" in options.nth(2).inner_text()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect_key(page, "/object?id=sdss%3Asdss-0002")
    assert page.inner_text("h1") == "sdss-0002"


def test_hint_names_a_galaxy_of_this_index_and_its_place(page):
    visit(page, "/")
    names = page.locator(".hint button code")
    key, place = names.all_inner_texts()
    names.nth(0).click()
    wait_until(page, "key => location.hash.endsWith(encodeURIComponent(key))", key)
    settle(page)
    assert page.inner_text("h1") == key.split(":")[1]
    visit(page, "/")
    page.locator(".hint button").nth(1).click()
    wait_until(page, "location.hash.startsWith('#/similar?ra=')")
    page.wait_for_selector(".card")
    text = page.inner_text(".query")
    assert f"The galaxy nearest to {float(place.split()[0]):.8g}°" in text


def test_unknown_id_shows_not_found(page):
    page.expected.append("404")
    visit(page, "/")
    page.fill("#query", "sdss:nobody")
    page.click("text=Find")
    page.wait_for_selector("h1:has-text('Not found')")
    assert "sdss:nobody" in page.inner_text(".message")


@pytest.mark.parametrize("form", ["degrees", "hours"])
def test_position_finds_the_same_galaxies_as_the_library(page, api, sky, form):
    index = LatentIndex.open(sky / "index")
    row = index.rows.slice(7, 1).to_pylist()[0]
    key = index.at_position(row["ra"], row["dec"])
    text = f"{row['ra']:.7f} {row['dec']:+.7f}"
    if form == "hours":
        from astropy.coordinates import SkyCoord

        text = SkyCoord(row["ra"], row["dec"], unit="deg").to_string("hmsdms", sep=":", precision=3)
    visit(page, "/")
    page.fill("#query", text)
    page.wait_for_selector("[role=option]")
    page.press("#query", "Enter")
    expect_key(page, "/similar?ra=")
    page.wait_for_selector(".card")
    expected = [f"{r['survey']}:{r['object_id']}" for r in index.similar(key, k=60).to_pylist()]
    assert cards(page) == expected


def test_position_without_a_galaxy_shows_a_message(page):
    page.expected.append("404")
    visit(page, "/similar?ra=10&dec=80&radius=5")
    assert "no object within 5 arcsec" in page.inner_text(".message")


@pytest.fixture(scope="session")
def picture(sky, tmp_path_factory):
    """Picture of a galaxy, and its galaxy latents from the library."""
    path = tmp_path_factory.mktemp("picture") / "galaxy.png"
    side = 128
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = 210 * np.exp(-0.5 * (x**2 / 90 + y**2 / 40))
    noise = np.random.default_rng(3).normal(12, 3, (side, side, 3))
    Image.fromarray(np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)).save(path)
    space = LatentSpace.load(sky / "space")
    encoder = space.encoder("decals")
    prepared = encoder.prepare([read_image(path, encoder.survey)], space.frame)
    assert prepared.problems == [None]
    mean = space.encode(prepared.inputs, encoder).mean
    return path, mean[0, : space.galaxy_latents].numpy()


def check_picture(page, sky, vector):
    expect_key(page, "/similar?like=vector")
    page.wait_for_selector(".card")
    assert page.inner_text("h1") == "Like your picture"
    nearest = LatentIndex.open(sky / "index").similar(vector, k=60)
    expected = [f"{r['survey']}:{r['object_id']}" for r in nearest.to_pylist()]
    assert cards(page)[:5] == expected[:5]
    assert len(set(cards(page)) & set(expected)) > 55  # bf16 of another batch size


def test_chosen_picture_finds_the_same_galaxies_as_the_library(page, sky, picture):
    path, vector = picture
    visit(page, "/")
    page.set_input_files("#picture", path)
    page.select_option("dialog select", "decals")
    page.click("dialog .primary")
    check_picture(page, sky, vector)
    where = page.evaluate("location.hash.slice(1)")
    shown = cards(page)
    visit(page, where)  # the URL holds the latents, so it finds the same without the picture
    assert cards(page) == shown


def test_dropped_picture_is_searched_from_any_view(page, sky, picture):
    path, vector = picture
    visit(page, "/outliers")
    data = page.evaluate_handle(
        """async bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "galaxy.png", {type: "image/png"}));
          return data;
        }""",
        list(path.read_bytes()),
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": data})
    assert page.locator("body.dropping").count() == 1
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    page.select_option("dialog select", "decals")
    page.click("dialog .primary")
    check_picture(page, sky, vector)


@pytest.fixture
def stamp(sky, tmp_path):
    """FITS file of an SDSS galaxy of the index, and its key."""
    pixels = np.load(sky / "sdss" / "cutouts.npy")[7]
    fits.PrimaryHDU(pixels, fits.Header({"BANDS": "g,r,z"})).writeto(tmp_path / "stamp.fits")
    return tmp_path / "stamp.fits", "sdss:sdss-0007"


def test_uploaded_picture_is_shown_beside_its_neighbours(page, stamp, api):
    path, key = stamp
    visit(page, "/")
    page.set_input_files("#picture", path)
    page.select_option("dialog select", "sdss")
    page.click("dialog .primary")
    expect_key(page, "/similar?like=vector")
    page.wait_for_selector(".own:nth-child(3) .plate:not(.waiting)")
    captions = page.locator(".own figcaption").all_inner_texts()
    assert captions == ["as taken", "prepared for the network", "decoded"]
    for number, kind in enumerate(("cutout", "prepared")):
        answer = api.get(f"/api/images/{kind}.png", params={"id": key, "size": 320})
        expected = np.array(Image.open(io.BytesIO(answer.content)), int)
        assert np.array_equal(pixels(page, f".own:nth-child({number + 1}) img"), expected)
    assert "stamp.fits, read as sdss" in page.inner_text(".query")
    assert cards(page)[0] == key
    assert page.input_value("#filter-pictures") == "prepared"  # as the upload is
    assert "/prepared.png" in page.locator(".card img").first.get_attribute("src")
    where = page.evaluate("location.hash.slice(1)")
    page.evaluate("sessionStorage.clear()")
    visit(page, where)  # as another person sees it
    page.wait_for_selector(".own .plate:not(.waiting)")
    assert page.locator(".own figcaption").all_inner_texts() == ["decoded"]
    assert page.inner_text("h1") == "Like a point of the latent space"


def test_pixel_scale_of_a_picture_is_used(page, picture, api):
    path, _ = picture
    data = {"survey": "decals", "pixel_scale_arcsec": 0.2, "draw": True}
    found = api.post("/api/encode", data=data, files={"file": path.read_bytes()}).json()
    visit(page, "/")
    page.set_input_files("#picture", path)
    assert "0.262" in page.get_attribute("#scale", "placeholder")
    page.fill("#scale", "0.2")
    page.click("dialog .primary")
    expect_key(page, "/similar?like=vector")
    page.wait_for_selector(".own:nth-child(2) img")
    expected = np.array(Image.open(io.BytesIO(b64decode(found["pictures"]["prepared"]))), int)
    assert np.array_equal(pixels(page, ".own:nth-child(2) img"), expected)
    assert "at 0.2″ a pixel" in page.inner_text(".query")


def test_picture_of_any_known_survey_is_taken(page, stamp):
    visit(page, "/")
    page.set_input_files("#picture", stamp[0])
    offered = page.locator("dialog select[name=survey] option").all_inner_texts()
    assert offered[:2] == ["decals", "sdss"]  # those of the index
    assert {"hsc", "kids", "des"} <= set(offered)


def test_invalid_picture_shows_a_message(page, tmp_path):
    page.expected.append("4")  # the status
    path = tmp_path / "not.png"
    path.write_bytes(b"not a picture")
    visit(page, "/")
    page.set_input_files("#picture", path)
    page.click("dialog .primary")
    page.wait_for_selector("dialog .message:not([hidden])")
    assert re.search("image|picture|read", page.inner_text("dialog .message"))
    page.keyboard.press("Escape")
    assert not page.locator("dialog[open]").count()

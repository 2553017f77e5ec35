"""Jobs submitted, followed and downloaded on the page."""

import io
import zipfile

import pyarrow.parquet as pq
import pytest
from browser_helpers import visit, wait_until


@pytest.fixture(scope="module")
def packed(sky, tmp_path_factory):
    """Zip of the SDSS sample and its cutouts."""
    path = tmp_path_factory.mktemp("packed") / "sdss.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("sample.parquet", "cutouts.npy"):
            archive.write(sky / "sdss" / name, name)
    return path


def test_extraction_is_submitted_followed_and_downloaded(page, sky, packed):
    visit(page, "/jobs")
    page.set_input_files("#sample", packed)
    page.click("main form .primary")
    wait_until(page, "location.hash.includes('id=')")
    job = page.locator(".job.chosen-job")
    page.wait_for_selector(".job.chosen-job[data-state=done]", timeout=150_000)  # by its events
    with page.expect_download() as download:
        job.get_by_role("button", name="features.parquet").click()
    table = pq.read_table(io.BytesIO(download.value.path().read_bytes()))
    expected = pq.read_table(sky / "sdss" / "sample.parquet")["object_id"]
    assert sorted(table["object_id"].to_pylist()) == sorted(expected.to_pylist())
    job.get_by_role("button", name="Log").click()
    page.wait_for_selector(".log:not([hidden])")
    job.get_by_role("button", name="Remove").click()
    wait_until(page, "!location.hash.includes('id=')")


def test_a_job_is_cancelled(page, packed):
    visit(page, "/jobs")
    page.set_input_files("#sample", packed)
    page.click("main form .primary")
    wait_until(page, "location.hash.includes('id=')")
    job = page.locator(".job.chosen-job")
    job.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".job.chosen-job[data-state=cancelled]", timeout=60_000)
    job.get_by_role("button", name="Remove").click()
    wait_until(page, "!location.hash.includes('id=')")


def test_invalid_upload_shows_a_message(page, tmp_path):
    page.expected.append("4")
    path = tmp_path / "bad.zip"
    path.write_bytes(b"no zip")
    visit(page, "/jobs")
    page.set_input_files("#sample", path)
    page.click("main form .primary")
    page.wait_for_selector("form .message:not([hidden])")
    assert "sample" in page.inner_text("form .message") or "zip" in page.inner_text("form .message")


def test_adaptation_asks_for_two_samples(page):
    visit(page, "/jobs")
    assert page.locator("#target").is_hidden()
    page.select_option("#verb", "adapt")
    assert page.locator("#target").is_visible()
    assert page.locator("#pairs").is_visible()
    assert "Sample of decals" in page.inner_text("main form")

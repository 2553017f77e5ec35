"""The recipes of the how-to pages run as they are shown."""

import gc
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.samples import Sample, load_sample
from galaxy_da.space import LatentSpace

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
N = 6


def recipe(page, text):
    """Return the Python block of a page that has this text."""
    blocks = re.findall(r"```python\n(.*?)```", (HOWTO / page).read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if text in block)
    return block


def write_features():
    """Write the first stamps of the package and their features; return the table of the stamps."""
    stamps = pq.read_table(load_sample("sdss-stamps").path).slice(0, N)
    Path("sdss").mkdir()
    pq.write_table(stamps, "sdss/sample.parquet")
    extract(LatentSpace.load("decals"), Sample("sdss/sample.parquet"), "features/sdss")
    return stamps


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_features_go_to_hugging_face_with_their_images(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    stamps = write_features()
    exec(recipe("topcat.md", "from datasets import"), {})

    written = pq.read_table("sdss-with-images.parquet")
    pictures = [image["bytes"] for image in written["image"].to_pylist()]
    assert pictures == stamps["image"].to_pylist()
    assert len(written["embedding"][0]) == 28
    shown = datasets.load_dataset(
        "parquet", data_files="sdss-with-images.parquet", split="train", cache_dir="cache"
    )
    assert shown[0]["image"].size[0] > 100
    gc.collect()  # a file that datasets leaves open


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of lance
def test_lance_finds_the_neighbours(tmp_path, monkeypatch):
    pytest.importorskip("lance", reason="the library pylance is not installed")
    monkeypatch.chdir(tmp_path)
    write_features()
    known = {}
    exec(recipe("topcat.md", "import lance"), known)
    vectors = np.stack(known["features"]["embedding"].to_pylist())
    order = np.linalg.norm(vectors - vectors[0], axis=1).argsort()[:5]
    assert (
        known["near"]["object_id"].to_pylist()
        == known["features"]["object_id"].take(order).to_pylist()
    )

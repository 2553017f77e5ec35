import json
import shlex
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pyarrow as pa
import pytest
from conftest import blobs, make_space, write_sample
from matplotlib.colors import to_hex
from PIL import Image

from galaxy_da import LatentIndex, Sample, extract
from galaxy_da.cli import main
from galaxy_da.io.tables import write_table
from galaxy_da.plots.figure import MARK
from training import demo


def test_the_picture_marks_the_same_galaxy(tmp_path):
    pixels = blobs(6, 140, 0.262)
    bands = {"bands": pa.array(["g,r,z"] * 6)}
    paths = {
        name: write_sample(tmp_path / name, pixels, name, **(bands if name == "hsc" else {}))
        for name in ("decals", "hsc")
    }
    samples = {name: Sample(path) for name, path in paths.items()}
    space = make_space()
    space.save(tmp_path / "space")
    index = LatentIndex.build([extract(space, sample) for sample in samples.values()])
    index.save(tmp_path / "index")
    ids = {name: sample.catalog["object_id"] for name, sample in samples.items()}
    pairs = {"anchor_id": ids["decals"], "target_id": ids["hsc"]}
    known = {"separation_arcsec": np.zeros(6), "n_candidates": pa.array([1] * 6, pa.int32())}
    write_table(pa.table({**pairs, **known, "ambiguous": [False] * 6}), tmp_path / "pairs.parquet")
    plot = demo._drawing(
        str(tmp_path / "space"), tmp_path / "index", paths, tmp_path / "pairs.parquet"
    )
    expected = [[False] * 6]
    nearest = [
        index.similar(f"hsc:{key}", 3, "decals")["object_id"].to_pylist()
        for key in ids["hsc"].to_pylist()
    ]
    own = ids["decals"].to_pylist()
    expected += [[near[rank] == own[i] for i, near in enumerate(nearest)] for rank in range(3)]
    colours = [to_hex(axes.spines["left"].get_edgecolor()) for axes in plot.axes]
    assert [colour == MARK for colour in colours] == [mark for row in expected for mark in row]
    assert any(map(any, expected))


@pytest.mark.slow
def test_the_demo_ends_with_a_picture_and_a_command(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "d"), "--n", "500", "--json"]) == 0
    out = capsys.readouterr()
    result = json.loads(out.out)
    assert set(result["surveys"]) == {"sdss", "hsc"}
    for survey in result["surveys"].values():
        assert {"adapted", "by_definition", "ceiling", "chosen"} <= set(survey)
        assert survey["adapted"]["pool"] == survey["ceiling"]["pool"] > 100
        assert survey["adapted"]["distance_ratio"] < 1
    with Image.open(tmp_path / "d/real/outliers.png") as picture:
        assert picture.width > 1000
    printed = [line for line in out.err.splitlines() if line.startswith("$ galaxy-da ")]
    assert [line.split()[2] for line in printed[:6]] == [
        "extract", "index", "similar", "outliers", "simulate", "crossmatch"
    ]  # fmt: skip
    assert "<img" in (tmp_path / "d/report/report.html").read_text()
    with Image.open(tmp_path / "d/neighbours.png") as picture:
        assert picture.width > 1000 and np.ptp(np.asarray(picture)) > 200
    _the_page_opens(shlex.split(out.err.splitlines()[-1].removeprefix("try next")))


def _the_page_opens(command):
    """Run the command that the demo ends with."""
    assert command[:2] == ["galaxy-da", "serve"] and command[-1] == "--open"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    words = [sys.executable, "-m", "galaxy_da", *command[1:-1], "--port", str(port)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as service:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _is_up(url):
                assert service.poll() is None
                time.sleep(0.2)
            page = httpx.get(url)
            assert page.status_code == 200 and "<html" in page.text
            surveys = httpx.get(f"{url}/api/info").json()["index"]["surveys"]
            assert set(surveys) == {"decals", "sdss", "hsc"}
            for survey in surveys:
                key = httpx.get(f"{url}/api/objects/complete?prefix={survey}:").json()[0]
                picture = httpx.get(f"{url}/api/images/cutout.png", params={"id": key})
                assert picture.headers["content-type"] == "image/png"
        finally:
            service.terminate()


def _is_up(url):
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False

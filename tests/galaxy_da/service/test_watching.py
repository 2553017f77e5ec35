"""A running service sees a changed index and map; questions in progress end undisturbed."""

import shutil
import threading
import time

import httpx
import pytest
from service_helpers import running

from galaxy_da.index.latent_map import draw_map, write_map
from galaxy_da.index.writing import delete
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service import create_app


@pytest.fixture
def copy(workspace, tmp_path):
    shutil.copytree(workspace.folder / "index", tmp_path / "index")
    return tmp_path / "index"


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_changed_index_is_seen_without_a_restart(workspace, copy):
    app = create_app(workspace.space, LatentIndex.open(copy))
    gone = "sdss:sdss-0001"
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as http:
        app.state.service.start()
        stop, failed = threading.Event(), []

        def read():
            paths = (
                "/api/similar?id=hsc:hsc-0001",
                "/api/objects?id=hsc:hsc-0001",
                "/api/outliers",
            )
            with httpx.Client(base_url=url, timeout=60) as own:
                while not stop.is_set():
                    failed.extend(a.text for p in paths if (a := own.get(p)).status_code != 200)

        reader = threading.Thread(target=read)
        reader.start()
        assert http.get("/api/objects", params={"id": gone}).status_code == 200
        delete(copy, [gone])
        wait_until(lambda: http.get("/api/objects", params={"id": gone}).status_code == 404)
        assert http.get("/api/similar", params={"id": gone}).status_code == 404
        info = http.get("/api/info").json()["index"]
        assert info["objects"] == len(workspace.index) - 1
        assert http.get("/api/map?format=json").json()["meta"]["objects"] == info["objects"]
        index = LatentIndex.open(copy)
        drawn = draw_map(index, "pca")
        moved = type(drawn)(
            points=drawn.points + 100, method="umap", generation=index.generation, fitted_on=9
        )
        write_map(moved, index, copy)
        wait_until(lambda: http.get("/api/map?format=json").json()["meta"]["fitted_on"] == 9)
        assert min(http.get("/api/map?format=json").json()["x"]) > 50
        stop.set()
        reader.join()
    assert failed == []


def test_a_damaged_index_leaves_the_old_one(workspace, copy, caplog):
    app = create_app(workspace.space, LatentIndex.open(copy))
    with running(app) as url:
        (copy / "index.json").write_text("{")
        wait_until(lambda: "cannot be used" in caplog.text)
        answer = httpx.get(f"{url}/api/objects?id=sdss:sdss-0001", timeout=60)
        assert answer.status_code == 200

"""Service over a small index, and a browser that records the page's errors."""

import shutil
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import httpx
import numpy as np
import pyarrow as pa
import pytest
from browser_helpers import PHONE, open_page
from conftest import blobs, write_sample

from galaxy_da.errors import SampleWarning
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.models.match_probability import MatchProbability, Population
from galaxy_da.space import LatentSpace, SurveyEncoder

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

GALAXIES = 150
MANY = 100_000


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def _serve(folder, *arguments):
    """Run `galaxy-da serve` during a test; yield its address."""
    port = _free_port()
    command = [sys.executable, "-m", "galaxy_da", "serve", "--port", str(port)]
    command += map(str, arguments)
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/api/info", process, folder / "serve.log")
        httpx.get(f"{address}/api/map?limit=1", timeout=120)  # the first answer starts processes
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait(url, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer; {log.read_text()}")


def _two_surveys():
    """Shipped space with SDSS read by its definition, and a rough match probability."""
    space = LatentSpace.load("decals")
    plain = space.encoder("sdss", ("g", "r", "z"))
    probability = MatchProbability(
        population=Population(
            mean=(0.0,) * space.galaxy_latents, variance=(1.0,) * space.galaxy_latents
        ),
        intercept=4.0,
        weights=(-1.0, -0.2, 0.02),
        floor=1e-3,
        most=6.0,
    )
    record = {"match_probability": {"model": probability.model_dump(mode="json")}}
    return space.with_survey(
        SurveyEncoder(survey=plain.survey, bands=plain.bands, network=plain.network, record=record)
    )


@pytest.fixture(scope="session")
def sky(tmp_path_factory):
    """Sample tables of the same galaxies in two surveys, their space and their index."""
    folder = tmp_path_factory.mktemp("sky")
    rng = np.random.default_rng(1)
    place = {"ra": 150 + rng.uniform(0, 1, GALAXIES), "dec": 2 + rng.uniform(0, 1, GALAXIES)}
    columns = {
        **place,
        "mag_r": rng.uniform(16, 21, GALAXIES),
        "kind": rng.choice(["disc", "round"], GALAXIES),
        "bands": ["g,r,z"] * GALAXIES,
        "specobjid": pa.array([2**63 + 13 * k for k in range(GALAXIES)], pa.uint64()),
    }
    samples = {
        survey: write_sample(
            folder / survey, blobs(GALAXIES, side, scale, seed=7), survey=survey, **columns
        )
        for survey, side, scale in (("decals", 140, 0.262), ("sdss", 100, 0.396))
    }
    space = _two_surveys()
    space.save(folder / "space")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleWarning)  # blobs have not the colours of galaxies
        features = [extract(space, Sample(path)) for path in samples.values()]
    LatentIndex.build(features).save(folder / "index")
    return folder


@pytest.fixture(scope="session")
def service(sky, tmp_path_factory):
    """Address of a service over `sky`."""
    folder = tmp_path_factory.mktemp("service")
    samples = [f"--sample={sky / name / 'sample.parquet'}" for name in ("decals", "sdss")]
    parts = ["--index", sky / "index", "--space", sky / "space", "--jobs", folder / "jobs"]
    with _serve(folder, *parts, *samples) as address:
        yield address


@pytest.fixture(scope="session")
def crowded(sky, tmp_path_factory):
    """Address of a service over 100,000 objects without cutouts."""
    space = LatentSpace.load(sky / "space")
    rng = np.random.default_rng(2)
    width, half = space.galaxy_latents, MANY // 2
    centres = rng.normal(size=(12, width)) * 2
    features = []
    for survey in ("decals", "sdss"):
        points = centres[rng.integers(12, size=half)] + rng.normal(size=(half, width))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel(), pa.float32()), width)
        table = pa.table(
            {
                "object_id": [f"{survey}-{i:06d}" for i in range(half)],
                "survey": pa.array([survey] * half),
                "ra": rng.uniform(0, 360, half),
                "dec": rng.uniform(-30, 30, half),
                "flags": pa.array(np.zeros(half), pa.int32()),
                "mag_r": rng.normal(19, 1, half),
                "embedding": vectors,
            }
        )
        features.append(Features(table=table, space_id=space.id, encoders={survey: "e"}))
    folder = tmp_path_factory.mktemp("crowded")
    LatentIndex.build(features).save(folder / "index")
    with _serve(folder, "--index", folder / "index", "--space", sky / "space") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, service):
    with open_page(browser, service) as opened:
        yield opened


@pytest.fixture
def phone(browser, service):
    with open_page(
        browser, service, viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="light"
    ) as opened:
        yield opened


@pytest.fixture
def api(service):
    """HTTP client of the same service, for the expected values."""
    with httpx.Client(base_url=service, timeout=60) as client:
        yield client

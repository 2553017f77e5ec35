"""Small service of three surveys, in process and on loopback."""

import io
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import uvicorn
from conftest import blobs, make_space, write_sample

from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.drawing import SampleCutouts
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service import create_app
from galaxy_da.service.jobs import process
from galaxy_da.service.parts import ServiceOptions
from galaxy_da.service.run import UVICORN_OPTIONS
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import get_survey

SURVEYS = {"decals": 0.262, "sdss": 0.396, "hsc": 0.168}
N = 24
SPECOBJID = 14557384363438286848  # beyond 2⁶³, as eBOSS's are


class Workspace:
    """Space, samples of one sky in three surveys, and their index, on disk and opened."""

    def __init__(self, folder):
        self.folder = folder
        anchor = make_space(nuisance_latents=2)
        sdss = make_space(seed=1, nuisance_latents=2).encoder("decals").network
        adapted = SurveyEncoder(
            survey=get_survey("sdss"),
            bands=("g", "r", "z"),
            network=sdss,
            record={"chosen": "another network", "pairs": {"train": 24}},
        )
        anchor.with_survey(adapted).save(folder / "space")
        self.space = LatentSpace.load(folder / "space")
        rng = np.random.default_rng(3)
        ra, dec = rng.uniform(150, 150.4, N), rng.uniform(1.8, 2.2, N)
        self.samples = {}
        for seed, (name, scale) in enumerate(SURVEYS.items()):
            images = blobs(N, 96, scale, seed=0, noise=0.003 * (1 + seed))
            images /= np.float32(get_survey(name).nanomaggy_per_unit)
            columns = {
                "ra": ra + rng.normal(0, 0.05 / 3600, N),
                "dec": dec + rng.normal(0, 0.05 / 3600, N),
                "bands": ["g,r,z"] * N,
                "magnitude": np.where(np.arange(N) % 5, rng.uniform(16, 22, N), np.nan),
                "kind": [["spiral", "ring", None][i % 3] for i in range(N)],
                "specobjid": pa.array([SPECOBJID + 13 * i for i in range(N)], pa.uint64()),
            }
            self.samples[name] = write_sample(folder / name, images, name, **columns)
            extract(self.space, Sample(self.samples[name]), folder / "features" / name)
        features = [Features.open(folder / "features" / name) for name in SURVEYS]
        LatentIndex.build(features).save(folder / "index")
        self.index = LatentIndex.open(folder / "index")
        self._forkers = {}

    def app(self, **options):
        cutouts = SampleCutouts([Sample(path) for path in self.samples.values()], self.space.survey)
        return create_app(self.space, self.index, ServiceOptions(cutouts=cutouts, **options))

    def sharing_app(self, **options):
        """Create an application with workers of the same program as others of its limits."""
        app = self.app(**options)
        service = app.state.service
        service._forker = self._forkers.setdefault(service.limits, service._forker)
        for crew in service._crews:
            crew.renew(service._forker)
        return app


@contextmanager
def running(app, **options):
    """Run the application in a real server on loopback, in a thread; yield its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, **{**UVICORN_OPTIONS, **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def wait_for(url, job_id, *states, seconds=120, headers=None):
    """Poll a job until it is in one of the states."""
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        while time.monotonic() < deadline:
            job = http.get(f"/api/jobs/{job_id}").raise_for_status().json()
            if job["state"] in states:
                return job
            time.sleep(0.1)
    raise AssertionError(f"the job is still {job}")


def zipped(folder):
    """Zip the files of a folder in memory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return out.getvalue()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def start_service(workspace, folder, log, *more):
    """Run `serve` with jobs in a folder; return its process and address once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "galaxy_da", "serve", "--port", str(port), *more]
    command += [
        "--index",
        str(workspace.folder / "index"),
        "--space",
        str(workspace.folder / "space"),
    ]
    command += ["--jobs", str(folder), "--sample", str(workspace.samples["decals"])]
    with log.open("ab") as errors:
        child = subprocess.Popen(command, stderr=errors, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    while True:
        assert child.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz", timeout=10).status_code == 200:
                return child, url
        except httpx.HTTPError:
            time.sleep(0.2)


def killable(service, folder):
    """Return the processes below a service, and of the jobs in a folder with the job's name."""
    found = dict.fromkeys(descendants(service))
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(path.parent.name)
        try:
            words = path.read_bytes().split(b"\0")
            leads = os.getpgid(pid) == pid
        except OSError:
            continue
        names = [Path(os.fsdecode(word)) for word in words if str(folder).encode() in word]
        if leads and process.__name__.encode() in words and names:
            found[pid] = names[0].name
    return found


def descendants(pid):
    """Yield the children of a process, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)

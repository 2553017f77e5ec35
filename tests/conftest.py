"""Fixtures of many tests: a small untrained space, simple galaxies, and real images if present."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from galaxy_da.images.preparation import Frame
from galaxy_da.models.networks import Architecture, VariationalAutoencoder
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import get_survey

_TOGETHER = ("tests/galaxy_da/page/", "tests/galaxy_da/service/")
"""Folders whose tests share a running service: one process runs all of a folder's tests."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let each process run whole files, or whole folders of `_TOGETHER`."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            shared = (folder for folder in _TOGETHER if nodeid.startswith(folder))
            return next(shared, super()._split_scope(nodeid))

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _threads():
    torch.set_num_threads(1)


@pytest.fixture
def store(monkeypatch, tmp_path):
    """Return the objects of ``memory://``, and delete them afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(scope="session")
def data():
    """Return the folder of real images; skip the test if it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images (../shared/data) are not on this machine")
    return folder


def make_space(seed=0, **sizes):
    torch.manual_seed(seed)
    architecture = Architecture(**{"widths": (8, 16, 16), "features": 32, "latents": 6, **sizes})
    model = VariationalAutoencoder(architecture)
    decals = SurveyEncoder(
        survey=get_survey("decals"), bands=("g", "r", "z"), network=model.encoder
    )
    return LatentSpace(
        SpaceParts(
            architecture=architecture,
            frame=Frame(wide_pixel_scale_arcsec=2.096 if architecture.grids == 2 else None),
            anchor="decals",
            encoders={"decals": decals},
            decoder=model.decoder,
        )
    )


@pytest.fixture
def space():
    return make_space()


@pytest.fixture
def wide_space():
    """Space of two grids whose encoder knows the instrument, as after some training."""
    space = make_space(grids=2, conditioned=True)
    torch.nn.init.normal_(space.encoder("decals").network.body.modulation[-1].weight, std=0.1)
    return space


def blobs(n, side, pixel_scale, seed=0, bands=3, noise=0.003):
    """Draw (n, bands, side, side) Gaussian galaxies of random size, shape and flux [nanomaggy]."""
    rng = np.random.default_rng(seed)
    grid = (np.arange(side) - (side - 1) / 2) * pixel_scale
    sigma = rng.uniform(1, 3, n)[:, None, None]
    ratio = rng.uniform(0.4, 1, n)[:, None, None]
    angle = rng.uniform(0, np.pi, n)[:, None, None]
    x, y = grid[None, None, :], grid[None, :, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    shape = np.exp(-0.5 * (along**2 + (across / ratio) ** 2) / sigma**2)
    peak = rng.uniform(0.5, 5, (n, bands, 1, 1)) * pixel_scale**2
    images = peak * shape[:, None] + rng.normal(0, noise, (n, bands, side, side))
    return images.astype(np.float32)


def write_sample(folder, images, survey="decals", **columns):
    """Write a sample table and its ``cutouts.npy``."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "cutouts.npy", images)
    n = len(images)
    rng = np.random.default_rng(5)
    table = {
        "object_id": [f"{survey}-{i:04d}" for i in range(n)],
        "survey": [survey] * n,
        "ra": rng.uniform(130, 230, n),
        "dec": rng.uniform(-5, 30, n),
        "cutout": [f"cutouts.npy#{i}" for i in range(n)],
        **columns,
    }
    pq.write_table(pa.table(table), folder / "sample.parquet")
    return folder / "sample.parquet"


def pair_table(anchor_ids, target_ids):
    """Return a pair table that joins ids row by row, none ambiguous."""
    n = len(anchor_ids)
    return pa.table(
        {
            "anchor_id": anchor_ids,
            "target_id": target_ids,
            "separation_arcsec": np.zeros(n),
            "n_candidates": np.ones(n, np.int32),
            "ambiguous": np.zeros(n, bool),
        }
    )

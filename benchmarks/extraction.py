"""Compare extraction with its parts, and the encoder with other encoders.

``python -m benchmarks.extraction [--images N] [--repeats N]`` prints two tables, for the shipped
space and random galaxies: float cutouts of 138 px and JPEG stamps of 120 px.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
from PIL import Image

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.loading import load_images, read_batches
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.models.devices import Precision, autocast
from galaxy_da.models.networks import Architecture, Encoder
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

_CPU = torch.device("cpu")
_FIRST_RELEASE = Architecture(latents=40, nuisance_latents=12, symmetric=True)
"""Network of the first release: one grid, not conditioned, averaged over eight passes."""

_RATIOS = (
    ("bare encoder", "encoder of the first release", 6.0),
    ("bare encoder", "timm convnext_nano, 224 px", 150.0),
    ("extract JPEG, with reconstruction error", "decode JPEG alone", 0.7),
    ("extract floats, with reconstruction error", "read and prepare floats alone", 0.7),
)
"""Tasks, those that they are compared with, and the ratios aimed at."""


def extraction_rows(n: int = 3000, repeats: int = 5, seed: int = 1) -> list[dict[str, Any]]:
    """Measure images per second.

    Parameters
    ----------
    n : int
        Cutouts of each kind.
    repeats : int
        Alternating runs, for medians.
    seed : int
        Seed of the images.

    Returns
    -------
    list of dict
        ``task``, ``images_per_s``, and ``to_bare_encoder``, the ratio to the bare encoder on
        prepared images.
    """
    space = LatentSpace.load("decals")
    with tempfile.TemporaryDirectory() as folder:
        floats = _float_sample(Path(folder), n, seed)
        jpegs = _jpeg_sample(Path(folder), n, seed)
        plain = space.encoder("decals")
        inputs, _ = load_images(floats, np.arange(n), plain, space.frame)
        own = get_survey("decals")

        def bare(precision: Precision) -> Callable[[], object]:
            return lambda: space.encode(inputs, plain, precision=precision, device=_CPU)

        first_release = Encoder(_FIRST_RELEASE).eval().to(memory_format=torch.channels_last)
        plain_inputs = Inputs.plain(inputs.images[:, : _FIRST_RELEASE.input_planes])

        def read_and_prepare() -> None:
            for _, cutouts in read_batches(floats, {"decals": own}):
                plain.prepare([c for c in cutouts if isinstance(c, Cutout)], space.frame)

        def run(sample: Sample, reconstruct: bool) -> Callable[[], object]:
            return lambda: extract(space, sample, settings=ExtractSettings(reconstruct=reconstruct))

        tasks = {
            "bare encoder": bare("auto"),
            "bare encoder, fp32": bare("fp32"),
            "encoder of the first release": lambda: first_release.encode(plain_inputs, device=_CPU),
            "extract floats, latents only": run(floats, False),
            "extract floats, with reconstruction error": run(floats, True),
            "extract JPEG, latents only": run(jpegs, False),
            "extract JPEG, with reconstruction error": run(jpegs, True),
            "decode JPEG alone": lambda: list(read_batches(jpegs, {"decals": own})),
            "read and prepare floats alone": read_and_prepare,
        }
        rates = _rates(tasks, n, repeats)
    rates["timm convnext_nano, 224 px"] = _convnext_rate()
    return [
        {"task": task, "images_per_s": rate, "to_bare_encoder": rate / rates["bare encoder"]}
        for task, rate in rates.items()
    ]


def ratio_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ratios of some tasks of `extraction_rows`, beside those aimed at."""
    rates = {row["task"]: row["images_per_s"] for row in rows}
    return [
        {
            "ours": ours,
            "images_per_s": rates[ours],
            "peer": peer,
            "peer_images_per_s": rates[peer],
            "ratio": rates[ours] / rates[peer],
            "aim": aim,
        }
        for ours, peer, aim in _RATIOS
    ]


def _rates(tasks: dict[str, Callable[[], object]], n: int, repeats: int) -> dict[str, float]:
    """Return median images per second of each task; tasks alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, work in tasks.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: n / float(np.median(times[1:])) for name, times in seconds.items()}


def _convnext_rate(images: int = 32) -> float:
    """Return the rate of Zoobot's small encoder (Walmsley et al. 2024, arXiv 2404.02973)."""
    model = timm.create_model("convnext_nano", pretrained=False, num_classes=0).eval()
    model = model.to(memory_format=torch.channels_last)
    batch = torch.randn(images, 3, 224, 224).to(memory_format=torch.channels_last)

    def work() -> None:
        with torch.inference_mode(), autocast(_CPU, "auto"):
            model(batch)

    return _rates({"convnext": work}, images, 3)["convnext"]


def _galaxies(n: int, side: int, scale: float, seed: int) -> np.ndarray:
    """Draw (n, 3, side, side) float32 Gaussian galaxies in noise [nanomaggy per pixel]."""
    rng = np.random.default_rng(seed)
    grid = (np.arange(side) - (side - 1) / 2) * scale
    sigma = rng.uniform(0.8, 3, n)[:, None, None]
    shape = np.exp(-0.5 * (grid[None, None] ** 2 + grid[None, :, None] ** 2) / sigma**2)
    images = rng.normal(0, 0.004, (n, 3, side, side)).astype(np.float32)
    images += (rng.uniform(0.5, 5, (n, 3, 1, 1)) * shape[:, None] * scale**2).astype(np.float32)
    return images


def _table(n: int, **columns: Any) -> pa.Table:
    return pa.table(
        {
            "object_id": [f"{i}" for i in range(n)],
            "survey": ["decals"] * n,
            "ra": np.linspace(130, 230, n),
            "dec": np.zeros(n),
            **columns,
        }
    )


def _float_sample(folder: Path, n: int, seed: int) -> Sample:
    np.save(folder / "cutouts.npy", _galaxies(n, 138, 0.262, seed))
    table = _table(n, cutout=[f"cutouts.npy#{i}" for i in range(n)])
    pq.write_table(table, folder / "floats.parquet")
    return Sample(folder / "floats.parquet")


def _jpeg_sample(folder: Path, n: int, seed: int) -> Sample:
    table = _table(n, image=jpeg_stamps(n, seed), pixel_scale_arcsec=np.full(n, 0.262))
    pq.write_table(table, folder / "jpegs.parquet", row_group_size=1000)
    return Sample(folder / "jpegs.parquet")


def jpeg_stamps(n: int, seed: int) -> list[bytes]:
    """Draw n JPEG stamps of 120 px."""
    images = []
    for flux in _galaxies(n, 120, 0.262, seed):
        colour = np.moveaxis((np.arcsinh(flux[::-1] * 30) * 60 + 30).clip(0, 255), 0, -1)
        buffer = io.BytesIO()
        Image.fromarray(colour.astype(np.uint8)).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def main() -> None:
    """Print the tables."""
    parser = command_parser("extraction", __doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rows = extraction_rows(given.images, given.repeats)
    print_rows("Extraction", rows)
    print_rows("Ratios", ratio_rows(rows))


if __name__ == "__main__":
    main()

"""Rows of the page of `make bench`: our figure beside a peer's, for each step of the main job.

Each section is one benchmark at a size that takes a minute or two. Both sides of a row take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.measuring import clocks


@dataclass(frozen=True, kw_only=True)
class SpeedRow:
    """One step of the job, beside a peer.

    Attributes
    ----------
    task, peer : str
        Our task, and what it is compared with.
    ours, theirs : float
        Figures in `unit`.
    unit : str
        ``s`` or ``bytes`` (less is better), or a rate such as ``images/s``.
    cpu_ratio : float, optional
        As `ratio`, by processor time; compare it on a busy machine.
    aim : float, optional
        Smallest ratio aimed at.
    limit : float, optional
        Largest `ours` aimed at.
    larger : str
        Command that measures more, after ``python -m benchmarks.``.
    """

    task: str
    peer: str
    ours: float
    theirs: float
    unit: str
    cpu_ratio: float | None = None
    aim: float | None = None
    limit: float | None = None
    larger: str

    @property
    def ratio(self) -> float:
        """Return the peer's time or memory over ours, or our rate over the peer's."""
        less = self.unit in ("s", "bytes")
        return self.theirs / self.ours if less else self.ours / self.theirs

    @property
    def reached(self) -> bool | None:
        """Compare with the aim; None without one."""
        if self.limit is not None:
            return bool(self.ours <= self.limit)
        return None if self.aim is None else bool(self.ratio >= self.aim)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name."""
        return {**asdict(self), "ratio": self.ratio, "reached": self.reached}


def measure(section: str, small: bool) -> list[SpeedRow]:
    """Return the rows of a section, at full size or at the smallest."""
    return list(SECTIONS[section](small))


def _crossmatch(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.crossmatch import crossmatch_rows

    peers = ("astropy", "lsdb", "stilts")
    sizes = (3000,) if small else (100_000, 1_000_000)
    for n in sizes:
        repeats = 1 if small or n > sizes[0] else 3
        (rows,) = crossmatch_rows((n,), repeats, peers=peers)
        ours = {row["mode"]: row for row in rows if row["peer"] == "ours"}
        for row in rows:
            own = ours[row["mode"]]
            if row is own or row["note"]:
                continue
            yield SpeedRow(
                task=f"crossmatch {row['mode']}, {n:,} rows, files to file",
                peer=row["peer"],
                ours=own["time_s"],
                theirs=row["time_s"],
                unit="s",
                cpu_ratio=row["cpu_s"] / own["cpu_s"],
                aim=1.0,
                larger="crossmatch 10000000",
            )


def _tiles(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.tiles import tile_rows

    n, repeats = (50, 1) if small else (2000, 3)
    rows = tile_rows(n, repeats, sides=(17.0,), tile_px=600 if small else 2400)
    ours = rows[0]
    for row in rows[1:]:
        if row["note"]:
            continue
        yield SpeedRow(
            task="cut galaxies out of tiles",
            peer=row["peer"],
            ours=ours["cutouts_per_s"],
            theirs=row["cutouts_per_s"],
            unit="cutouts/s",
            cpu_ratio=row["cpu_ratio"],
            aim=2.0 if row["peer"] == "cutana" else None,
            larger="tiles",
        )


def _extraction(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.extraction import extraction_rows, ratio_rows

    n, repeats = (64, 1) if small else (1000, 3)
    for row in ratio_rows(extraction_rows(n, repeats)):
        yield SpeedRow(
            task=row["ours"],
            peer=row["peer"],
            ours=row["images_per_s"],
            theirs=row["peer_images_per_s"],
            unit="images/s",
            aim=row["aim"],
            larger="extraction",
        )


def _index(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.index import benchmark_search, growth_rows

    n = 10_000 if small else 100_000
    for row in benchmark_search(n, repeats=1 if small else 9, kind="flat"):
        yield SpeedRow(
            task=f"search {n:,} vectors, {row['query']}",
            peer="raw FAISS",
            ours=row["galaxy_da_per_s"],
            theirs=row["faiss_per_s"],
            unit="queries/s",
            cpu_ratio=1 / row["cpu_ratio"],
            aim=1 / 1.2,
            larger="index",
        )
    for size in growth_rows([n], kind="ivfpq"):
        yield SpeedRow(
            task=f"index {n:,} vectors, memory of one, recall@10 {size['recall']:.4f}",
            peer="float32",
            ours=size["search_bytes"],
            theirs=160,
            unit="bytes",
            larger="index 10000000",
        )


def _service(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.service import Turns, image_rows, similar_rows

    turns = Turns(seconds=0.5, repeats=1) if small else Turns(seconds=2, repeats=3)
    similar = similar_rows(2000 if small else 100_000, turns, loads=1)[0]
    encoded = image_rows((64,), turns)[-1]
    every: list[tuple[str, str, float | None, dict[str, Any]]] = [
        ("similar by id", "raw FAISS, 16 threads", 0.8, similar),
        ("encode an image", "the encoder alone", None, encoded),
    ]
    for task, peer, aim, row in every:
        yield SpeedRow(
            task=f"{task} over HTTP, 16 clients",
            peer=peer,
            ours=row["service_per_s"],
            theirs=row["bare_per_s"],
            unit="answers/s",
            cpu_ratio=row["bare_cpu_ms"] / row["service_cpu_ms"],
            aim=aim,
            larger="service",
        )


def _workers(small: bool) -> Iterator[SpeedRow]:
    from benchmarks.distributed import distributed_rows

    n = 600 if small else 4000
    local, workers = distributed_rows("extract", n, (0, 2))
    yield SpeedRow(
        task=f"extract {n:,} images on two Dask workers, of a core",
        peer="one process",
        ours=workers["per_core"],
        theirs=local["per_core"],
        unit="images/s",
        aim=0.9,
        larger="distributed",
    )


def _training(small: bool) -> Iterator[SpeedRow]:
    import torch

    from benchmarks.training_speed import training_rows

    torch.set_num_threads(1)
    rows = {row["variant"]: row for row in training_rows(*((64, 1) if small else (512, 2)))}
    ours, plain = rows["as trained"], rows["plain fp32 eager"]
    yield SpeedRow(
        task="train, reading included",
        peer="a plain fp32 loop",
        ours=ours["images_per_s"],
        theirs=plain["images_per_s"],
        unit="images/s",
        cpu_ratio=ours["to_first"],
        larger="training_speed",
    )


def _start_up(small: bool) -> Iterator[SpeedRow]:
    """Time whole processes: the help, and one query by id."""
    from benchmarks.index import write_features
    from galaxy_da.index import create
    from galaxy_da.latent_index import LatentIndex

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "index"
        create(path, [write_features(Path(name), 2000 if small else 100_000, 28)], kind="flat")
        index = LatentIndex.open(path)
        vectors = Path(name) / "vectors.npy"
        np.save(vectors, index.vectors[:])
        verb = [sys.executable, "-m", "galaxy_da"]
        pairs: list[tuple[str, float, list[str], str, list[str]]] = [
            ("galaxy-da --help", 0.2, [*verb, "--help"], "import typer", ["import typer"]),
            (
                "galaxy-da similar --id, start included",
                0.7,
                [*verb, "similar", str(path), "--id", index.key(5)],
                "a script of FAISS and pyarrow",
                [_SCRIPT, str(vectors)],
            ),
        ]
        for task, limit, ours, peer, theirs in pairs:
            times = [
                (_processor_s(ours), _processor_s([sys.executable, "-c", *theirs]))
                for _ in range(2 if small else 7)
            ]
            own, other = np.median(times, axis=0).tolist()
            yield SpeedRow(
                task=f"{task}, processor time",
                peer=peer,
                ours=own,
                theirs=other,
                unit="s",
                limit=limit,
                larger="index",
            )


_SCRIPT = """
import sys
import faiss, numpy as np, pyarrow.parquet
vectors = np.load(sys.argv[1])
index = faiss.IndexFlatL2(vectors.shape[1])
index.add(vectors)
print(index.search(vectors[:1], 10))
"""


def _processor_s(command: list[str]) -> float:
    """Return the processor time of a process in one thread [s]."""
    before = clocks()[1]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=quiet)
    return float(clocks()[1] - before)


SECTIONS: dict[str, Callable[[bool], Iterator[SpeedRow]]] = {
    "crossmatch": _crossmatch,
    "tiles": _tiles,
    "extraction": _extraction,
    "index": _index,
    "service": _service,
    "workers": _workers,
    "training": _training,
    "start-up": _start_up,
}
"""Functions that yield the rows of a section; True measures the smallest size."""

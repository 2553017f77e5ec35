"""Measure the processor time of each stage of an extraction, and the networks' arithmetic rates.

``python -m benchmarks.stages [--repeats N]`` prints two tables, for the shipped space, a batch of
JPEG stamps of 120 px and one thread. Processor time is measured, since other work on the machine
lengthens it less than the time on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.extraction import jpeg_stamps
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.extraction.summary import summarise
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.measurements import measure
from galaxy_da.models.devices import Precision, has_bf16
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

_CPU = torch.device("cpu")
_SIDE, _CHANNELS = 2048, 64  # of the product of matrices, and of the convolution


def stage_rows(n: int = 64, repeats: int = 15, seed: int = 1) -> list[dict[str, Any]]:
    """Measure the processor time of each stage, and of reading and encoding a batch as a whole.

    Parameters
    ----------
    n : int
        Stamps of the batch; an extraction has 64.
    repeats : int
        Alternating runs, for the least and the median.
    seed : int
        Seed of the images.

    Returns
    -------
    list of dict
        ``stage``, ``us`` (least) and ``median_us`` for each image.
    """
    space, survey = LatentSpace.load("decals"), get_survey("decals")
    rows = pa.table(
        {
            "object_id": [str(i) for i in range(n)],
            "survey": ["decals"] * n,
            "image": jpeg_stamps(n, seed),
        }
    )
    plain = space.encoder("decals")
    encoder = SampleEncoder(space, ["decals"], ExtractSettings())

    def read() -> list[Any]:
        return read_cutouts(rows, Path(), survey)

    cutouts = [cutout for cutout in read() if isinstance(cutout, Cutout)]
    inputs = plain.prepare(cutouts, space.frame).inputs
    posterior = space.encode(inputs, plain, device=_CPU)
    with _one_thread():
        seconds = _seconds(
            {
                "decode JPEG": read,
                "prepare": lambda: plain.prepare(cutouts, space.frame),
                "encode": lambda: space.encode(inputs, plain, device=_CPU),
                "decode latents": lambda: space.decode(posterior.mean, device=_CPU),
                "measure light": lambda: measure(inputs, space.frame),
                "decode, measure and summarise": lambda: summarise(space, inputs, posterior),
                "all but decoding JPEG": lambda: encoder.encode(rows, cutouts),
            },
            repeats,
        )
    return [
        {"stage": stage, "us": 1e6 * min(times) / n, "median_us": 1e6 * float(np.median(times)) / n}
        for stage, times in seconds.items()
    ]


def rate_rows(n: int = 64, repeats: int = 15) -> list[dict[str, Any]]:
    """Measure the arithmetic rates of the networks beside those of one core.

    Returns
    -------
    list of dict
        By precision and task: millions of multiply-adds of an image, 10⁹ multiply-adds a second,
        and the share of the rate of a 3 x 3 convolution of 64 channels. The decoder is counted as
        it is defined; of its last layer, only the planes of one grid are made.
    """
    space = LatentSpace.load("decals")
    a, network = space.architecture, space.encoder("decals").network
    prepared = torch.randn(n, a.input_planes, a.pixels, a.pixels)
    conditions, latents = torch.randn(n, a.conditions), torch.randn(n, a.latents)
    inputs = Inputs(prepared, conditions)
    convolution = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, device=_CPU)
    features = torch.randn(n, _CHANNELS, 16, 16).to(memory_format=torch.channels_last)
    work = {
        "convolution": _multiply_adds(lambda: convolution(features)),
        "product": _SIDE**3,
        "encoder": _multiply_adds(lambda: network(inputs)),
        "decoder": _multiply_adds(lambda: space.decoder(latents)),
    }
    rows = []
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16(_CPU) else ["fp32"]
    for precision in precisions:
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        square, own = torch.randn(_SIDE, _SIDE, dtype=kind), features.to(kind)
        layer = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, dtype=kind)
        layer = layer.requires_grad_(False).to(memory_format=torch.channels_last)
        tasks: dict[str, Callable[[], object]] = {
            "convolution": partial(layer, own),
            "product": partial(torch.mm, square, square),
            "encoder": partial(space.encode, inputs, "decals", precision=precision, device=_CPU),
            "decoder": partial(space.decode, latents, precision=precision, device=_CPU),
        }
        with _one_thread(), torch.inference_mode():
            best = {task: min(times) for task, times in _seconds(tasks, repeats).items()}
        rates = {task: work[task] / best[task] / 1e9 for task in tasks}
        rows += [
            {
                "precision": precision,
                "task": task,
                "million_multiply_adds": work[task] / n / 1e6 if task.endswith("coder") else None,
                "billion_per_s": rate,
                "share": rate / rates["convolution"],
            }
            for task, rate in rates.items()
        ]
    return rows


def _multiply_adds(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops()) / 2


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread of torch and of BLAS within the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _seconds(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the processor times of each task; tasks alternate, and the first run is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, work in tasks.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: times[1:] for name, times in seconds.items()}


def main() -> None:
    """Print the tables."""
    parser = command_parser("stages", __doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print_rows("Stages", stage_rows(repeats=repeats))
    print_rows("Arithmetic rates", rate_rows(repeats=repeats))


if __name__ == "__main__":
    main()

"""Cut galaxies out of tiles by ESA's cutana (arXiv 2511.04429).

Run by `benchmarks.tiles` in the Python that has cutana, whose pins may differ from ours. It imports
nothing of this repository; its arguments are the folder and the number of cutouts to check.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def main() -> None:
    """Cut twice, print the times of the second run, and write the cutouts to check."""
    cutana = import_module("cutana")
    folder, checked = Path(sys.argv[1]), int(sys.argv[2])
    rows = pd.read_parquet(folder / "cutana.parquet")
    config = cutana.get_default_config()
    config.do_only_cutout_extraction = True
    config.apply_flux_conversion = False
    config.output_format = "fits"
    found: list[dict[str, Any]] = []
    for _ in range(2):
        found.clear()
        start = time.perf_counter(), time.process_time()
        found += cutana.create_cutouts_direct(rows, config)
        wall_s, cpu_s = time.perf_counter() - start[0], time.process_time() - start[1]
    cut = {
        facts["source_id"]: (pixels, (facts["extraction_origin_x"], facts["extraction_origin_y"]))
        for part in found
        for pixels, facts in zip(part["cutouts"], part["metadata"], strict=True)
    }
    chosen = [cut[name] for name in rows["SourceID"][:checked]]
    np.savez(
        folder / "cutana.npz",
        pixels=np.stack([np.moveaxis(pixels, -1, 0).astype(np.float32) for pixels, _ in chosen]),
        origin_xy=np.array([origin for _, origin in chosen]),
    )
    print(json.dumps({"n": len(cut), "wall_s": wall_s, "cpu_s": cpu_s}))

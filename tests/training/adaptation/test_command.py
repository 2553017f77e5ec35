import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
from conftest import blobs, make_space, pair_table, write_sample

ADAPT = """
import sys
from training.parallel import fabric
fabric.has_bf16 = lambda device: True  # as on most machines, whose precision Fabric announces
from galaxy_da.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_adapt_prints_no_notice_of_a_library(tmp_path):
    n = 60
    ids = [f"{i}" for i in range(n)]
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n), "object_id": ids}
    images = blobs(n, 90, 0.4)
    first = write_sample(tmp_path / "a", images, bands=["g,r,z"] * n, **place)
    second = write_sample(tmp_path / "b", 2 * images, "sdss", bands=["g,r,z"] * n, **place)
    pq.write_table(pair_table(ids, ids), tmp_path / "pairs.parquet")
    make_space().save(tmp_path / "space")
    options = {"space": tmp_path / "space", "anchor": first, "target": second, "steps": 0,
               "pairs": tmp_path / "pairs.parquet", "out": tmp_path / "adapted"}  # fmt: skip
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, "-c", ADAPT, "adapt", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "chosen" in done.stdout
    lines = done.stderr.replace("\r", "\n").splitlines()
    assert [line for line in lines if line and not line.startswith("fine-tuning:")] == []

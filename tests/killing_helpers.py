"""Program that kills the writers of outputs at random and reads what they leave.

``python killing_helpers.py KINDS FOLDER KILLS SEED`` writes outputs that hold a number, each over
the one before. After each kill, the output must hold the last number that was acknowledged, or the
next.
"""

import json
import os
import random
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas  # noqa: F401  which pyarrow would import in every child
import pyarrow as pa
import torch
from astropy.table import Table
from conftest import make_space
from index_helpers import make, random_vectors
from upath import UPath

from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from evaluation.commands.evaluate import evaluate
from galaxy_da.index import create
from galaxy_da.index.latent_map import LatentMap, read_map, write_map
from galaxy_da.io.catalogue_output import write_catalogue
from galaxy_da.io.files import write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table, write_table
from galaxy_da.latent_index import LatentIndex
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.service.tokens import Tokens, add_token
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

N = 4000
FILES = 7  # of the output with most, a sky; each may leave one draft


def only(values, size=N):
    """Return the one value that all rows hold."""
    values = np.asarray(values)
    assert values.shape == (size,) and len(np.unique(values)) == 1
    return int(values[0])


def sample_of(number):
    ids = [f"g{row}" for row in range(N)]
    ra = np.linspace(100, 200, N)
    columns = {"object_id": ids, "survey": ["decals"] * N, "ra": ra, "dec": ra - 150}
    images = [number.to_bytes(4, "big") * 50] * N
    return pa.table({**columns, "number": np.full(N, number), "image": images})


def write_space(folder, number):
    space, correction = make_space(), InstrumentCorrection(bands=3, grids=1, conditions=0)
    with torch.no_grad():
        correction.log_gain.fill_(number)
        space.encoder("decals").network.mean.bias.fill_(number)
    plain = space.encoder("hsc")
    corrected = replace(plain, network=plain.network.corrected(correction))
    space.with_survey(corrected).with_metrics({"number": number}).save(folder / "space")


def read_space(folder):
    space = LatentSpace.load(folder / "space")
    number = space.metrics["number"]
    for name in space.surveys:
        bias = space.encoder(name).network.mean.bias.detach()
        assert only(bias, len(bias)) == number
    assert only(space.encoder("hsc").network.correction.log_gain.detach(), 3) == number
    return number


def write_sample(folder, number):
    write_table(sample_of(number), folder / "sample.parquet")


def read_sample(folder):
    catalog = Sample(folder / "sample.parquet").catalog
    return only(catalog["number"])


def write_token(folder, number):
    add_token(folder / "tokens.json", str(number), None)


def read_tokens(folder):
    Tokens(folder / "tokens.json")
    tokens = json.loads((folder / "tokens.json").read_text())["tokens"]
    assert [int(token["name"]) for token in tokens] == list(range(len(tokens)))
    return len(tokens) - 1


def write_points(folder, number):
    if not number:
        create(folder / "index", [make("s", list(random_vectors(N)))])
    index = LatentIndex.open(folder / "index")
    points = np.full((N, 2), number, np.float32)
    drawn = LatentMap(points=points, method="pca", generation=index.generation, fitted_on=N)
    write_map(drawn, index, folder / "index")


def read_points(folder):
    points = read_map(folder / "index", LatentIndex.open(folder / "index")).points
    return only(points.ravel(), 2 * N)


def exported(ending):
    def write(folder, number):
        write_catalogue(sample_of(number).drop_columns("image"), folder / f"export{ending}")

    def read(folder):
        path = folder / f"export{ending}"
        if ending == ".parquet":
            return only(read_table(path)["number"])
        return only(Table.read(path)["number"])

    return write, read


def write_hats(folder, number):
    write_catalogue(sample_of(number).drop_columns("image"), folder / f"sky-{number:06d}")


def read_hats(folder):
    from galaxy_da.io.hats.partitions import list_partitions

    numbers = []
    for path in sorted(folder.glob("sky-*")):
        rows = [read_table(f)["number"] for part in list_partitions(path) for f in part.files]
        numbers.append(only(np.concatenate([column.to_numpy() for column in rows])))
    assert numbers == list(range(len(numbers)))
    return numbers[-1]


def write_sky(folder, number):
    simulate([get_survey("decals")], 2, folder / f"sky-{number:06d}", SkySettings(seed=number))


def read_skies(folder):
    found = sorted(path.parent for path in folder.glob("sky-*/truth.parquet"))
    for number, path in enumerate(found):
        assert path.name == f"sky-{number:06d}"
        truth = read_table(path / "truth.parquet")
        for name in ("decals", "decals-repeat"):
            sample = Sample(path / name / "sample.parquet")
            assert sorted(sample.catalog["object_id"].to_pylist()) == sorted(
                truth[f"{name}_id"].to_pylist()
            )
            assert np.load(path / name / "cutouts.npy").shape[0] == 2
        assert len(read_table(path / "pairs-decals-decals-repeat.parquet")) == 2
    return len(found) - 1


def write_evaluation(folder, number):
    """Run the verb with stand-ins for its inputs and results."""
    result = SimpleNamespace(
        target=SimpleNamespace(survey=SimpleNamespace(name="sdss")),
        as_dict=lambda: {"number": number},
    )
    inputs = "galaxy_da.space.LatentSpace.load", "galaxy_da.io.samples.Sample"
    measured = "evaluation.evaluate.evaluate", "evaluation.targets.TargetSurvey"
    measured += "evaluation.reports.details.measure_details", "evaluation.truth.galaxy_properties"
    with ExitStack() as stack:
        for name in (*inputs, "galaxy_da.io.tables.read_pairs", *measured):
            stack.enter_context(patch(name))
        stands_in = {
            "evaluation.reports.details.SurveyResult": lambda **parts: result,
            "evaluation.reports.figures.figure_table": lambda results: sample_of(number),
            "evaluation.reports.page.write_report": lambda path, *rest, **more: write_json(
                path, [number] * N
            ),
        }
        for name, function in stands_in.items():
            stack.enter_context(patch(name, function))
        out = UPath(folder / f"sky-{number:06d}")
        evaluate("space", out, [out], [out], out, json=True)


def read_evaluations(folder):
    numbers = []
    for path in sorted(folder.glob("sky-*")):
        page = only(json.loads((path / "report.html").read_text()))
        metrics = json.loads((path / "metrics.json").read_text())["surveys"]["sdss"]["number"]
        assert page == metrics == only(read_table(path / "metrics.parquet")["number"])
        numbers.append(page)
    assert numbers == list(range(len(numbers)))
    return numbers[-1]


KINDS = {
    "evaluation": (write_evaluation, read_evaluations),
    "space": (write_space, read_space),
    "sample table": (write_sample, read_sample),
    "tokens": (write_token, read_tokens),
    "map": (write_points, read_points),
    "FITS": exported(".fits"),
    "VOTable": exported(".vot"),
    "Parquet": exported(".parquet"),
    "HATS": (write_hats, read_hats),
    "sky": (write_sky, read_skies),
}


def child(work):
    """Run a function in a process of its own; return its id and what it prints."""
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(out)
        work(into)
        os._exit(0)
    os.close(into)
    return pid, os.fdopen(out, "rb")


def kill_writers(kind, folder, kills, draw):
    write, read = KINDS[kind]
    folder.mkdir()

    def start(number, count):
        def work(into):
            for step in range(count):
                write(folder, number + step)
                os.write(into, b".")

        return child(work)

    def found():
        pid, stream = child(lambda into: os.write(into, str(read(folder)).encode()))
        text = stream.read()
        assert os.waitpid(pid, 0)[1] == 0
        return int(text)

    def finish(number, count):
        pid, stream = start(number, count)
        assert os.waitpid(pid, 0)[1] == 0 and len(stream.read()) == count

    finish(0, 1)
    begun = time.perf_counter()
    finish(1, 3)
    longest = time.perf_counter() - begun
    number, ends = 3, {"before": 0, "after": 0}
    assert found() == number
    for _ in range(kills):
        pid, stream = start(number + 1, 1000)
        time.sleep(draw.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        done = number + len(stream.read())
        number = found()
        assert number in (done, done + 1), f"{done} acknowledged but {number} found"
        ends["before" if number == done else "after"] += 1
        assert len(list(folder.rglob(".*.partial"))) <= FILES
    finish(number + 1, 1)
    assert found() == number + 1
    return ends


if __name__ == "__main__":
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    kinds, place, most, seed = sys.argv[1:]
    if "HATS" in kinds:
        import lsdb  # noqa: F401  which every child would import
    numbers = random.Random(int(seed))
    killed = {
        name: kill_writers(name, Path(place) / name, int(most), numbers)
        for name in kinds.split(",")
    }
    print(json.dumps(killed))

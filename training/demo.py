"""Run the whole job, on real galaxies and on a simulated sky, with the verbs that a user types."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from galaxy_da.cli import main
from galaxy_da.errors import GalaxyDAError
from galaxy_da.images.drawing import SampleCutouts
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.latent_index import LatentIndex
from galaxy_da.plots import Plot, across_surveys
from galaxy_da.space import LatentSpace

_ANCHOR = "decals"
_TARGETS = ("sdss", "hsc")
_SPACE = "decals"
_DRAWN, _NEIGHBOURS = 8, ("nearest", "second", "third")
_REAL, _EXAMPLE = "sdss-stamps", "sdss:sdss_0164.58100_+17.23740"


def demo(out: Path, *, n: int, seed: int, as_json: bool = False) -> dict[str, Any]:
    """Query real galaxies; then simulate, crossmatch, adapt, extract, index, query and evaluate.

    The simulated sky has `n` galaxies. Returns the figures of each survey, by definition, adapted
    and ceiling, and the paths of the results. With `as_json`, results of single steps stay off
    stdout. Raises GalaxyDAError if a step fails.
    """
    steps = _Steps(quiet=as_json)
    samples = {name: out / name / "sample.parquet" for name in (_ANCHOR, *_TARGETS)}
    pairs = {name: out / f"pairs-{name}.parquet" for name in _TARGETS}
    anchor = samples[_ANCHOR]

    steps.title("Real galaxies: neighbours and outliers of the SDSS stamps in the package")
    real = _query_real_galaxies(steps, out / "real")

    steps.title(f"Simulate {n} galaxies as {', '.join(samples)} observe them")
    steps.run("simulate", "--surveys", ",".join(samples), "--n", n, "--seed", seed, "--out", out)

    steps.title("Pair the catalogues by position")
    repeat, repeat_pairs = out / f"{_ANCHOR}-repeat/sample.parquet", out / "pairs-repeat.parquet"
    steps.run("crossmatch", anchor, repeat, "--repeat", "--out", repeat_pairs)
    for name in _TARGETS:
        steps.run("crossmatch", anchor, samples[name], "--out", pairs[name])

    steps.title("Adapt the shipped space, which reads each survey by its definition, to both")
    space = _SPACE
    for name in _TARGETS:
        before, space = space, str(out / f"space-{name}")
        steps.run("adapt", "--space", before, "--anchor", anchor, "--target", samples[name],
                  "--pairs", pairs[name], "--seed", seed, "--out", space)  # fmt: skip

    steps.title("Extract the features of every galaxy and index them")
    features = [out / "features" / name for name in samples]
    for folder, sample in zip(features, samples.values(), strict=True):
        steps.run("extract", "--space", space, "--sample", sample, "--out", folder)
    index = out / "index"
    steps.run("index", *features, "--out", index)

    steps.title("Query: similar galaxies, distances of the same galaxies, outliers")
    first = read_pairs(pairs[_TARGETS[0]])["anchor_id"][0].as_py()
    steps.run("similar", index, "--id", f"{_ANCHOR}:{first}", "-k", 5)
    for name in _TARGETS:
        steps.run("distances", index, "--pairs", pairs[name], "--anchor", _ANCHOR,
                  "--target", name)  # fmt: skip
    steps.run("outliers", index, "--survey", _TARGETS[0], "-k", 5)

    steps.title("Evaluate on the part of the sky that adapting did not use")
    targets = [word for name in _TARGETS
               for word in ("--target", samples[name], "--pairs", pairs[name])]  # fmt: skip
    shutil.rmtree(out / "report", ignore_errors=True)  # of a demo before this one
    steps.run("evaluate", "--space", space, "--anchor", anchor, *targets, "--repeat", repeat,
              "--repeat-pairs", repeat_pairs, "--seed", seed, "--out", out / "report")  # fmt: skip

    picture, report = out / "neighbours.png", out / "report/report.html"
    _save(_drawing(space, index, samples, pairs[_TARGETS[-1]]), picture)
    steps.title("Done")
    steps.say(f"pictures  {real['real_neighbours']}, {real['real_outliers']}: real galaxies")
    steps.say(f"picture   {picture}: {_TARGETS[-1]} galaxies above their nearest {_ANCHOR} images")
    steps.say(f"report    {report}")
    steps.say(f"try next  {_serve(out, space, index, samples)}")
    metrics = json.loads((out / "report/metrics.json").read_text(encoding="utf-8"))
    paths = {"report": report, "picture": picture, "space": space, "index": index, **real}
    return {**{name: str(path) for name, path in paths.items()}, **metrics}


class _Steps:
    """Print a title and each command, then run it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._number = 0

    def say(self, text: str) -> None:
        print(text, file=sys.stderr if self._quiet else sys.stdout, flush=True)

    def title(self, text: str) -> None:
        self._number += 1
        self.say(f"\n{self._number}. {text}\n")

    def run(self, *words: object) -> None:
        arguments = [str(word) for word in words]
        self.say(f"$ galaxy-da {shlex.join(arguments)}")
        with redirect_stdout(io.StringIO()) if self._quiet else nullcontext():
            status = main(arguments)
        if status:
            raise GalaxyDAError(f"the demo stopped: galaxy-da {arguments[0]} ended with {status}")
        self.say("")


def _query_real_galaxies(steps: _Steps, out: Path) -> dict[str, Path]:
    """Index the sample of the package, and draw neighbours and outliers; return the pictures."""
    features, index = out / "features", out / "index"
    steps.run("extract", "--space", _SPACE, "--sample", _REAL, "--out", features)
    steps.run("index", features, "--out", index)
    steps.run("similar", index, "--id", _EXAMPLE, "-k", 5)
    steps.run("outliers", index, "--survey", "sdss", "-k", 5)
    opened = LatentIndex.open(index).with_images(Sample(_REAL))
    pictures = {f"real_{name}": out / f"{name}.png" for name in ("neighbours", "outliers")}
    _save(opened.similar(_EXAMPLE, 12).plot(), pictures["real_neighbours"])
    _save(opened.outliers("sdss", 12).plot(), pictures["real_outliers"])
    for picture in pictures.values():
        steps.say(f"picture   {picture}")
    return pictures


def _drawing(space: str, index: Path, samples: dict[str, Path], pairs: Path) -> Plot:
    """Draw some of the paired galaxies above their nearest anchor images; the own one is marked."""
    rows = read_pairs(pairs).to_pylist()
    chosen = rows[:: max(1, len(rows) // _DRAWN)][:_DRAWN]
    loaded, opened, target = LatentSpace.load(space), LatentIndex.open(index), _TARGETS[-1]
    cutouts = SampleCutouts([Sample(path) for path in samples.values()], loaded.survey)
    nearest = [
        opened.similar(f"{target}:{row['target_id']}", len(_NEIGHBOURS), _ANCHOR)["object_id"]
        for row in chosen
    ]
    found = {name: [str(ids[rank]) for ids in nearest] for rank, name in enumerate(_NEIGHBOURS)}
    keys = {target: [(target, row["target_id"]) for row in chosen]}
    keys |= {name: [(_ANCHOR, object_id) for object_id in ids] for name, ids in found.items()}
    own = {
        name: {i for i, row in enumerate(chosen) if ids[i] == row["anchor_id"]}
        for name, ids in found.items()
    }
    return across_surveys(
        {name: cutouts.pictures(row, loaded.frame) for name, row in keys.items()}, marked=own
    )


def _save(plot: Plot, path: Path) -> None:
    with atomic_path(path) as temporary:
        plot.savefig(temporary, format="png", dpi=150)


def _serve(out: Path, space: str, index: Path, samples: dict[str, Path]) -> str:
    words: list[object] = ["galaxy-da", "serve", "--index", index, "--space", space]
    words += ["--jobs", out / "jobs"]
    for sample in samples.values():
        words += ["--sample", sample]
    return shlex.join([str(word) for word in [*words, "--open"]])

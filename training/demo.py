"""The whole story on a simulated sky, told with the same verbs a user types."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from galaxy_da.cli import main
from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.tables import read_pairs

__all__ = ["demo"]

_ANCHOR = "decals"
_TARGETS = ("sdss", "hsc")
_SPACE = "decals"


def demo(out: Path, *, n: int, seed: int, as_json: bool = False) -> dict[str, Any]:
    """Simulate, crossmatch, adapt, extract, index, ask, evaluate.

    Parameters
    ----------
    out : Path
        Folder for everything it makes.
    n : int
        Galaxies on the sky.
    seed : int
        Of the sky, and of every step after.
    as_json : bool
        Keep the verbs' own results off stdout.

    Returns
    -------
    dict
        Per survey the un-adapted, adapted and ceiling figures, and the candidate chosen.

    Raises
    ------
    GalaxyDAError
        If a step fails; its own message has been printed.
    """
    story = _Story(quiet=as_json)
    samples = {name: out / name / "sample.parquet" for name in (_ANCHOR, *_TARGETS)}
    pairs = {name: out / f"pairs-{name}.parquet" for name in _TARGETS}
    anchor = samples[_ANCHOR]

    story.say(f"One sky of {n} galaxies in {len(samples)} surveys; {_ANCHOR} looks twice.")
    story.run("simulate", "--surveys", ",".join(samples), "--n", n, "--seed", seed, "--out", out)

    story.say("Pair the catalogues by position.")
    repeat, repeat_pairs = out / f"{_ANCHOR}-repeat/sample.parquet", out / "pairs-repeat.parquet"
    story.run("crossmatch", anchor, repeat, "--repeat", "--out", repeat_pairs)
    for name in _TARGETS:
        story.run("crossmatch", anchor, samples[name], "--out", pairs[name])

    story.say("Map the new surveys into the shipped space, one after the other.")
    space = _SPACE
    for name in _TARGETS:
        before, space = space, str(out / f"space-{name}")
        story.run("adapt", "--space", before, "--anchor", anchor, "--target", samples[name],
                  "--pairs", pairs[name], "--seed", seed, "--out", space)  # fmt: skip

    story.say("Extract every galaxy's features and index them together.")
    features = [out / "features" / name for name in samples]
    for folder, sample in zip(features, samples.values(), strict=True):
        story.run("extract", "--space", space, "--sample", sample, "--out", folder)
    index = out / "index"
    story.run("index", *features, "--out", index)

    story.say("Ask: what is similar, how far apart are the same galaxies, what is odd?")
    some = read_pairs(pairs[_TARGETS[0]])["anchor_id"][0].as_py()
    story.run("similar", index, "--id", f"{_ANCHOR}:{some}", "-k", 5)
    for name in _TARGETS:
        story.run("distances", index, "--pairs", pairs[name], "--anchor", _ANCHOR,
                  "--target", name)  # fmt: skip
    story.run("outliers", index, "--survey", _TARGETS[0], "-k", 5)

    story.say("Measure on the part of the sky that adapting has not seen.")
    targets = [part for name in _TARGETS
               for part in ("--target", samples[name], "--pairs", pairs[name])]  # fmt: skip
    story.run("evaluate", "--space", space, "--anchor", anchor, *targets, "--repeat", repeat,
              "--repeat-pairs", repeat_pairs, "--seed", seed, "--out", out)  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))

    report = out / "report.html"
    story.say(f"Look at {report}. Next, with data of your own:")
    for command in _next_steps(space, index):
        story.say(f"  {command}")
    story.say("Or browse what was made, in a page of your own:")
    story.say(f"  {_serve(out, space, index, samples.values())}")
    return {"report": str(report), "space": space, "index": str(index), **metrics}


class _Story:
    """Print each command before running it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        print(text, file=sys.stderr if self._quiet else sys.stdout, flush=True)

    def run(self, *words: object) -> None:
        arguments = [str(word) for word in words]
        self.say(f"\n$ galaxy-da {shlex.join(arguments)}")
        with redirect_stdout(io.StringIO()) if self._quiet else nullcontext():
            status = main(arguments)
        if status:
            raise GalaxyDAError(f"the demo stopped: galaxy-da {arguments[0]} ended with {status}")


def _serve(out: Path, space: str, index: Path, samples: Iterable[Path]) -> str:
    words = ["galaxy-da", "serve", "--index", index, "--space", space, "--jobs", out / "jobs"]
    for sample in samples:
        words += ["--sample", sample]
    return shlex.join([str(word) for word in [*words, "--open"]])


def _next_steps(space: str, index: Path) -> list[str]:
    return [
        "galaxy-da crossmatch my-anchor.fits my-survey.fits --out pairs.parquet",
        "galaxy-da adapt --space decals --anchor anchor/sample.parquet "
        "--target mine/sample.parquet --pairs pairs.parquet --out my-space",
        f"galaxy-da extract --space {space} --sample more/sample.parquet --out features/more",
        f"galaxy-da similar {index} --image stamp.fits --survey sdss --space {space}",
    ]

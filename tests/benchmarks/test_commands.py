"""Every command is listed in the README, prints its usage, and runs at its smallest size."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import page as speed_page
from benchmarks.speed_rows import SECTIONS, SpeedRow

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path.relative_to(ROOT).with_suffix("")
    for path in (ROOT / "benchmarks").rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    and path.parent.name != "support"
]
COMMANDS = sorted(".".join(path.parts).removesuffix(".__main__") for path in SCRIPTS)


def run(line):
    return subprocess.run(
        [sys.executable, "-m", *line.split()], cwd=ROOT, capture_output=True, text=True
    )


def test_readme_lists_every_command():
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    listed = {
        f"benchmarks.{name}" for name in re.findall(r"^\| `([a-z0-9_.]+)", readme, re.MULTILINE)
    }
    assert listed & set(COMMANDS) == set(COMMANDS) - {"benchmarks"}


def test_ratio_above_one_means_faster_or_smaller():
    time = SpeedRow(task="a", peer="b", ours=2.0, theirs=3.0, unit="s", aim=1.4, larger="index")
    rate = SpeedRow(
        task="a", peer="b", ours=2.0, theirs=3.0, unit="rows/s", aim=1.0, larger="index"
    )
    help = SpeedRow(task="a", peer="b", ours=2.0, theirs=1.0, unit="s", limit=2.5, larger="index")
    assert (time.ratio, rate.ratio, help.ratio) == (1.5, pytest.approx(2 / 3), 0.5)
    assert (time.reached, rate.reached, help.reached) == (True, False, True)
    assert "2 of 3 aims reached" in speed_page([time, rate, help], {"cores": 2})


def test_docs_quote_commands_that_exist():
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "_generated" not in path.parts]
    for page in [ROOT / "README.md", *pages]:
        quoted = re.findall(
            r"python -m\s+(benchmarks[a-z0-9_.]*)", page.read_text(encoding="utf-8")
        )
        assert {name.rstrip(".") for name in quoted} <= set(COMMANDS), page


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_command_prints_its_usage(command):
    done = run(f"{command} --help")
    assert done.returncode == 0, done.stderr
    assert f"python -m {command}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_page_of_speed_at_its_smallest_size(section, tmp_path):
    done = run(f"benchmarks --small --only {section} --out {tmp_path}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bench.md").read_text(encoding="utf-8") == done.stdout.removesuffix("\n")
    rows = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert rows
    for row in rows:
        less = row["unit"] in ("s", "bytes")
        upper, lower = ("theirs", "ours") if less else ("ours", "theirs")
        assert row["ratio"] == pytest.approx(row[upper] / row[lower])
        assert 0 < row["ratio"] < 1000
        assert f"benchmarks.{row['larger'].split()[0]}" in COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "adaptation --seeds 1 --targets sdss --n 160 --pool 100 --methods xu2023,adapt"
            " --steps 1 --out {out}",
            "benchmark.md",
        ),
        (
            "adaptation --seeds 1 --targets sdss --wrong psf+30 --n 160 --pool 100 --steps 1"
            " --out {out}",
            "benchmark.md",
        ),
        ("pixel_likelihood --surveys sdss --pool 64 --queries 32", "limit"),
        ("outliers --n 200 --skies 1", "Share of an unseen class found"),
        ("probes --n 96 --peers 2", "half_light_arcsec"),
    ],
)
def test_quality_command_runs_at_its_smallest_size(line, expected, tmp_path):
    done = run(f"benchmarks.{line.format(out=tmp_path / 'out')}")
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout

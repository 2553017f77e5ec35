"""The wheel holds the four packages, and neither benchmarks nor tests."""

import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = ("catalogs", "evaluation", "galaxy_da", "training")


@pytest.fixture(scope="module")
def packages():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return find_packages(str(ROOT), **settings["tool"]["setuptools"]["packages"]["find"])


def test_wheel_holds_no_benchmark(packages):
    assert {name.split(".")[0] for name in packages} == set(INSTALLED)


def test_wheel_holds_every_module_of_the_packages(packages):
    folders = {path.parent for name in INSTALLED for path in (ROOT / name).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(packages)

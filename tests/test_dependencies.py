"""Declared dependencies are those that the code imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from galaxy_da.cli import EXTRAS, main

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = ("galaxy_da", "catalogs", "evaluation", "training")
LOADED_BY_OTHERS = {
    "axe-playwright-python", "build", "datasets", "flask", "flask-cors", "httptools",
    "ipykernel", "moto", "mypy", "myst-nb", "pandas-stubs", "playwright", "py-rattler-build",
    "pydata-sphinx-theme", "pytest-timeout", "pytest-xdist", "python-multipart", "regions",
    "ruff", "s3fs", "scikit-image", "scipy-stubs", "setuptools-scm", "sphinx-copybutton",
    "sphinx-design", "torchmetrics", "twine", "types-tqdm", "uvloop",
}  # fmt: skip
"""Tools, plugins and stubs, and packages that tests import by `importorskip`."""

LAZY = ("galaxy_da.service", "galaxy_da.plots", "catalogs.archives", "evaluation.reports")
"""Modules that need an extra, and that earlier tests may have imported."""

FOR_AUTHORS = {"dev", "docs", "release"}
"""Extras that no user needs."""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: {canonical(re.split(r"[\[<>=;]", item)[0]) for item in items} - {"galaxy-da"}
        for group, items in groups.items()
    }


def imported(*folders):
    """Return the distributions that the files of some folders import."""
    known, found = packages_distributions(), set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
            found |= {canonical(known[top][0]) for top in tops if top in known}
    return found - {"galaxy-da"}


def test_every_import_of_an_installed_package_is_declared():
    groups = declared()
    of_users = set().union(*(names for group, names in groups.items() if group not in FOR_AUTHORS))
    assert imported(*INSTALLED) - of_users == set()


def test_every_dependency_is_imported():
    groups = declared()
    of_users = set().union(*(names for group, names in groups.items() if group not in FOR_AUTHORS))
    assert of_users - imported(*INSTALLED) - LOADED_BY_OTHERS == set()
    of_authors = set().union(*(groups[group] for group in FOR_AUTHORS))
    used = imported(*INSTALLED, "tests", "benchmarks", "docs")
    assert of_authors - used - LOADED_BY_OTHERS == set()


def test_messages_know_what_each_extra_brings():
    groups, known = declared(), packages_distributions()
    for extra, modules in EXTRAS.items():
        assert {canonical(known[module][0]) for module in modules} <= groups[extra]
    assert set(EXTRAS) == set(groups) - {"core", "all"} - FOR_AUTHORS


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["serve", "--index", "i", "--space", "decals"], "fastapi", "service"),
        (["serve", "--index", "i", "--space", "decals"], "uvicorn", "service"),
        (["serve", "--index", "i", "--space", "decals"], "httpx", "service"),
        (
            [
                "evaluate",
                "--space",
                "decals",
                "--anchor",
                "a",
                "--target",
                "t",
                "--pairs",
                "p",
                "--out",
                "o",
            ],
            "matplotlib",
            "plots",
        ),
        (["fetch", "sdss", "--catalog", "c.csv", "--out", "o"], "httpx", "archives"),
    ],
)
def test_a_missing_extra_is_named(words, module, extra, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.startswith(LAZY)]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(words) == 2
    assert f"pip install 'galaxy_da[{extra}]'" in capsys.readouterr().err

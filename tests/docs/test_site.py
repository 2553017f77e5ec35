"""The documentation site builds without a warning, its links resolve, and its examples run."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.parts[-2].startswith("_"))
PAGES = [path for path in PAGES if "_generated" not in path.parts]
OPTIONS = doctest.ELLIPSIS
OTHERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"]
    done = subprocess.run(
        [sys.executable, *words, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "html").as_posix() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "start/concepts.html", "_generated/verbs/similar.html"} <= pages
    assert {"_generated/surveys.html", "_generated/api/galaxy_da.LatentSpace.html"} <= pages
    assert all(path.stem in str(pages) for path in (DOCS / "tutorials").glob("*.ipynb"))
    # nothing of a page comes from another host
    for path in (tmp_path / "html").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)\b[^>]*(?:src|href)="(https?:[^"]+)"', path.read_text()
        )
        assert loaded == [], path


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target = link.partition("#")[0]
        if target and not link.startswith("http") and "_generated/" not in link:
            assert (page.parent / target).exists(), link


def test_the_promises_name_tests():
    text = (
        (DOCS / "reference/safety.md").read_text(encoding="utf-8").partition("## Under attack")[0]
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.endswith("| test |")]
    assert len(promises) > 25
    for line in promises:
        path = None
        for file, name in re.findall(r"`([\w/.]*)::(\w+)`", line.rpartition(" | ")[2]):
            path = ROOT / "tests/galaxy_da" / file if file else path
            assert f"def {name}(" in path.read_text(encoding="utf-8"), name
        assert path is not None, line


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            for line in tree.splitlines():
                name = line.rpartition("<")[2].rstrip(">").strip()
                if name and not name.startswith(":"):
                    listed.add((page.parent / name).resolve())
    pages = {page.with_suffix("").resolve() for page in PAGES} - {DOCS / "index"}
    assert pages <= listed


def api_modules():
    """Return the modules of the API page."""
    text = (DOCS / "reference/python.md").read_text(encoding="utf-8")
    names = re.findall(r"^   ([a-z_]+(?:\.\w+)+)$", text, re.MULTILINE)
    assert len(names) > 20
    modules = set()
    for name in names:
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
        modules.add(found.__module__)
    return sorted(modules)


def test_examples_of_the_api_run():
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=OPTIONS)
    examples = 0
    for name in api_modules():
        for test in finder.find(importlib.import_module(name)):
            examples += len(test.examples)
            runner.run(test)
    assert runner.failures == 0
    assert examples >= 20


@pytest.mark.parametrize(
    "page", [p for p in PAGES if ">>> " in p.read_text()], ids=lambda path: path.name
)
def test_examples_of_the_pages_run(page):
    text = page.read_text(encoding="utf-8")
    failures, examples = 0, 0
    for number, block in enumerate(re.findall(r"```python\n(>>> .*?)```", text, re.DOTALL)):
        test = doctest.DocTestParser().get_doctest(block, {}, f"{page.name}-{number}", page.name, 0)
        result = doctest.DocTestRunner().run(test)
        failures, examples = failures + result.failed, examples + result.attempted
    assert failures == 0 and examples

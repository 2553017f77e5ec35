"""Write the page that lists the notebooks of ``docs/tutorials`` by title and first paragraph."""

from __future__ import annotations

import json
from pathlib import Path

from sphinx.application import Sphinx

from generators import ROOT, write_page

__all__ = ["setup"]

NOTEBOOKS = ROOT / "docs" / "tutorials"


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the page before the build."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    entries = [_entry(path) for path in paths]
    names = [f"../tutorials/{path.stem}" for path in paths]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])
    write_page("tutorials.md", "\n\n".join([_INTRODUCTION, *entries, *([tree] if names else [])]))


_INTRODUCTION = """\
# Tutorials

Notebooks with the outputs of their last run. They are in the folder `docs/tutorials` of the
repository: open one in Jupyter (`pip install 'galaxy-da[plots]' jupyter`) and change what you like.
The images come with the package."""


def _entry(path: Path) -> str:
    """Return the title of a notebook with a link, and its first paragraph."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    texts = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    paragraphs = [text.strip() for text in "\n\n".join(texts).split("\n\n") if text.strip()]
    title = next((p for p in paragraphs if p.startswith("# ")), f"# {path.stem}")
    first = next((p for p in paragraphs if not p.startswith("#")), "")
    heading = title.splitlines()[0].removeprefix("# ")
    return f"## [{heading}](../tutorials/{path.name})\n\n{first}"

"""Show files of the repository as pages of the site, and lead links to them there.

Links in ``docs/`` are relative paths, so that they also work in a checkout. Some lead out of
``docs/``, to the changelog for example. The site has a copy of those files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

from generators import GENERATED, ROOT, write_page

__all__ = ["setup"]

PAGES = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "galaxy_da/spaces/decals/README.md": "model-card.md",
}
"""Files of the repository and the names of their copies."""

_LINK = re.compile(r"(?<=\]\()(?P<file>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the copies and the links."""
    app.connect("builder-inited", _copy)
    app.connect("source-read", _relink_page)
    return {"parallel_read_safe": True}


def relink(text: str, source: Path, page: Path) -> str:
    """Return Markdown whose links to files are relative to the page that shows it.

    Parameters
    ----------
    text : str
        Markdown of `source`.
    source : Path
        File to which the links in the text are relative.
    page : Path
        File of the site that will hold the text.
    """

    def target(match: re.Match[str]) -> str:
        linked = (source.parent / match["file"]).resolve()
        if not linked.is_relative_to(ROOT):
            return match[0]
        if linked.is_dir():
            linked /= "index.md"
        copy = PAGES.get(linked.relative_to(ROOT).as_posix())
        linked = GENERATED / copy if copy else linked
        return Path(os.path.relpath(linked, page.parent)).as_posix() + (match["anchor"] or "")

    return _LINK.sub(target, text)


def _copy(app: Sphinx) -> None:
    for file, name in PAGES.items():
        source = ROOT / file
        write_page(name, relink(source.read_text(encoding="utf-8"), source, GENERATED / name))


def _relink_page(app: Sphinx, name: str, content: list[str]) -> None:
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md" and not path.is_relative_to(GENERATED):
        content[0] = relink(content[0], path, path)

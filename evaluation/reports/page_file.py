"""Render a template and write the page atomically."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import PathOrUrl

__all__ = ["write_page"]


def write_page(path: PathOrUrl, package: str, template: str, page: Mapping[str, Any]) -> None:
    """Render a template of a package and write it; a name that the page lacks is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(template).render(page)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")

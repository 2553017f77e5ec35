"""Render a template and write the page atomically."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import PathOrUrl

__all__ = ["write_page"]


def write_page(path: PathOrUrl, package: str, template: str, page: Mapping[str, Any]) -> None:
    """Render a template and write it.

    Parameters
    ----------
    path : path
        HTML file to write.
    package : str
        Package with the folder ``templates``.
    template : str
        Name of a file in that folder.
    page : mapping
        Variables of the template; a missing name is an error.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
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

"""Sphinx extensions that write the generated pages of the site into ``docs/_generated``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["GENERATED", "ROOT", "write_page"]

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "_generated"


def write_page(name: str, text: str) -> None:
    """Write a generated page, unless it holds the same text already (Sphinx then skips it)."""
    path = GENERATED / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

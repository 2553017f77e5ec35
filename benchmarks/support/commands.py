"""Parse the command line of a benchmark."""

from __future__ import annotations

import argparse


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for ``python -m benchmarks.NAME`` that prints a module docstring as help."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}".rstrip("."),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

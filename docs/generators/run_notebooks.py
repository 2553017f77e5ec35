"""Run the notebooks of ``docs/tutorials`` and keep their outputs.

``python docs/generators/run_notebooks.py`` runs them in place; names choose some of them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "tutorials"
_SECONDS_A_CELL = 900
_NOISE = ("execution", "widgets")


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom; a cell that fails raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=_SECONDS_A_CELL, kernel_name="python3")
    client.execute(cwd=str(path.parent))
    for cell in notebook.cells:
        for name in _NOISE:
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> None:
    """Run the notebooks named on the command line, by default all."""
    wanted = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in wanted:
        path, start = NOTEBOOKS / f"{name}.ipynb", time.monotonic()
        nbformat.write(run_notebook(path), path)
        size = path.stat().st_size / 1e6
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main()

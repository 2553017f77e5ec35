"""The notebooks hold small outputs of a whole run, and run again."""

import json
from pathlib import Path

import pytest
from generators.run_notebooks import NOTEBOOKS, run_notebook

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LARGEST = 2_000_000  # bytes


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_five():
    assert [path.stem[:2] for path in PATHS] == ["1-", "2-", "3-", "4-", "5-"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_outputs_are_those_of_one_whole_run_and_small(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "error" not in kinds
    assert any("image/" in str(cell["outputs"]) for cell in code)
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_output_names_a_folder_of_the_machine_that_ran_it(path):
    text = path.read_text(encoding="utf-8")
    assert not any(f"{folder}/" in text for folder in ("/work", "/home", str(Path.home())))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook_runs(path):
    run = run_notebook(path)
    assert all(cell.get("execution_count") for cell in run.cells if cell.cell_type == "code")

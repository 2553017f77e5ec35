"""The packages import in one direction, and importing the core is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("galaxy_da", "catalogs", "evaluation", "training", "benchmarks")


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_only_to_their_left(package):
    forbidden = set(ORDER[ORDER.index(package) + 1 :])
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in forbidden, f"{path} imports {name}"


def test_importing_the_core_loads_no_heavy_library():
    code = "import galaxy_da, sys; print([m for m in ('torch', 'faiss', 'astropy', 'pyarrow') " + (
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_of_the_core_resolves():
    import galaxy_da

    assert all(getattr(galaxy_da, name) is not None for name in galaxy_da.__all__)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = galaxy_da.nothing

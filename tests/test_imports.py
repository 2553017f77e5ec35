"""Imports point one way, between packages and between rooms, and importing the core is light."""

import ast
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("galaxy_da", "catalogs", "evaluation", "training", "benchmarks")
ROOMS = {
    "galaxy_da": (
        "errors", "io", "cli", "surveys", "images", "plots", "models", "space",
        "extraction", "index", "queries", "latent_index", "cluster", "client", "service",
        "commands",
    ),
    "catalogs": (
        "reading", "splits", "selections", "datasets", "matching", "hats", "archives",
        "simulation", "commands",
    ),
    "evaluation": (
        "calibration", "retrieval", "distractors", "domains", "match_probability", "strata",
        "transfer", "targets", "truth", "embeddings", "evaluate", "probes", "reports", "commands",
    ),
    "training": (
        "checkpoints", "recipe_files", "parallel", "losses", "anchor", "readings", "pretraining",
        "adaptation", "demo", "commands",
    ),
}  # fmt: skip
"""Rooms of each package: a room imports only rooms before it."""


def imports(path):
    """Yield the dotted names that a file imports, with and without the last part."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_to_their_left(package):
    forbidden = set(PACKAGES[PACKAGES.index(package) + 1 :])
    for path in (ROOT / package).rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in forbidden, f"{path} imports {name}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_only_rooms_before_them(package):
    folder = ROOT / package
    rooms = {path.stem for path in folder.iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert rooms - {"__init__", "__main__"} == set(ROOMS[package])
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        allowed = {own, *ROOMS[package][: ROOMS[package].index(own)]}
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == package and parts[1] in ROOMS[package]:
                assert parts[1] in allowed, f"{path} imports {name}"


def test_no_files_import_each_other_in_a_circle():
    modules = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts).removesuffix(".__init__")] = path
    graph = networkx.DiGraph()
    for module, path in modules.items():
        for name in imports(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module:
                graph.add_edge(module, target)
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    graph.remove_nodes_from(packages)  # a package re-exports what its modules define
    assert list(networkx.simple_cycles(graph)) == []


def test_no_private_name_is_imported():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for name in imports(path):
                private = name.startswith(PACKAGES) and name.split(".")[-1].startswith("_")
                assert not private or name.endswith("__version__"), f"{path} imports {name}"


def test_importing_the_core_is_light():
    code = (
        "import sys, time; start = time.process_time(); import galaxy_da;"
        "print(time.process_time() - start);"
        "print([m for m in ('torch', 'faiss', 'astropy', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert float(seconds) < 0.1
    assert heavy == "[]"


def test_every_public_name_of_the_core_resolves():
    import galaxy_da

    assert all(getattr(galaxy_da, name) is not None for name in galaxy_da.__all__)
    assert set(galaxy_da.__all__) <= set(dir(galaxy_da))  # for completion
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = galaxy_da.nothing


def test_the_version_is_that_of_the_installation(capsys):
    from importlib.metadata import version

    import galaxy_da
    from galaxy_da.cli import main

    assert galaxy_da.__version__ == version("galaxy_da")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"galaxy-da {galaxy_da.__version__}\n"

"""Wheel, source and recipe: the version is that of the tag, and what users need is inside."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import rattler_build

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch", "universal-pathlib": "universal_pathlib"}
VERSION = "9.8.7"


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def recipe():
    """The recipe as the builder of conda-forge renders it."""
    stage = rattler_build.Stage0Recipe.from_file(str(ROOT / "packaging/recipe.yaml"))
    (variant,) = stage.render(rattler_build.VariantConfig(), rattler_build.RenderConfig())
    return variant.recipe().to_dict() if callable(variant.recipe) else variant.recipe.to_dict()


def test_the_recipe_requires_what_the_package_requires(project, recipe):
    wanted = [CONDA_NAMES.get(name, name) for name in project["project"]["dependencies"]]
    assert sorted(recipe["requirements"]["run"]) == sorted(["python >=3.11", *wanted])
    built = project["build-system"]["requires"]
    host = {text.replace(" ", "") for text in recipe["requirements"]["host"]}
    assert set(built) <= host


def test_the_recipe_installs_the_command(project, recipe):
    target = project["project"]["scripts"]["galaxy-da"]
    assert f"galaxy-da = {target}" in (ROOT / "packaging/recipe.yaml").read_text()
    assert recipe["package"]["name"] == "galaxy-da"


def run(*words, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=os.environ | environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_tagged_checkout_builds_packages_that_work(tmp_path):
    clone = tmp_path / "clone"
    for words in (
        ["clone", "--quiet", ROOT, clone],
        ["-C", clone, "-c", "user.name=a", "-c", "user.email=a@b.c", "tag", "-a", "-m", "release",
         f"v{VERSION}"],
    ):  # fmt: skip
        subprocess.run(["git", *map(str, words)], check=True, capture_output=True)
    dist = tmp_path / "dist"
    run("-m", "build", "--no-isolation", "--outdir", dist, clone, cwd=tmp_path)
    wheel, source = (
        dist / f"galaxy_da-{VERSION}-py3-none-any.whl",
        dist / f"galaxy_da-{VERSION}.tar.gz",
    )
    run("-m", "twine", "check", "--strict", wheel, source, cwd=tmp_path)

    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "galaxy_da/spaces/decals/space.json", "galaxy_da/survey_definitions/hsc.toml",
        "galaxy_da/samples/sdss-stamps.parquet", "galaxy_da/page/index.html",
        "training/recipes/anchor.toml", "evaluation/reports/templates/report.html.j2",
    ):  # fmt: skip
        assert needed in names
    assert any(name.endswith(".safetensors") for name in names)
    assert {name.partition("/")[0] for name in names} == {
        "catalogs", "evaluation", "galaxy_da", "training", f"galaxy_da-{VERSION}.dist-info",
    }  # fmt: skip
    assert wheel.stat().st_size < 20e6
    with tarfile.open(source) as archive:
        inside = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    assert {"README.md", "LICENSE", "tests", "docs", "pyproject.toml"} <= inside

    target = tmp_path / "installed"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, cwd=tmp_path)
    words = ["-c", "import sys; from galaxy_da.cli import main; sys.exit(main(sys.argv[1:]))"]
    here = {"PYTHONPATH": str(target)}
    assert run(*words, "--version", cwd=tmp_path, **here) == f"galaxy-da {VERSION}\n"
    assert "sdss" in run(*words, "surveys", cwd=tmp_path, **here)
    found = run("-c", "import galaxy_da; print(galaxy_da.__file__)", cwd=tmp_path, **here)
    assert found.startswith(str(target))

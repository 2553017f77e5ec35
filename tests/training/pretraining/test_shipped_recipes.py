"""Every shipped recipe on the layout of its data set, made small, and on the simulated sky."""

from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs.datasets import write_sample
from catalogs.simulation.observing import pixel_noise
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import find_survey
from training.pretraining.latent_scan import scan_latents
from training.pretraining.recipe import Recipe, load_recipe
from training.pretraining.run import pretrain

N = 60
RECIPES = Path(str(files("training") / "recipes"))
NAMES = sorted({path.stem for path in RECIPES.glob("*.toml")} - {"anchor"})
SPACE_TELESCOPE = [name for name in NAMES if name.startswith("hst-")]


def tiny(name, galaxies=64):
    """The recipe with few, narrow layers and one epoch; frame, kind and objective as shipped."""
    record = load_recipe(name).model_dump(mode="json")
    stages = len(record["architecture"]["widths"])
    record["architecture"] |= {"widths": [8] * stages, "features": 16, "symmetric": False}
    record["optimiser"] |= {"epochs": 1, "batch": 8, "warmup_steps": 0}
    record["sky"] |= {"galaxies": galaxies}
    record["scan"] = record["scan"][:2]
    return Recipe.model_validate(record)


def positions(rng):
    return {"ra": rng.uniform(100, 250, N), "dec": rng.uniform(-10, 30, N)}


def galaxy10(folder, side, with_positions):
    rng = np.random.default_rng(0)
    path = folder / "Galaxy10.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rng.integers(0, 255, (N, side, side, 3), np.uint8)
        file["ans"] = rng.integers(0, 10, N).astype(np.uint8)
        if with_positions:
            for key, value in positions(rng).items():
                file[key] = value
            file["redshift"], file["pxscale"] = rng.uniform(0, 0.2, N), np.full(N, 0.262)
    return path


def cosmos(folder, side):
    rng = np.random.default_rng(0)
    path = folder / "cosmos.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (N, side, side)).astype(np.float32)
        for key, value in positions(rng).items():
            file[key] = value
        file["redshift"], file["pxscale"] = rng.uniform(0.1, 1.5, N), np.full(N, 0.05)
    return path


def multimodal_universe(folder, side):
    rng = np.random.default_rng(0)
    image = [
        {
            "band": ["des-g", "des-r", "des-z"],
            "flux": rng.normal(0, 0.01, (3, side, side)).astype(np.float32).tolist(),
            "scale": [0.262] * 3,
        }
        for _ in range(N)
    ]
    table = pa.table({"object_id": [str(i) for i in range(N)], **positions(rng), "image": image})
    (folder / "shards").mkdir()
    pq.write_table(table, folder / "shards" / "train-00000.parquet")
    return folder / "shards"


def real_layout(name, folder):
    """The sample table of a recipe's data set."""
    out = folder / "sample.parquet"
    recipe = load_recipe(name)
    if name.startswith("hst-"):
        source, options = cosmos(folder, recipe.frame.pixels), {}
    elif recipe.survey == "sdss":
        source = galaxy10(folder, 69, False)
        catalogue = folder / "positions.parquet"
        pq.write_table(pa.table(positions(np.random.default_rng(1))), catalogue)
        options = {"positions": catalogue, "pixel_scale_arcsec": 0.396}
    elif "galaxy10" in name:
        source, options = galaxy10(folder, 256, True), {}
    else:
        source, options = multimodal_universe(folder, 96), {}
    write_sample(source, out, recipe.survey, **options)
    return Sample(out)


def run(recipe, out, **options):
    if not recipe.scan:
        return [pretrain(recipe, out, **options)]
    table = scan_latents(recipe, out, **options)
    assert table["latents"].to_pylist() == list(recipe.scan)
    return [LatentSpace.load(out / f"latents-{n}") for n in recipe.scan]


def check(spaces, recipe):
    for space in spaces:
        assert space.frame == recipe.frame
        assert np.isfinite(space.metrics["reconstruction"]) and space.metrics["kl_nat"] > 0
        assert len(space.metrics["kl_per_latent"]) == space.architecture.latents


def test_the_seeds_and_ours_are_shipped():
    seeds = {"galaxy-vae", "galaxy10-elbo", "galaxy10-mmd", "galaxy10-decals-keras"}
    ours = {"latent-scan", "decals-galaxy10", "decals-legacy"}
    assert seeds | ours | set(SPACE_TELESCOPE) == set(NAMES) and len(SPACE_TELESCOPE) == 4


@pytest.mark.parametrize("name", [*SPACE_TELESCOPE, "galaxy10-elbo", "galaxy10-mmd"])
def test_the_sky_is_as_noisy_as_the_objective_says(name):
    recipe = load_recipe(name)
    survey, frame = find_survey(recipe.survey), recipe.frame
    scale = survey.pixel_scale_arcsec
    assert scale == frame.pixel_scale_arcsec
    bands = [survey.band(band) for band in frame.bands]
    depth, width = (
        np.array([getattr(b, of) for b in bands]) for of in ("depth_mag", "psf_fwhm_arcsec")
    )
    prepared = np.arcsinh(pixel_noise(depth, width, scale) / scale**2 / np.array(frame.softening))
    assert prepared == pytest.approx(recipe.objective.noise, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_its_own_data(name, tmp_path):
    recipe = tiny(name)
    check(run(recipe, tmp_path / "out", sample=real_layout(name, tmp_path)), recipe)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SPACE_TELESCOPE])
def test_it_runs_on_the_simulated_sky(name, tmp_path):
    recipe = tiny(name)
    check(run(recipe, tmp_path / "out"), recipe)


@pytest.mark.slow
def test_a_space_telescope_runs_on_the_simulated_sky(tmp_path):
    recipe = tiny("hst-cvae", galaxies=64)
    check(run(recipe, tmp_path / "out"), recipe)
    assert (tmp_path / "out" / "conditional.safetensors").is_file()

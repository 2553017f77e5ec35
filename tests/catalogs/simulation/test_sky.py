import errno
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from catalogs.simulation import sky as module
from catalogs.simulation.scenes import ScenePool
from catalogs.simulation.sky import CHUNK, SkySettings, sky_chunks
from catalogs.simulation.writing import simulate
from galaxy_da.errors import StorageError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.surveys import get_survey, load_survey

MINE = """
name = "mine"
title = "Mine"
pixel_scale_arcsec = 0.339
flux_unit = "count"
zeropoint_mag = 30.0
[[bands]]
name = "V"
wavelength_nm = 551
psf_fwhm_arcsec = 1.1
depth_mag = 24.0
[[bands]]
name = "I"
wavelength_nm = 806
psf_fwhm_arcsec = 1.0
depth_mag = 23.5
"""
N = 150


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "mine.toml"
    path.write_text(MINE)
    return [get_survey("decals"), load_survey(path)]


@pytest.fixture(scope="module")
def sky(surveys, tmp_path_factory):
    out = tmp_path_factory.mktemp("sky")
    return out, simulate(surveys, N, out, SkySettings(seed=3), progress=False)


def rows_by_id(path):
    return {row["object_id"]: row for row in pq.read_table(path).to_pylist()}


def test_the_files_keep_their_contracts(sky):
    out, result = sky
    assert json.loads(json.dumps(result)) == result
    assert set(result["samples"]) == {"decals", "decals-repeat", "mine"}
    assert result["samples"]["decals"]["rows"] == N
    sides = {"decals": (3, 132), "decals-repeat": (3, 132), "mine": (2, 102)}
    for name, (bands, side) in sides.items():
        sample = Sample(out / name / "sample.parquet")
        assert sample.survey == name.removesuffix("-repeat")
        cutouts = np.load(out / name / "cutouts.npy", mmap_mode="r")
        assert cutouts.shape == (len(sample), bands, side, side)
        assert cutouts.dtype == np.float32
        rows = sorted(int(uri.split("#")[1]) for uri in sample.catalog["cutout"].to_pylist())
        assert rows == list(range(len(sample)))
    assert not list(out.rglob("*partial*"))


def test_ids_and_order_are_independent_of_the_galaxy(sky):
    out, _ = sky
    anchor = pq.read_table(out / "decals/sample.parquet")["object_id"].to_pylist()
    again = pq.read_table(out / "decals-repeat/sample.parquet")["object_id"].to_pylist()
    assert not set(anchor) & set(again)
    partner = dict(
        zip(*read_pairs(out / "pairs-decals-decals-repeat.parquet").columns[:2], strict=True)
    )
    partner = {str(key): str(value) for key, value in partner.items()}
    order = [again.index(partner[name]) for name in anchor]
    numbers = [int(name.rsplit("-", 1)[1]) for name in anchor]
    for sequence in (order, numbers):
        assert abs(np.corrcoef(sequence, np.arange(N))[0, 1]) < 0.3


@pytest.mark.parametrize("other", ["mine", "decals-repeat"])
def test_pairs_are_the_same_galaxy_on_the_sky(sky, other):
    out, _ = sky
    anchor, target = (rows_by_id(out / name / "sample.parquet") for name in ("decals", other))
    pairs = read_pairs(out / f"pairs-decals-{other}.parquet").to_pylist()
    places = [
        SkyCoord([r["ra"] for r in s.values()], [r["dec"] for r in s.values()], unit="deg")
        for s in (anchor, target)
    ]
    nearest, apart, _ = places[0].match_to_catalog_sky(places[1])
    close = apart < 2 * u.arcsec
    ids = np.array(list(target))
    expected = {
        name: (ids[nearest[i]], apart[i].arcsec) for i, name in enumerate(anchor) if close[i]
    }
    assert {p["anchor_id"]: p["target_id"] for p in pairs} == {
        name: found for name, (found, _) in expected.items()
    }
    for pair in pairs:
        assert pair["separation_arcsec"] == pytest.approx(expected[pair["anchor_id"]][1], abs=1e-4)
    separations = [pair["separation_arcsec"] for pair in pairs]
    # Two catalogues with 0.1 arcsec per axis each: a Rayleigh distribution of sigma 0.141.
    assert np.mean(separations) == pytest.approx(0.1414 * np.sqrt(np.pi / 2), rel=0.2)


def test_footprints_differ(sky):
    out, result = sky
    truth = pq.read_table(out / "truth.parquet").to_pylist()
    assert len(truth) == result["galaxies"] == N + round(0.02 * N)
    both = [row for row in truth if row["decals_id"] and row["mine_id"]]
    only_mine = [row for row in truth if not row["decals_id"]]
    assert len(both) == result["pairs"]["decals-mine"]["rows"]
    assert 0.85 * N < len(both) < N
    assert len(only_mine) == round(0.02 * N)
    assert all(row["decals-repeat_id"] for row in truth if row["decals_id"])


def test_truth_agrees_with_the_cutouts(sky, surveys):
    out, _ = sky
    survey = surveys[1]
    sample = pq.read_table(out / "mine/sample.parquet")
    truth = {r["mine_id"]: r for r in pq.read_table(out / "truth.parquet").to_pylist()}
    cutouts = read_cutouts(sample, out / "mine", survey)
    errors = []
    for row, cutout in zip(sample.to_pylist(), cutouts, strict=True):
        assert isinstance(cutout, Cutout)
        assert cutout.bands == ("V", "I")
        galaxy = truth[row["object_id"]]
        x = -(galaxy["ra"] - row["ra"]) * np.cos(np.radians(row["dec"])) * 3600
        y = (galaxy["dec"] - row["dec"]) * 3600
        if galaxy["n_neighbours"] or row["artefact"] or galaxy["r_mag"] > 20:
            continue
        flux = cutout.pixels.sum(0)
        along = (np.arange(len(flux)) - (len(flux) - 1) / 2) * row["pixel_scale_arcsec"]
        near = np.hypot(along[:, None] - y, along - x) < 6
        total = cutout.pixels[:, near].sum(1) * survey.nanomaggy_per_unit
        wanted = 10 ** (0.4 * (22.5 - galaxy["r_mag"]))
        assert total[0] * 0.3 < wanted < total[1] * 2.5
        core = np.hypot(along[:, None], along) < 1.5
        weight = np.where(core, flux, 0) / flux[core].sum()
        errors.append([(weight * along).sum() - x, (weight * along[:, None]).sum() - y])
    assert len(errors) > 5
    assert_allclose(np.median(errors, axis=0), 0, atol=0.05)


def test_artefacts_are_recorded(surveys, tmp_path):
    settings = SkySettings(seed=5, repeat_anchor=False)
    simulate(surveys[:1], 600, tmp_path, settings, progress=False)
    sample = pq.read_table(tmp_path / "decals/sample.parquet").to_pylist()
    cutouts = np.load(tmp_path / "decals/cutouts.npy", mmap_mode="r")
    holes = ~np.isfinite(cutouts).all((1, 2, 3)) | ((cutouts == 0).mean((1, 2, 3)) > 0.01)
    for row in sample:
        blanked = holes[int(row["cutout"].split("#")[1])]
        assert blanked == (row["artefact"] == "chip-edge")
    assert 0.005 < np.mean([row["artefact"] is not None for row in sample]) < 0.05


def test_same_seed_same_sky(surveys, sky, tmp_path):
    out, _ = sky
    simulate(surveys, N, tmp_path, SkySettings(seed=3), progress=False)
    for file in sorted(path.relative_to(out) for path in out.rglob("*.npy")):
        assert (out / file).read_bytes() == (tmp_path / file).read_bytes()
    for file in sorted(path.relative_to(out) for path in out.rglob("*.parquet")):
        assert pq.read_table(out / file).equals(pq.read_table(tmp_path / file))


def test_a_galaxy_does_not_depend_on_the_others(surveys):
    few = next(sky_chunks(surveys[:1], SkySettings(seed=8, repeat_anchor=False), 5))
    many = next(sky_chunks(surveys[:1], SkySettings(seed=8)))
    assert len(few.observations["decals"].flux) == few.truth.num_rows == 5
    assert len(many.observations["decals"].flux) == CHUNK
    assert few.truth.equals(many.truth.slice(0, 5))
    assert np.array_equal(
        few.observations["decals"].flux, many.observations["decals"].flux[:5], equal_nan=True
    )
    first, repeat = (many.observations[name].flux for name in ("decals", "decals-repeat"))
    assert not np.array_equal(first, repeat)
    other = next(sky_chunks(surveys[:1], SkySettings(seed=9)))
    assert not other.truth.equals(many.truth)


def test_chunks_count_up(surveys):
    chunks = list(sky_chunks(surveys[:1], n=2 * CHUNK + 3))
    assert [chunk.first for chunk in chunks] == [0, CHUNK, 2 * CHUNK]
    assert [chunk.truth.num_rows for chunk in chunks] == [CHUNK, CHUNK, 3]


def test_real_scenes_can_be_observed(surveys, data, tmp_path):
    scenes = data / "sdss_spirals.parquet"
    simulate(surveys, 20, tmp_path, SkySettings(scenes=scenes), progress=False)
    truth = pq.read_table(tmp_path / "truth.parquet")
    known = pq.read_table(scenes, columns=["object_id"])["object_id"].to_pylist()
    assert set(truth["scene_id"].to_pylist()) <= set(known)
    settings = SkySettings(scenes=ScenePool.open(scenes, limit=60))
    chunk = next(sky_chunks(surveys[:1], settings, 4))
    assert np.isfinite(chunk.observations["decals"].flux.numpy()).mean() > 0.9


def test_a_full_disk_leaves_the_old_files(surveys, tmp_path, monkeypatch):
    simulate(surveys[:1], 2 * CHUNK, tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    real = module._observe
    calls = []

    def fail(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(module, "_observe", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        simulate(surveys[:1], 2 * CHUNK, tmp_path, progress=False)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert after == before


def test_another_sky_in_the_folder_is_refused(surveys, tmp_path):
    simulate(surveys[:1], 2, tmp_path, progress=False)
    for other, n, settings in (
        (surveys[:1], 3, SkySettings()),
        (surveys[:1], 2, SkySettings(seed=2)),
        (surveys, 2, SkySettings()),
    ):
        with pytest.raises(StorageError, match="holds a sky of other settings"):
            simulate(other, n, tmp_path, settings, progress=False)
    (tmp_path / "truth.parquet").unlink()  # as after a kill
    simulate(surveys[:1], 2, tmp_path, progress=False)
    assert (tmp_path / "truth.parquet").is_file()
    (tmp_path / "sky.json").unlink()  # as an older version left it
    with pytest.raises(StorageError, match="holds a sky of other settings"):
        simulate(surveys[:1], 2, tmp_path, progress=False)


def test_a_sky_that_cannot_fit_is_refused_at_once(surveys, tmp_path):
    with pytest.raises(StorageError, match=r"need .* GB but .* GB are free"):
        simulate(surveys[:1], 200_000_000 // CHUNK, tmp_path, progress=False)


def test_an_output_that_is_a_file_is_refused(surveys, tmp_path):
    (tmp_path / "sky").write_text("in the way")
    with pytest.raises(StorageError, match="sky: the output folder could not be created"):
        simulate(surveys[:1], 4, tmp_path / "sky", progress=False)


def test_bad_arguments(surveys, tmp_path):
    with pytest.raises(ValueError, match="n must be at least 1 galaxy but is 0"):
        simulate(surveys, 0, tmp_path)
    with pytest.raises(ValueError, match="seed must be 0 or more but is -1"):
        SkySettings(seed=-1)
    with pytest.raises(ValueError, match="different names but are mine, mine"):
        simulate([surveys[1]] * 2, 1, tmp_path)
    for name in ("decals-repeat", "truth.parquet", "sky.json"):
        own = surveys[1].model_copy(update={"name": name})
        with pytest.raises(ValueError, match=f"{name}: is also the name of a repeated observation"):
            simulate([surveys[0], own], 1, tmp_path)
    with pytest.raises(ValueError, match="at least one survey"):
        simulate([], 1, tmp_path)
    with pytest.raises(ValueError, match="brightest first, but are 21 and 17"):
        SkySettings(magnitudes=(21, 17))


def test_rotated_observations_are_of_the_same_galaxies(surveys, tmp_path):
    settings = SkySettings(seed=3, rotated=True)
    result = simulate(surveys, 40, tmp_path, settings, progress=False)
    assert set(result["samples"]) == {
        "decals", "decals-repeat", "mine", "decals-repeat-rotated", "mine-rotated",
    }  # fmt: skip
    rotated = pq.read_table(tmp_path / "mine-rotated" / "sample.parquet")
    assert set(rotated["survey"].to_pylist()) == {"mine"}
    assert np.ptp(rotated["rotation_deg"].to_numpy()) > 180
    assert 0 < np.mean(rotated["mirrored"].to_numpy(zero_copy_only=False)) < 1
    assert "rotation_deg" not in pq.read_schema(tmp_path / "mine" / "sample.parquet").names
    truth = pq.read_table(tmp_path / "truth.parquet")
    pairs = {
        r["target_id"]: r["anchor_id"]
        for r in read_pairs(tmp_path / "pairs-decals-mine-rotated.parquet").to_pylist()
    }
    for row in truth.to_pylist():
        if row["mine-rotated_id"] in pairs:
            assert pairs[row["mine-rotated_id"]] == row["decals_id"]

import csv

import numpy as np
import pytest
from astropy.io import fits
from conftest import make_space

from benchmarks.real.deep_field import (
    INFRARED,
    OPTICAL,
    deep_field_rows,
    field_positions,
    main,
    read_deep_field,
)
from galaxy_da.errors import TableError
from training.adaptation import AdaptSettings, FineTuningSettings, candidates, with_pairs

N, SHAPE = 80, (1400, 1000)


@pytest.fixture(scope="module")
def small_field(tmp_path_factory):
    """A field of 6 by 8 arcmin with 80 point-like galaxies, of one AB magnitude in all bands."""
    folder, rng = tmp_path_factory.mktemp("field"), np.random.default_rng(0)
    x, y = rng.uniform(60, SHAPE[1] - 60, N), rng.uniform(60, SHAPE[0] - 60, N)
    for survey in (OPTICAL, INFRARED):
        for band in survey.band_names:
            zeropoint = 0.0 if band in ("g", "r") else 30.0
            pixels = rng.normal(0, 0.01, SHAPE)
            pixels[y.round().astype(int), x.round().astype(int)] += 100.0  # nanomaggies
            counts = pixels * 10 ** (0.4 * (zeropoint - 22.5))
            fits.writeto(folder / f"{band}.fits.fz", counts.astype(np.float32))
    with (folder / "galaxies.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["object_id", "x_px", "y_px", "r_mag"])
        rows.writerows(
            [f"kv{i:03d}", *place, 17.5] for i, place in enumerate(zip(x, y, strict=True))
        )
    return folder


def test_positions_are_those_of_a_tangent_plane():
    x, y = np.array([499.5, 499.5 + 100, 499.5]), np.array([699.5, 699.5, 699.5 + 100])
    ra, dec = field_positions(x, y, SHAPE)
    step = 100 * 0.339 / 3600
    np.testing.assert_allclose(ra, [180, 180 - step, 180], atol=1e-8)
    np.testing.assert_allclose(dec, [0, 0, step], atol=1e-8)


def test_cutouts_are_in_nanomaggies_and_centred(small_field, tmp_path):
    field = read_deep_field(small_field, tmp_path)
    for sample, survey in ((field.optical, OPTICAL), (field.infrared, INFRARED)):
        pixels = np.load(sample.folder / "cutouts.npy")
        assert pixels.shape == (N, 3, 397, 397)
        np.testing.assert_allclose(pixels[:, :, 198, 198], 100, atol=0.1)
        assert sample.survey == survey.name


def test_a_small_field_is_read_by_definition_and_adapted(small_field, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "MAPS", {"moments": candidates.MAPS["moments"]})
    monkeypatch.setattr(with_pairs, "fit_to_pairs", lambda pairs: [[0.0] * 3] * 6)
    settings = AdaptSettings(fine_tuning=FineTuningSettings(steps=0))
    field = read_deep_field(small_field, tmp_path)
    space = make_space(grids=2, conditioned=True)
    rows = deep_field_rows(space, field)
    assert {(row["encoder"], row["queries"], row["pool"]) for row in rows} == {
        ("by definition", N, N)
    }
    both = deep_field_rows(space, field, settings)
    assert [row["encoder"] for row in both] == ["by definition"] * 2 + ["adapted"] * 2
    assert all(10 <= row["queries"] < N == row["pool"] for row in both)


def test_missing_images_are_named(tmp_path):
    with pytest.raises(TableError, match=r"lacks galaxies.csv, g.fits.fz, .*Ks.fits.fz"):
        read_deep_field(tmp_path, tmp_path)


@pytest.mark.slow
def test_the_real_field_is_measured(data, capsys):
    main([str(data / "kids_viking_field")])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[3:]]
    assert [row[0] for row in rows] == ["galaxy", "all"]
    for row in rows:
        assert float(row[-5]) > 10 / 151  # ten times chance

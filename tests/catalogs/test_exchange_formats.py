"""Image sets of Hugging Face and of the Multimodal Universe, written as their own tools do."""

import csv
import gc

import h5py
import numpy as np
import pytest
from PIL import Image

from catalogs.datasets import write_sample
from galaxy_da.images.cutouts import read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey

N = 8
RA, DEC = np.linspace(150, 151, N), np.linspace(2, 3, N)
RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def pictures():
    """Colour pictures of round galaxies, (n, y, x, 3) uint8."""
    y, x = np.mgrid[-24:24, -24:24]
    width = np.linspace(30, 150, N)[:, None, None]
    light = 180 * np.exp(-(x**2 + y**2) / width)
    noise = RNG.normal(10, 2, (N, 48, 48, 3))
    return (light[..., None] * [1, 0.8, 0.5] + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets", reason="the library datasets is not installed")


def read_all(path, survey="decals"):
    sample = Sample(path)
    (batch,) = sample.batches(100)
    return sample.catalog, read_cutouts(batch, sample.folder, get_survey(survey))


def as_shown(cutout):
    return np.moveaxis(cutout.pixels[:, ::-1], 0, -1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_image_folder_is_read_with_its_metadata(datasets, pictures, tmp_path):
    folder = tmp_path / "galaxies"
    (folder / "train").mkdir(parents=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / "train" / f"{i:03d}.png")
    with (folder / "train" / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "ra", "dec", "label"])
        rows.writerows((f"{i:03d}.png", RA[i], DEC[i], i % 2) for i in reversed(range(N)))
    cache = str(tmp_path / "cache")
    theirs = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=cache
    )
    gc.collect()  # a file that datasets leaves open
    result = write_sample(folder / "train", tmp_path / "sample.parquet", "decals")
    assert (result["rows"], result["match"]) == (N, "name")
    catalog, cutouts = read_all(tmp_path / "sample.parquet")
    ours = {
        place: (as_shown(cutout), label)
        for place, cutout, label in zip(
            catalog["ra"].to_pylist(), cutouts, catalog["label"].to_pylist(), strict=True
        )
    }
    for row in theirs:
        shown, label = ours[row["ra"]]
        np.testing.assert_array_equal(shown, np.array(row["image"]))
        assert label == row["label"]


def test_parquet_of_a_dataset_is_read(datasets, pictures, tmp_path):
    columns = {
        "objid": [f"g{i}" for i in range(N)],
        "ra": RA,
        "dec": DEC,
        "picture": [Image.fromarray(pixels) for pixels in pictures],
    }
    features = datasets.Features(
        objid=datasets.Value("string"),
        ra=datasets.Value("float64"),
        dec=datasets.Value("float64"),
        picture=datasets.Image(),
    )
    made = datasets.Dataset.from_dict(columns, features=features)
    made.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    write_sample(
        tmp_path / "train-00000-of-00001.parquet", tmp_path / "out" / "sample.parquet", "decals"
    )
    catalog, cutouts = read_all(tmp_path / "out" / "sample.parquet")
    assert catalog["object_id"].to_pylist() == columns["objid"]
    for cutout, pixels in zip(cutouts, pictures, strict=True):
        np.testing.assert_array_equal(as_shown(cutout), pixels)


@pytest.fixture
def universe(tmp_path):
    """Multimodal Universe in its own layout: an HDF5 file for each HEALPix cell."""
    flux = RNG.normal(size=(N, 3, 10, 10)).astype(np.float32)
    folder = tmp_path / "legacysurvey"
    for cell, rows in ((12, slice(0, 3)), (7, slice(3, N))):
        path = folder / f"healpix={cell}" / "001-of-001.hdf5"
        path.parent.mkdir(parents=True)
        n = len(RA[rows])
        with h5py.File(path, "w") as file:
            file["object_id"] = np.array([f"b{i}" for i in range(N)], "S8")[rows]
            file["ra"], file["dec"] = RA[rows], DEC[rows]
            file["healpix"] = np.full(n, cell)
            file["EBV"] = RA[rows].astype(">f4") / 1e4
            file["image_band"] = np.array([[b"des-g", b"des-r", b"des-z"]] * n)
            file["image_array"] = flux[rows]
            file["image_ivar"] = np.ones_like(flux[rows])
            file["image_mask"] = np.ones(flux[rows].shape, bool)
            file["image_psf_fwhm"] = np.tile([1.5, 1.3, 1.2], (n, 1))
            file["image_scale"] = np.full((n, 3), 0.262)
    return folder, flux


def test_multimodal_universe_is_read_as_it_is(universe, tmp_path):
    folder, flux = universe
    result = write_sample(folder, tmp_path / "sample.parquet", "decals")
    assert (result["rows"], result["layout"]) == (N, "Multimodal Universe")
    catalog, cutouts = read_all(tmp_path / "sample.parquet")
    ids = catalog["object_id"].to_pylist()
    assert sorted(ids) == [f"b{i}" for i in range(N)]
    for name, cutout, ebv in zip(ids, cutouts, catalog["EBV"].to_pylist(), strict=True):
        i = int(name[1:])
        assert cutout.bands == ("g", "r", "z")
        assert cutout.pixel_scale_arcsec == pytest.approx(0.262)
        assert ebv == pytest.approx(RA[i] / 1e4, rel=1e-6)
        np.testing.assert_array_equal(cutout.pixels, flux[i])


def test_options_of_other_sets_are_refused_for_the_multimodal_universe(universe, tmp_path):
    with pytest.raises(ValueError, match="legacysurvey takes no such option, not bands"):
        write_sample(universe[0], tmp_path / "s.parquet", "decals", bands=("g", "r", "z"))

import numpy as np
import pytest
import torch

from benchmarks.adaptation.faults import FAULTS
from benchmarks.adaptation.settings import Target, benchmark_survey
from benchmarks.adaptation.sky import BenchmarkSky
from catalogs.splits import sky_split
from galaxy_da.images.preparation import Frame
from galaxy_da.surveys import get_survey


def make(folder, **changes):
    options = {"galaxies": 40, "fillers": 10, "seed": 3, **changes}
    return BenchmarkSky(folder, get_survey("decals"), Frame(), **options)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("sky"))
    made.observe([Target(name="kids2", survey=benchmark_survey("kids2"))])
    return made


def test_samples_hold_the_galaxies_they_should(sky):
    tested = sky.part == "test"
    assert (sky.part == sky_split(*(sky.truth[axis].to_numpy() for axis in ("ra", "dec")))).all()
    everyone = np.arange(40)
    assert sky.inputs("decals", everyone).images.shape == (40, 3, 64, 64)
    assert sky.inputs("kids2", everyone).images.shape == (40, 3, 64, 64)
    assert sky.filler_truth.num_rows == 10
    assert sky.inputs("fillers", np.arange(10)).images.shape == (10, 3, 64, 64)
    for name in ("decals-repeat", "decals-repeat-rotated", "kids2-rotated"):
        assert len(np.load(sky.folder / f"{name}.npy")) == tested.sum()
        assert not sky.usable(name)[~tested].any() and sky.usable(name)[tested].mean() > 0.8
        assert np.isnan(sky.psf_fwhm_arcsec(name)[~tested]).all()


def test_observations_show_the_same_galaxies(sky):
    rows = np.flatnonzero((sky.part == "test") & sky.usable("decals") & sky.usable("kids2-rotated"))
    first, again, rotated = (
        sky.inputs(name, rows).images for name in ("decals", "decals-repeat", "kids2-rotated")
    )

    def light(images):  # r within a circle, which rotation does not change
        along = torch.arange(64) - 31.5
        return torch.sinh(images[:, 1, torch.hypot(along[:, None], along) < 12]).sum(1)

    assert light(first).log().std() > 0.5
    for other in (again, rotated):  # but for a trail or two
        assert (light(first) / light(other)).log().abs().median() < 0.1
    alike = [torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in
             zip(first[:, 1], rotated[:, 1], strict=True)]  # fmt: skip
    upright = [torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in
               zip(first[:, 1], again[:, 1], strict=True)]  # fmt: skip
    assert np.mean(alike) < np.mean(upright)


def test_sky_does_not_depend_on_other_targets(sky, tmp_path):
    other = make(tmp_path, fillers=0)
    other.observe([])
    rows = np.arange(40)
    pairs = (vars(made.inputs("decals", rows)).values() for made in (other, sky))
    for one, same in zip(*pairs, strict=True):
        assert torch.equal(one, same)
    kept = (tmp_path / "decals.npy").stat().st_mtime_ns
    make(tmp_path, fillers=0).observe([])
    assert (tmp_path / "decals.npy").stat().st_mtime_ns == kept


def test_fillers_are_other_galaxies(sky):
    assert not set(sky.truth["ra"].to_pylist()) & set(sky.filler_truth["ra"].to_pylist())


def test_a_faulty_target_is_observed_with_and_without_the_fault(tmp_path):
    target = Target(name="sdss-missing", survey=get_survey("sdss"), fault=FAULTS["missing-band"])
    sky = make(tmp_path, fillers=0)
    sky.observe([target])
    rows = np.flatnonzero(sky.usable("sdss-missing"))
    told, right = (sky.inputs(name, rows).images for name in ("sdss-missing", "sdss-missing-right"))
    assert not told[:, 2].any() and right[:, 2].abs().amax((1, 2)).all()
    assert torch.equal(told[:, :2], right[:, :2])
    outside = np.flatnonzero(sky.part != "test")
    sample = sky.sample("sdss-missing", outside)
    assert sample["bands"].to_pylist() == ["g,r"] * len(outside)
    assert sample["ra"].to_pylist() == sky.truth["ra"].take(outside).to_pylist()

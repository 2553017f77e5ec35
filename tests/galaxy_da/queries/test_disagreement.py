import numpy as np
import pyarrow as pa
import pytest
from index_helpers import make
from numpy.testing import assert_allclose
from scipy.stats import norm

from galaxy_da.index import Subset
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.disagreement import log_share, residual


def observations(n=400, d=4, seed=0):
    """Two observations of galaxies, the second turned, moved and with noise of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    one, other = (truth + 0.1 * rng.normal(size=(n, d)) for _ in range(2))
    return one.astype(np.float32), (other @ turn + 3).astype(np.float32)


def test_the_residual_is_the_noise_where_one_survey_is_a_linear_map_of_the_other():
    one, other = observations()
    found = residual(one, other)
    # Both directions leave the noise of both images: d values of variance 2 * 0.1**2, twice.
    assert_allclose(np.sqrt(np.mean(found**2)), np.sqrt(4 * 2 * 2 * 0.1**2), rtol=0.1)
    assert np.median(found) < np.median(np.linalg.norm(one - other, axis=1)) / 5
    other[7] += 1
    assert residual(one, other).argmax() == 7


def test_log_share_is_that_of_a_log_normal_in_spite_of_wrong_pairs():
    values = np.exp(np.random.default_rng(0).normal(1, 0.3, 20_000))
    expected = -np.log10(norm.sf((np.log(values) - 1) / 0.3))
    assert_allclose(log_share(values), expected, rtol=0.1, atol=0.02)
    spoiled = np.append(values, np.full(1000, 1e3))
    assert np.mean(log_share(spoiled)[:20_000] >= 2) == pytest.approx(0.008, abs=0.005)
    assert (log_share(np.ones(5)) >= 0).all()


def both_surveys(changed=(3, 90), n=200, flags=(), **columns):
    one, other = observations(n)
    other[list(changed)] += 4
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(10, 20, n), rng.uniform(-5, 5, n)
    features = []
    for survey, mean, shift in (("decals", one, 0), ("sdss", other, 0.3 / 3600)):
        made = make(survey, list(mean), ra=ra, dec=dec + shift, **columns)
        bits = [*flags, *[0] * (n - len(flags))] if survey == "decals" else [0] * n
        place = made.table.column_names.index("flags")
        table = made.table.set_column(place, "flags", pa.array(bits, pa.int32()))
        features.append(Features(table=table, space_id="s" * 64, encoders={survey: "e"}))
    return LatentIndex.build(features)


def bad_data(index, survey=None, **options):
    found = index.outliers(survey, 999, **options).to_pylist()
    return {
        f"{row['survey']}:{row['object_id']}": row for row in found if row["ranking"] == "bad data"
    }


def test_images_that_differ_between_surveys_are_bad_data():
    found = bad_data(both_surveys())
    for name in ("id 3", "id 90"):
        for here, there in (("decals", "sdss"), ("sdss", "decals")):
            row = found[f"{here}:{name}"]
            assert row["compare_with"] == f"{there}:{name}"
            assert row["reason"].startswith(f"differs from {there}:{name}, ")
            assert row["outlier_score"] > 2
    assert len(found) <= 2 * (2 + 5)  # one pair in a hundred is called so by chance
    assert set(bad_data(both_surveys(), "sdss")) == {k for k in found if k.startswith("sdss")}


def test_an_image_that_is_bad_by_itself_explains_the_difference():
    found = bad_data(both_surveys(changed=(0,), flags=(1,)))
    assert found["decals:id 0"]["reason"] == "pixels are missing or masked"
    assert "sdss:id 0" not in found


def test_few_or_distant_pairs_are_not_compared():
    index = both_surveys(kind=["a"] * 190 + ["b"] * 10, changed=(3, 195))
    assert "decals:id 3" in bad_data(index)
    assert not bad_data(index, within=Subset(where="kind = b"))

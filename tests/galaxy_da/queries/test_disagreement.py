import numpy as np
import pyarrow as pa
import pytest
from index_helpers import make
from numpy.testing import assert_allclose
from scipy.stats import chi

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import Subset
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.disagreement import relative_distance
from galaxy_da.queries.outliers import OutlierMethod


def observations(n=400, d=4, seed=0):
    """Two observations of galaxies: a shift, scatter larger in one direction, and own noise."""
    rng = np.random.default_rng(seed)
    truth, noise = rng.normal(size=(n, d)), rng.uniform(0.05, 0.3, (n, 1))
    mixing = rng.normal(size=(d, d))
    one = truth + noise * rng.normal(size=(n, d))
    other = truth + 0.2 + noise * (rng.normal(size=(n, d)) @ mixing)
    variance = np.broadcast_to(noise**2, (n, d))
    return [values.astype(np.float32) for values in (one, variance, other, variance)]


def test_excess_is_about_one_at_any_noise():
    one, variance, other, _ = observations()
    found = relative_distance(one, variance, other, variance)
    assert_allclose(np.median(found), 1, atol=0.05)
    noisy = variance[:, 0] > np.median(variance[:, 0])
    assert 0.85 < np.median(found[noisy]) / np.median(found[~noisy]) < 1.18
    plain = np.linalg.norm(one - other, axis=1)
    assert np.median(plain[noisy]) / np.median(plain[~noisy]) > 1.05
    typical = chi(4).ppf(0.9) / chi(4).median()
    assert_allclose(np.quantile(found, 0.9), typical, rtol=0.25)


def test_excess_is_invariant_to_affine_maps_of_the_latents():
    one, variance, other, _ = observations()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    flat = np.broadcast_to(variance[:, :1], variance.shape)
    before = relative_distance(one, flat, other, flat)
    after = relative_distance(one @ turn + 3, flat, other @ turn - 5, flat)
    assert np.corrcoef(np.log(before), np.log(after))[0, 1] > 0.98


def both_surveys(changed=(3, 90), n=200, **columns):
    one, variance, other, _ = observations(n)
    other[list(changed)] += 4
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(10, 20, n), rng.uniform(-5, 5, n)
    features = []
    for survey, mean, shift in (("decals", one, 0), ("sdss", other, 0.3 / 3600)):
        made = make(survey, list(mean), ra=ra, dec=dec + shift, **columns)
        place = made.table.column_names.index("variance")
        kind = pa.list_(pa.float32(), 4)
        table = made.table.set_column(place, "variance", pa.array(list(variance), kind))
        table = table.set_column(
            table.column_names.index("flags"), "flags", pa.array([0] * n, pa.int32())
        )
        features.append(Features(table=table, space_id="s" * 64, encoders={survey: "e"}))
    return LatentIndex.build(features)


def test_outliers_by_disagreement_are_the_changed_galaxies():
    index = both_surveys()
    found = index.outliers(k=2, method="disagreement")
    assert set(found["object_id"].to_pylist()) == {"id 3", "id 90"}
    assert found["object_id"].equals(found["other_id"])
    assert found["survey"].to_pylist() == ["decals"] * 2
    assert found["other_survey"].to_pylist() == ["sdss"] * 2
    assert_allclose(found["separation_arcsec"], 0.3, rtol=1e-5)
    for row in found.to_pylist():
        here, there = (index.row(f"{s}:{row['object_id']}") for s in ("decals", "sdss"))
        apart = np.linalg.norm(index.vectors[here] - index.vectors[there])
        assert_allclose(row["distance"], apart, rtol=1e-5)
    other = index.outliers("sdss", k=2, method="disagreement")
    assert other["survey"].to_pylist() == ["sdss"] * 2
    assert len(index.outliers(k=999, method="disagreement")) == 200


def test_only_selected_galaxies_are_ranked():
    index = both_surveys(kind=["a"] * 150 + ["b"] * 50)
    found = index.outliers(k=999, method="disagreement", within=Subset(where="kind = a"))
    assert len(found) == 150
    with pytest.raises(LatentIndexError, match="decals and sdss 0"):
        index.outliers(method=OutlierMethod(name="disagreement", radius_arcsec=0.2))
    with pytest.raises(LatentIndexError, match=r"at least 25 .* decals and sdss 10"):
        both_surveys(kind=["a"] * 190 + ["b"] * 10).outliers(
            method="disagreement", within=Subset(where="kind = b")
        )

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pydantic import ValidationError
from scipy.stats import kstest, multivariate_normal

from galaxy_da.models.match_probability import (
    MatchProbability,
    Population,
    gaussian_log_ratio,
    posterior_distance,
    probability,
)


def posteriors(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.uniform(0.1, 2, (n, d))


def model(weights=(-1.0, -0.5, 0.2), latents=3, **changed):
    population = Population(mean=(0.0,) * latents, variance=(1.0,) * latents)
    given = {"intercept": 0.3, "floor": 0.01, "most": 9.0, **changed}
    return MatchProbability(population=population, weights=weights, **given)


def test_posterior_distance_of_two_observations_follows_chi_squared():
    rng = np.random.default_rng(0)
    truth, n, d = rng.normal(size=(4000, 5)), 4000, 5
    variances = rng.uniform(0.01, 3, (2, n, d))
    observations = truth + np.sqrt(variances) * rng.normal(size=(2, n, d))
    measured = posterior_distance(observations[0], variances[0], observations[1], variances[1])
    assert kstest(measured, "chi2", args=(d,)).pvalue > 0.01


def test_gaussian_ratio_is_that_of_the_joint_densities():
    first, second = posteriors(20, 3, 1), posteriors(20, 3, 2)
    centre, s = np.array([0.5, -1.0, 0.0]), np.array([0.7, 1.0, 2.0])
    ratio = gaussian_log_ratio(Population(mean=tuple(centre), variance=tuple(s)), *first, *second)
    for k in range(20):
        (x, v), (y, w) = (tuple(part[k] for part in side) for side in (first, second))
        joined = sum(
            multivariate_normal([c, c], [[a + p, a], [a, a + q]]).logpdf([i, j])
            for c, a, p, q, i, j in zip(centre, s, v, w, x, y, strict=True)
        )
        apart = multivariate_normal(centre, np.diag(s + v)).logpdf(x)
        apart += multivariate_normal(centre, np.diag(s + w)).logpdf(y)
        assert ratio[k] == pytest.approx(joined - apart, abs=1e-9)


def test_gaussian_ratio_gives_calibrated_probabilities():
    rng = np.random.default_rng(3)
    n, d, s = 20_000, 4, 0.5
    same = rng.random(n) < 0.3
    first = rng.normal(0, np.sqrt(s), (n, d))
    second = np.where(same[:, None], first, rng.normal(0, np.sqrt(s), (n, d)))
    variances = rng.uniform(0.05, 1, (2, n, d))
    observations = [
        t + np.sqrt(v) * rng.normal(size=(n, d))
        for t, v in zip((first, second), variances, strict=True)
    ]
    population = Population(mean=(0.0,) * d, variance=(s,) * d)
    ratio = gaussian_log_ratio(
        population, observations[0], variances[0], observations[1], variances[1]
    )
    stated = probability(ratio, 0.3)
    for low in np.arange(0, 1, 0.1):
        chosen = (stated >= low) & (stated < low + 0.1)
        error = np.sqrt((stated * (1 - stated))[chosen].sum()) / chosen.sum()
        assert abs(stated[chosen].mean() - same[chosen].mean()) < 4 * error


def test_ratio_is_the_stated_formula():
    first, second = posteriors(50, 3, 4), posteriors(50, 3, 5)
    m = model()
    distance = np.sqrt(np.square(first[0] - second[0]).sum(1))
    gauss = np.maximum(gaussian_log_ratio(m.population, *first, *second), -3)
    exponent = 0.3 - np.log(distance) - 0.5 * np.log(posterior_distance(*first, *second))
    exponent = np.minimum(exponent + 0.2 * gauss, 9.0)
    assert_allclose(np.exp(m.log_ratio(*first, *second)), 0.01 + 0.99 * np.exp(exponent))


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_ratio_is_symmetric_and_bounded(seed):
    first, second = posteriors(8, 3, seed), posteriors(8, 3, seed + 1)
    m = model()
    ratio = m.log_ratio(*first, *second)
    assert_allclose(ratio, m.log_ratio(*second, *first))
    assert (ratio >= np.log(0.01)).all()
    assert (ratio <= 9.0).all()


def test_equal_images_have_the_largest_ratio_and_unrelated_ones_the_floor():
    one = np.ones((1, 3)), np.full((1, 3), 0.1)
    far = np.full((1, 3), 1e6), np.full((1, 3), 0.1)
    assert model().log_ratio(*one, *one)[0] == pytest.approx(np.log(0.01 + 0.99 * np.exp(9)))
    assert model().log_ratio(*one, *far)[0] == pytest.approx(np.log(0.01), abs=1e-3)


def test_probability_is_bayes():
    ratio = np.array([0.1, 1.0, 8.0])
    expected = ratio * 0.2 / (ratio * 0.2 + 0.8)
    assert_allclose(probability(np.log(ratio), 0.2), expected)
    assert_allclose(probability(np.log(ratio), np.full(3, 0.2)), expected)


def test_a_model_is_the_same_after_json():
    m = model()
    assert MatchProbability.model_validate_json(m.model_dump_json()) == m


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"prior must lie between 0 and 1.*1\.0"):
        probability(np.zeros(1), 1.0)
    with pytest.raises(ValueError, match=r"3 latents but have shapes \(2, 4\)"):
        model().log_ratio(*posteriors(2, 4, 0), *posteriors(2, 4, 0))
    with pytest.raises(ValidationError, match="of one length, and variances positive"):
        Population(mean=(0.0,), variance=(0.0,))
    with pytest.raises(ValidationError, match="floor"):
        model(floor=0.0)

import numpy as np
import pytest
from numpy.testing import assert_allclose

from evaluation.match_probability import calibration
from galaxy_da.models.match_probability import (
    Population,
    gaussian_log_ratio,
    probability,
    statistics,
)
from training.adaptation.match_probability import (
    PairedPosteriors,
    cross_validated_trials,
    draw_different_pairs,
    fit_match_probability,
)

LATENTS = 6
POPULATION = Population(mean=(0.5,) * LATENTS, variance=(1.0,) * LATENTS)


def gaussian_posteriors(n, seed, wrong=0.0):
    """Draw two posteriors of each Gaussian galaxy; in a share of the pairs, of two galaxies."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0.5, 1, (n, LATENTS))
    second = np.where(rng.random(n)[:, None] < wrong, rng.normal(0.5, 1, (n, LATENTS)), first)
    variances = rng.uniform(0.05, 1, (2, n, 1)) * np.ones((2, n, LATENTS))
    posteriors = [
        truth + np.sqrt(variance) * rng.normal(size=truth.shape)
        for truth, variance in zip((first, second), variances, strict=True)
    ]
    return PairedPosteriors(posteriors[0], variances[0], posteriors[1], variances[1])


def true_and_random(posteriors, seed=0):
    """Return rows of anchors and targets: all true pairs, then as many random ones."""
    n = len(posteriors.anchor_mean)
    other = (np.arange(n) + np.random.default_rng(seed).integers(1, n, n)) % n
    return np.tile(np.arange(n), 2), np.concatenate([np.arange(n), other])


def sides(posteriors, anchor, target):
    return (
        posteriors.anchor_mean[anchor],
        posteriors.anchor_variance[anchor],
        posteriors.target_mean[target],
        posteriors.target_variance[target],
    )


def test_the_likelihood_ratio_of_gaussians_is_recovered():
    model = fit_match_probability(gaussian_posteriors(1500, 0))
    pairs = sides(gaussian_posteriors(3000, 1), *true_and_random(gaussian_posteriors(3000, 1)))
    known = gaussian_log_ratio(POPULATION, *pairs)
    found = model.log_ratio(*pairs)
    undecided = np.abs(known) < 4
    assert np.abs(found - known)[undecided].mean() < 0.35
    loss = -np.log(np.where(np.arange(6000) < 3000, probability(found), 1 - probability(found)))
    best = -np.log(np.where(np.arange(6000) < 3000, probability(known), 1 - probability(known)))
    assert loss.mean() < best.mean() + 0.01


def test_probabilities_are_reliable_within_sampling_error():
    for stated, same in cross_validated_trials(gaussian_posteriors(1500, 2)).values():
        for chosen in np.array_split(np.argsort(stated), 8):
            error = np.sqrt((stated * (1 - stated))[chosen].sum()) / len(chosen)
            assert abs(stated[chosen].mean() - same[chosen].mean()) < 4 * error + 0.02
    scores = calibration(cross_validated_trials(gaussian_posteriors(1500, 2)))
    assert scores["random"]["brier"] < 0.5 * scores["random"]["brier_constant"]
    assert scores["lookalikes"]["brier"] < scores["lookalikes"]["brier_constant"]


@pytest.mark.parametrize("n", [300, 800])
def test_probabilities_of_lookalikes_are_reliable_with_correlated_errors(n):
    """No weights are right everywhere then; they must be right for close pairs."""
    rng = np.random.default_rng(1)
    truth, variances = rng.normal(0.5, 1, (n, LATENTS)), rng.uniform(0.02, 0.3, (2, n, 1))
    means = [
        truth
        + np.sqrt(variance) * (0.6 * rng.normal(size=truth.shape) + 0.8 * rng.normal(size=(n, 1)))
        for variance in variances
    ]
    wide = variances * np.ones(LATENTS)
    scores = calibration(
        cross_validated_trials(PairedPosteriors(means[0], wide[0], means[1], wide[1]))
    )
    assert scores["lookalikes"]["ece"] < 0.02


def test_wrong_pairs_set_a_floor_unless_their_share_is_known():
    clean, mixed = gaussian_posteriors(1500, 3), gaussian_posteriors(1500, 3, wrong=0.2)
    assert fit_match_probability(clean).floor < 0.03
    assert fit_match_probability(mixed).floor == pytest.approx(0.2, abs=0.05)
    known = fit_match_probability(mixed, wrong_share=0.2)
    assert known.floor < 0.05
    pairs = sides(clean, *true_and_random(clean))
    ratio = fit_match_probability(clean).log_ratio(*pairs)
    undecided = np.abs(ratio) < 3
    assert np.abs(known.log_ratio(*pairs) - ratio)[undecided].mean() < 0.5


def test_closer_is_never_less_probable():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        noise = PairedPosteriors(*(np.abs(rng.normal(size=(60, 3))) + 0.1 for _ in range(4)))
        first, second, third = fit_match_probability(noise).weights
        assert first <= 0
        assert second <= 0
        assert third >= 0


def test_drawn_pairs_represent_all_pairs_of_different_galaxies():
    posteriors = gaussian_posteriors(400, 4)
    target, anchor, weight = draw_different_pairs(posteriors, seed=0)
    assert (target != anchor).all()
    assert weight.sum() == pytest.approx(400 * 399)
    every = np.array([(t, a) for t in range(400) for a in range(400) if t != a]).T
    mean = [
        np.average(statistics(POPULATION, *sides(posteriors, a, t)), axis=0, weights=w)
        for t, a, w in ((target, anchor, weight), (*every, np.ones(len(every[0]))))
    ]
    assert_allclose(mean[0], mean[1], rtol=0.02)


def test_too_few_pairs_and_a_wrong_share_of_one_are_refused():
    with pytest.raises(ValueError, match="at least 10 pairs but has 9"):
        fit_match_probability(gaussian_posteriors(9, 0))
    with pytest.raises(ValueError, match=r"wrong_share must be in \[0, 1\) but is 1"):
        fit_match_probability(gaussian_posteriors(20, 0), wrong_share=1)

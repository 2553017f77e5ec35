"""Trained baselines: the method of Xu et al. (2023), and SIDDA."""

import numpy as np
import torch
from conftest import blobs, make_space
from numpy.testing import assert_allclose

from benchmarks.baselines import AdaptationData, Sidda, Xu2023
from benchmarks.baselines.autoencoder import Autoencoder, Pass
from benchmarks.baselines.sidda import LearnedWeights, dynamic_blur
from benchmarks.baselines.sinkhorn import sinkhorn_divergence
from benchmarks.baselines.xu2023 import mean_squared_distance, xu2023_loss
from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Posterior
from galaxy_da.surveys import get_survey


def data(n=48, bands=("g", "r", "z"), **changes):
    space = make_space()
    rng = np.random.default_rng(1)
    clean = torch.asinh(torch.tensor(blobs(n, 64, 0.524, seed=3, noise=0.02)) / 0.1)
    encoder = space.by_definition(get_survey("sdss"), bands)
    noise = torch.tensor(rng.normal(0, 0.2, (n, 3, 64, 64)), dtype=torch.float32)
    there = torch.tensor([name is not None for name in encoder.bands])
    target = (1.5 * clean + noise) * there[:, None, None]
    fields = {"anchor": Inputs.plain(clean), "target": Inputs.plain(target)}
    return AdaptationData(space=space, encoder=encoder, **{**fields, **changes})


def one_pass(n, seed):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: torch.tensor(rng.normal(size=shape))  # noqa: E731
    return Pass(draw(n, 1, 2, 2), Posterior(draw(n, 3), draw(n, 3).exp()), draw(n, 1, 2, 2))


def bound_by_hand(p):
    error = np.mean((p.decoded.numpy() - p.images.numpy()) ** 2)
    mean, variance = p.posterior.mean.numpy(), p.posterior.variance.numpy()
    return error + 0.5 * np.sum(mean**2 + variance - np.log(variance) - 1)


def mmd_by_hand(x, y):
    both = np.concatenate([x, y])
    squared = ((both[:, None] - both[None]) ** 2).sum(2)
    n = len(both)
    width = squared.sum() / (n * n - n) / 4
    kernel = sum(np.exp(-squared / (width * 2**i)) for i in range(5))
    m = len(x)
    return kernel[:m, :m].mean() + kernel[m:, m:].mean() - 2 * kernel[:m, m:].mean()


def test_xu2023_loss_equals_that_by_hand():
    target, source = one_pass(4, seed=1), one_pass(4, seed=2)
    distance = mmd_by_hand(target.posterior.mean.numpy(), source.posterior.mean.numpy())
    expected = (bound_by_hand(target) + bound_by_hand(source)) / 2 + 10 * 4 * distance
    loss, terms = xu2023_loss(target, source)
    assert_allclose(loss, expected, rtol=1e-6)
    assert_allclose(terms["loss"], expected / 4, rtol=1e-6)
    assert_allclose(terms["mmd"], distance, rtol=1e-6)


def state_of(data):
    space = data.space
    networks = (space.encoder("decals").network, space.decoder, data.encoder.network)
    return [value.clone() for network in networks for value in network.state_dict().values()]


def test_xu2023_trains_the_target_and_freezes_the_source():
    some = data()
    before = state_of(some)
    fitted = Xu2023(epochs=2, batch=20, learning_rate=1e-3).fit(some)
    assert all(map(torch.equal, before, state_of(some)))
    inputs = some.anchor
    assert torch.equal(fitted.anchor(inputs), some.space.encode(inputs, "decals").mean)
    assert not torch.allclose(fitted.target(some.target), some.encode_target(some.target))
    assert [set(row) for row in fitted.record["curves"]] == [
        {"epoch", "loss", "kl", "error", "mmd"}
    ] * 2
    assert fitted.record["settings"]["learning_rate"] == 1e-3


def test_xu2023_has_the_published_settings():
    assert (Xu2023().epochs, Xu2023().batch, Xu2023().learning_rate) == (20, 128, 1e-5)


def test_xu2023_takes_missing_bands_and_unpaired_images():
    some = data(bands=("g", "r"), anchor=data(n=20).anchor)
    assert some.encoder.bands[2] is None
    fitted = Xu2023(epochs=1).fit(some)
    assert fitted.target(some.target).shape == (48, 6)


def test_xu2023_bandwidth_is_the_mean_over_different_galaxies():
    latents = np.random.default_rng(0).normal(size=(7, 3))
    between = [((a - b) ** 2).sum() for i, a in enumerate(latents) for b in latents[:i]]
    assert_allclose(mean_squared_distance(torch.tensor(latents)), np.mean(between))


def test_xu2023_training_lowers_its_loss():
    fitted = Xu2023(epochs=6, batch=24, learning_rate=1e-3).fit(data())
    curves = fitted.record["curves"]
    assert curves[-1]["loss"] < 0.7 * curves[0]["loss"]


def test_sidda_weights_equal_those_by_hand_and_are_bounded():
    weights = LearnedWeights()
    with torch.no_grad():
        weights.eta1.fill_(2.0)
        weights.eta2.fill_(0.1)
    found = weights(torch.tensor(3.0), torch.tensor(5.0)).detach()
    assert_allclose(found, 3 / 8 + 5 / 0.02 + np.log(0.2), rtol=1e-6)
    weights.bound()
    assert [float(eta.detach()) for eta in weights.parameters()] == [2.0, 0.5]
    with torch.no_grad():
        weights.eta1.fill_(-1.0)
    weights.bound()
    assert_allclose(weights.eta1.detach(), 1e-3)


def test_sidda_optimal_weight_is_the_root_of_its_loss():
    weights = LearnedWeights()
    optimiser = torch.optim.Adam(weights.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        weights(torch.tensor(0.5), torch.tensor(4.0)).backward()
        weights.bound()
        optimiser.step()
    assert_allclose([float(eta.detach()) for eta in weights.parameters()], [0.5**0.5, 2], rtol=1e-2)


def test_sidda_blur_follows_the_largest_distance():
    a, b = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    assert_allclose(dynamic_blur(a, b), 0.05 * 17**0.5, rtol=1e-6)
    assert dynamic_blur(a[:1], a[:1]) == 0.01


def test_sidda_warms_up_then_brings_the_surveys_together():
    some = data()
    before = state_of(some)
    fitted = Sidda(epochs=8, warmup_epochs=2, batch=24, learning_rate=1e-3).fit(some)
    assert all(map(torch.equal, before, state_of(some)))
    curves = fitted.record["curves"]
    assert ["sinkhorn" in row for row in curves] == [False] * 2 + [True] * 6
    apart = [
        float(sinkhorn_divergence(target, anchor, 0.1 * float(anchor.std())) / anchor.var())
        for target, anchor in (
            (some.encode_target(some.target), some.encode_anchor(some.anchor)),
            (fitted.target(some.target), fitted.anchor(some.anchor)),
        )
    ]
    assert apart[1] < apart[0]


def test_same_seed_gives_same_fit_and_keeps_the_global_generator():
    some = data()
    torch.manual_seed(5)
    expected = torch.rand(3)
    for baseline in (Xu2023(epochs=1), Sidda(epochs=2, warmup_epochs=1)):
        torch.manual_seed(5)
        first = baseline.fit(some).target(some.target)
        assert torch.equal(torch.rand(3), expected)
        again = baseline.fit(some).target(some.target)
        torch.testing.assert_close(again, first, rtol=1e-4, atol=1e-5)


def test_autoencoder_copies_and_draws_from_the_posterior():
    space = make_space()
    model = Autoencoder(space.encoder("decals").network, space.decoder)
    images = torch.randn(4, 3, 64, 64)
    images[:, 2] = 0  # a missing band
    found = model(images, torch.empty(4, 0))
    assert found.posterior.mean.shape == (4, 6) and found.decoded.shape == images.shape
    assert torch.equal(found.decoded == 0, images == 0)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in space.decoder.parameters())

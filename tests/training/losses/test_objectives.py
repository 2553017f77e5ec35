import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.stats import median_abs_deviation
from sklearn.metrics import log_loss
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl
from torchvision.models import squeezenet1_1

from galaxy_da.errors import StorageError
from galaxy_da.models.networks import Posterior
from training.losses import (
    PerceptualDistance,
    beta_at,
    class_error,
    freed,
    inverse_variance,
    kl_divergence,
    negative_elbo,
    prior_mmd,
    redshift_error,
    squared_error,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def posterior(n, latents):
    return Posterior(draw(n, latents), torch.rand(n, latents) + 0.1)


def test_divergence_is_torchs():
    mean, variance = posterior(5, 3)
    expected = torch_kl(Normal(mean, variance.sqrt()), Normal(0, 1))
    torch.testing.assert_close(kl_divergence(Posterior(mean, variance)), expected)


def test_the_bound_is_the_mean_log_likelihood_minus_the_divergence():
    images, decoded = draw(4, 2, 3, 3), draw(4, 2, 3, 3, seed=1)
    some, noise = posterior(4, 5), 0.4
    loss, terms = negative_elbo(images, decoded, some, noise=noise, beta=1.0)
    log_likelihood = Normal(decoded, noise).log_prob(images).sum((1, 2, 3))
    bound = (log_likelihood - kl_divergence(some).sum(1)).mean() / 18
    constant = -0.5 * np.log(2 * np.pi * noise**2)
    torch.testing.assert_close(loss, constant - bound)
    torch.testing.assert_close(terms["kl"], kl_divergence(some).sum(1).mean())


def test_a_weighted_bound_is_the_likelihood_of_pixels_with_their_own_noise():
    images, decoded, some = draw(4, 2, 3, 3), draw(4, 2, 3, 3, seed=1), posterior(4, 5)
    sigma = torch.rand(4, 2, 3, 3) + 0.2
    seen = torch.rand(4, 2, 3, 3) > 0.3
    loss, _ = negative_elbo(
        images, decoded, some, noise=1.0, beta=0.0, weight=torch.where(seen, sigma**-2, 0.0)
    )
    log_likelihood = Normal(decoded, sigma).log_prob(images)
    constant = Normal(0.0, sigma).log_prob(torch.zeros(()))
    torch.testing.assert_close(loss, (constant - log_likelihood)[seen].mean())


def test_squared_error_refuses_another_shape():
    with pytest.raises(ValueError, match=r"weight.*\(2, 1, 3, 3\).*\(2, 3, 3\)"):
        squared_error(draw(2, 1, 3, 3), draw(2, 1, 3, 3), draw(2, 3, 3))


def test_inverse_variance_is_that_of_even_flux_noise_in_asinh_units():
    rng = np.random.default_rng(0)
    truth = np.zeros((1, 1, 64, 64))
    truth[..., 30:34, 30:34] = 5.0
    many = np.arcsinh(truth + rng.normal(0, 0.3, (4000, 1, 64, 64))).astype(np.float32)
    image = torch.from_numpy(many[:1])
    weight = inverse_variance(image, floor=0.0)
    border = np.concatenate([many[0, 0, :8].ravel(), many[0, 0, -8:].ravel()])
    border = np.concatenate([border, many[0, 0, 8:-8, :8].ravel(), many[0, 0, 8:-8, -8:].ravel()])
    sky = 1.4826 * median_abs_deviation(border)
    expected = (sky / np.cosh(many[0])) ** -2
    np.testing.assert_allclose(weight[0].numpy(), expected, rtol=1e-3)
    # and that is what the pixel's scatter is, on the sky and on the source
    for y in (5, 32):
        scatter = many[:, 0, y, 32].std()
        model = 1 / np.sqrt(weight[0, 0, y - 1 : y + 2, 31:34].numpy().mean())
        assert model == pytest.approx(scatter, rel=0.15)


def test_inverse_variance_masks_what_was_not_observed_and_has_a_floor():
    image = draw(1, 1, 16, 16)
    image[..., :3] = 0
    weight = inverse_variance(image, floor=0.5)
    assert (weight[..., :3] == 0).all() and (weight[..., 3:] > 0).all()
    assert float(weight.max()) <= 4.0


def test_free_nats_are_counted_latent_by_latent():
    divergence = torch.tensor([[0.0, 2.0], [0.4, 4.0]])
    assert float(freed(divergence, 0.5)) == pytest.approx(0.5 + 3.0)
    assert float(freed(divergence, 0.0)) == pytest.approx(0.2 + 3.0)


def test_beta_is_a_number_or_a_line_between_points():
    assert beta_at(0.3, 7) == 0.3
    points = ((0, 0.0), (10, 1.0))
    assert [beta_at(points, epoch) for epoch in (0, 2.5, 10, 99)] == [0.0, 0.25, 1.0, 1.0]


def test_prior_mmd_tells_a_collapsed_posterior_from_the_prior():
    torch.manual_seed(0)
    like = float(prior_mmd(draw(512, 8)))
    narrow, shifted = float(prior_mmd(0.1 * draw(512, 8))), float(prior_mmd(draw(512, 8) + 1))
    assert like < 0.005 < 0.05 < min(narrow, shifted)


def test_prior_mmd_is_the_sum_over_all_pairs():
    drawn = draw(6, 2)
    torch.manual_seed(3)
    prior = torch.randn(6, 2).double().numpy()
    torch.manual_seed(3)
    value = float(prior_mmd(drawn))
    x = drawn.double().numpy()
    width = np.mean([((a - b) ** 2).sum() for a in prior for b in prior])

    def kernel(a, b):
        square = ((a - b) ** 2).sum()
        return np.mean([np.exp(-square / (f * width)) for f in (0.25, 0.5, 1, 2, 4)])

    def mean(first, second):
        return np.mean([kernel(a, b) for a in first for b in second])

    assert value == pytest.approx(
        mean(x, x) + mean(prior, prior) - 2 * mean(x, prior), rel=1e-4, abs=1e-6
    )


def test_class_error_is_the_log_loss_of_the_labelled():
    scores, labels = draw(6, 3), torch.tensor([0, 2, -1, 1, -1, 2])
    known = labels >= 0
    expected = log_loss(labels[known], scores[known].double().softmax(1), labels=[0, 1, 2])
    assert float(class_error(scores, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(class_error(scores, torch.full((6,), -1))) == 0.0


def test_redshift_error_leaves_out_the_unknown():
    predicted = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    error = redshift_error(predicted, torch.tensor([0.2, torch.nan, 0.6]))
    assert float(error.detach()) == pytest.approx((0.01 + 0.09) / 2)
    error.backward()
    assert torch.isfinite(predicted.grad).all() and predicted.grad[1] == 0


def test_perceptual_distance_is_that_of_torchvisions_layers(tmp_path):
    torch.manual_seed(5)
    network = squeezenet1_1(weights=None).eval()
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    distance = PerceptualDistance(path)
    a, b = draw(2, 3, 32, 32), draw(2, 3, 32, 32, seed=1)
    expected = 0.0
    with torch.no_grad():
        for last in (2, 5, 8, 12):
            first, second = (network.features[: last + 1](x) for x in (a, b))
            cosine = torch.nn.functional.cosine_similarity(first, second, dim=1)
            seen = [x.norm(dim=1) > 0 for x in (first, second)]
            expected += float((2 - 2 * cosine)[seen[0] & seen[1]].sum() / cosine.numel())
            expected += float((seen[0] ^ seen[1]).float().mean())
    assert float(distance(a, b)) == pytest.approx(expected, rel=1e-3)
    assert float(distance(a, a)) == 0.0


def test_perceptual_distance_is_offline_the_same_each_time_and_takes_any_bands():
    one, other = PerceptualDistance(), PerceptualDistance()
    for bands in (1, 2, 3, 5):
        a, b = draw(2, bands, 32, 32), draw(2, bands, 32, 32, seed=1)
        assert float(one(a, b)) == float(other(a, b)) > 0
    decoded = draw(1, 1, 32, 32, seed=2).requires_grad_()
    one(draw(1, 1, 32, 32), decoded).backward()
    assert float(decoded.grad.abs().sum()) > 0


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(StorageError, match="expected the state of torchvision's squeezenet1_1"):
        PerceptualDistance(path)

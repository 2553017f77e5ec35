import copy

import torch
from conftest import make_space

from galaxy_da.models.networks import Posterior
from training.losses import retention


def test_nothing_moved_costs_nothing_and_any_move_costs():
    before = Posterior(torch.randn(6, 4), torch.rand(6, 4) + 0.1)
    assert retention(before, before) == 0
    assert retention(Posterior(before.mean + 0.1, before.variance), before) > 0
    assert retention(Posterior(before.mean, before.variance * 1.1), before) > 0


def test_no_gradient_reaches_what_was():
    now, was = (Posterior(torch.randn(6, 4), torch.rand(6, 4)) for _ in range(2))
    for value in (*now, *was):
        value.requires_grad_(True)
    retention(now, was).backward()
    assert now.mean.grad is not None and was.mean.grad is None and was.variance.grad is None


def test_it_holds_an_encoder_that_another_term_pulls():
    """Pull an encoder's latents up by its bias, with and without holding it on the same images."""
    network = make_space().encoder("decals").network
    images = torch.randn(32, 3, 64, 64)
    was = network(images)
    moved = {}
    for weight in (0.0, 100.0):
        trained = copy.deepcopy(network)
        trained.mean.bias.requires_grad_(True)
        optimiser = torch.optim.SGD([trained.mean.bias], lr=0.01)
        for _ in range(80):
            now = trained(images)
            loss = -now.mean.mean() + weight * retention(now, was)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        moved[weight] = float((trained.mean.bias - network.mean.bias).detach().abs().max())
    assert moved[100.0] < 0.2 * moved[0.0]

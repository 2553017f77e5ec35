import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.comparisons.networks import NETWORKS
from galaxy_da.models.networks import Architecture


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_40_latents_and_gradients(name):
    torch.manual_seed(0)
    learner = NETWORKS[name](Architecture())
    images = torch.randn(2, 3, 64, 64)
    posterior = learner.encoder(images)
    decoded = learner.decoder(posterior.mean)
    assert posterior.mean.shape == (2, 40) and decoded.shape == images.shape
    (posterior.mean.sum() + decoded.sum()).backward()
    unused = [key for key, value in learner.named_parameters() if value.grad is None]
    assert unused == ["encoder.log_variance.weight", "encoder.log_variance.bias"]


def test_encoders_cost_alike():
    work = {}
    for name in ("ours", "depthwise", "strided"):
        learner = NETWORKS[name](Architecture())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            learner.encoder(torch.randn(1, 3, 64, 64))
        work[name] = counter.get_total_flops() / 2e6
    assert all(12 < value < 17 for value in work.values()), work


def test_xu2023_keeps_its_published_map_with_two_blocks():
    images = torch.randn(1, 3, 64, 64)
    assert NETWORKS["xu2023"](Architecture()).encoder.features(images).shape == (1, 128)
    assert NETWORKS["xu2023-two-blocks"](Architecture()).encoder.features(images).shape == (1, 2048)

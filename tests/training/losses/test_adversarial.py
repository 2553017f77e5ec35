import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn.functional import binary_cross_entropy_with_logits

from training.losses import DomainClassifier, adversarial


def points(n, d=4, seed=0, shift=0.0):
    return torch.tensor(np.random.default_rng(seed).normal(shift, 1, (n, d)), dtype=torch.float32)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return DomainClassifier(4, hidden=8)


def plain(target, anchor, classifier):
    return (
        binary_cross_entropy_with_logits(classifier(target), torch.ones(len(target)))
        + binary_cross_entropy_with_logits(classifier(anchor), torch.zeros(len(anchor)))
    ) / 2


def test_the_value_is_the_classifiers_cross_entropy(classifier):
    target, anchor = points(5, seed=1), points(9, seed=2)
    expected = plain(target, anchor, classifier)
    assert_allclose(
        adversarial(target, anchor, classifier, 0.3).detach(), expected.detach(), rtol=1e-6
    )


def test_the_encoder_gets_the_reversed_gradient_and_the_classifier_the_plain_one(classifier):
    target, anchor = points(5, seed=1).requires_grad_(True), points(5, seed=2)
    parameters = [target, *classifier.parameters()]
    expected = torch.autograd.grad(plain(target, anchor, classifier), parameters)
    found = torch.autograd.grad(adversarial(target, anchor, classifier, 0.3), parameters)
    torch.testing.assert_close(found[0], -0.3 * expected[0])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_minimising_it_brings_the_surveys_together(classifier):
    anchor = points(200, seed=1)
    seen, shift = points(200, seed=2, shift=2.0), torch.zeros(4, requires_grad=True)
    optimiser = torch.optim.Adam([shift, *classifier.parameters()], lr=0.02)
    for _ in range(300):
        loss = adversarial(seen + shift, anchor, classifier)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (seen + shift).mean(0).detach().abs().max() < 0.5


def test_unequal_widths_are_refused(classifier):
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        adversarial(torch.zeros(4, 5), torch.zeros(4, 6), classifier)

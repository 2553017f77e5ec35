import sys
from functools import partial

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample
from scipy.linalg import sqrtm

from benchmarks import flow as module
from benchmarks.anchor import read_drawn
from benchmarks.flow import fit_flow, frechet_distance, sample_quality
from benchmarks.measures.reconstruction import encode_sample
from galaxy_da.io.samples import Sample


def ring(n, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = rng.normal(2, 0.1, n)
    points = np.stack([radius * np.cos(angle), 3 + radius * np.sin(angle)], 1)
    return torch.from_numpy(points).float()


@pytest.mark.slow
def test_flow_fits_a_density_that_is_not_gaussian():
    flow = fit_flow(ring(2000, 0), steps=400)
    drawn = flow.sample(1000, seed=1)
    radius = (drawn - torch.tensor([0.0, 3.0])).norm(dim=1)
    assert float(((radius > 1.5) & (radius < 2.5)).float().mean()) > 0.85
    assert torch.equal(drawn, flow.sample(1000, seed=1))
    validation = ring(500, 5)
    gaussian = torch.distributions.MultivariateNormal(validation.mean(0), validation.T.cov())
    assert (
        float(flow.log_density(validation).mean())
        > float(gaussian.log_prob(validation).mean()) + 0.5
    )


@pytest.mark.slow
def test_density_integrates_to_one():
    flow = fit_flow(ring(500, 0), steps=100)
    along = torch.linspace(-8, 8, 321)
    points = torch.cartesian_prod(along, along + 3)
    total = flow.log_density(points).exp().sum() * 0.05**2
    assert float(total) == pytest.approx(1, abs=0.03)


def test_frechet_distance_equals_that_by_matrix_roots():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 4)), rng.normal(1, 2, size=(400, 4)) @ rng.normal(size=(4, 4))
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_too_few_latents_are_refused():
    with pytest.raises(ValueError, match="at least 20 latent vectors but got 3"):
        fit_flow(torch.zeros(3, 2))


@pytest.fixture
def far_space(tmp_path):
    """A space whose posteriors lie far from the prior, and a sample of it."""
    space = make_space()
    with torch.no_grad():
        space.encoder("decals").network.mean.weight.mul_(200)
        space.encoder("decals").network.mean.bias.add_(5)
        space.decoder.body[-1].weight.mul_(300)
    return space, Sample(write_sample(tmp_path / "sky", blobs(200, 140, 0.262)))


@pytest.mark.slow
def test_draws_of_a_flow_decode_more_like_galaxies_than_draws_of_the_prior(far_space):
    space, sample = far_space
    rows = sample_quality(space, encode_sample(space, sample, 200).inputs, steps=60)
    found = {row["latents"]: row["frechet_to_decoded"] for row in rows}
    assert found["decoded images"] < found["flow"] < 0.5 * found["N(0, I)"]


def test_command_writes_draws_for_the_anchor_report(far_space, tmp_path, monkeypatch, capsys):
    space, sample = far_space
    space.save(tmp_path / "space")
    monkeypatch.setattr(module, "fit_flow", partial(fit_flow, steps=20))
    monkeypatch.setattr(module, "sample_quality", lambda *_: [{"latents": "flow"}])
    out = tmp_path / "draws.npy"
    given = [str(tmp_path / "space"), str(sample.path), "--draws", str(out)]
    monkeypatch.setattr(sys, "argv", ["flow", *given])
    module.main()
    assert read_drawn(out).shape == (200, 6)
    assert "Frechet" in capsys.readouterr().out

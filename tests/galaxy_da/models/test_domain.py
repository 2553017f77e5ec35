from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample

from galaxy_da.errors import SpaceError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.samples import Flag, Sample
from galaxy_da.models.domain import UNLIKE, Domain, read_domain
from galaxy_da.space import LatentSpace


def make_domain(inputs=4, seed=0, **more):
    rng = np.random.default_rng(seed)
    sizes = [inputs, 5, 3]
    made = {
        "reasons": ("a star", "an artefact"),
        "centre": rng.normal(size=inputs).astype(np.float32),
        "spread": rng.uniform(0.5, 2, inputs).astype(np.float32),
        "weights": tuple(rng.normal(size=p).astype(np.float32) for p in pairwise(sizes)),
        "biases": tuple(rng.normal(size=b).astype(np.float32) for b in sizes[1:]),
        "axes": np.eye(inputs, dtype=np.float32),
        "levels": np.sort(rng.normal(size=(2, 999)), 1).astype(np.float32),
    }
    return Domain(**{**made, **more})


def calibrated(domain, galaxies):
    levels = np.sort(domain.measures(galaxies)[0], 1).astype(np.float32)
    return replace(domain, levels=levels)


def test_the_measures_are_those_of_torch():
    domain, x = make_domain(), np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    measures, kind = domain.measures(x)
    z = torch.tensor((x - domain.centre) / domain.spread).clamp(-8, 8)
    hidden = torch.tanh(z @ torch.tensor(domain.weights[0]) + torch.tensor(domain.biases[0]))
    logits = hidden @ torch.tensor(domain.weights[1]) + torch.tensor(domain.biases[1])
    inside = torch.softmax(logits, 1)[:, 0]
    np.testing.assert_allclose(measures[0], torch.logit(1 - inside.double()), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(measures[1], z.square().mean(1), rtol=1e-4)
    assert kind.tolist() == logits[:, 1:].argmax(1).tolist()


def test_one_galaxy_in_a_hundred_is_outside():
    rng = np.random.default_rng(2)
    domain = calibrated(make_domain(), rng.normal(size=(20_000, 4)))
    scores = domain.score(rng.normal(size=(20_000, 4)))
    assert 0.004 < scores.outside.mean() < 0.013  # the two measures overlap
    assert all((reason is not None) == out for reason, out in zip(*vars_of(scores), strict=True))
    for limit in (0.5, 1.0, 1.5):
        assert (scores.score >= limit).mean() < 1.3 * 10**-limit


def vars_of(scores):
    return scores.reasons, scores.outside


def test_far_rows_are_unlike_the_training():
    rng = np.random.default_rng(3)
    flat = replace(make_domain(), weights=(np.zeros((4, 5)), np.zeros((5, 3))))
    domain = calibrated(flat, rng.normal(size=(5000, 4)))
    scores = domain.score(100 + np.zeros((2, 4)))
    assert scores.outside.all() and scores.reasons == [UNLIKE, UNLIKE]


def test_a_domain_is_stored_with_its_space(tmp_path):
    domain = make_domain()
    make_space().with_domain(domain).save(tmp_path)
    loaded = LatentSpace.load(tmp_path)
    assert loaded.domain.hash == domain.hash and loaded.id == make_space().id
    tensors = domain.tensors()
    del tensors["weight_0"]
    with pytest.raises(SpaceError, match="the domain is damaged"):
        read_domain(domain.record(), tensors)
    with pytest.raises(ValueError, match=r"shape \(n, 4\) but have \(2, 9\)"):
        domain.score(np.zeros((2, 9)))


def test_extraction_flags_rows_outside_with_a_reason(tmp_path):
    images = blobs(6, 140, 0.262)
    images[2] = 0
    sample = Sample(write_sample(tmp_path / "d", images))
    plain = extract(make_space(), sample).table
    assert plain["domain_score"].null_count == plain["domain_reason"].null_count == 6
    width = 80
    always = make_domain(
        width,
        biases=(np.zeros(5), np.array([0, 50.0, 0])),
        weights=(np.zeros((width, 5)), np.zeros((5, 3))),
    )
    table = extract(make_space().with_domain(always), sample, settings=ExtractSettings()).table
    reasons = table["domain_reason"].to_pylist()
    assert reasons == ["a star"] * 2 + [None] + ["a star"] * 3
    flags = np.array(table["flags"].to_pylist())
    assert [bool(f & Flag.OUT_OF_DOMAIN) for f in flags] == [r is not None for r in reasons]
    assert table["domain_score"][2].as_py() is None

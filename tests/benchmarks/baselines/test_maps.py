"""Linear baselines, tested on a target encoder that is a known map of the anchor's."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose

from benchmarks.baselines import (
    AdaptationData,
    ByDefinition,
    CoralMap,
    PixelPCA,
    Procrustes,
    RidgeFromFeatures,
    RidgeFromLatents,
    Standardisation,
    all_baselines,
)
from galaxy_da.images.inputs import Inputs
from galaxy_da.surveys import get_survey

LATENTS = 6


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr("galaxy_da.models.devices.has_bf16", lambda device: False)


def inputs(n=60, seed=0):
    """Draw smooth images, so that an untrained encoder gives them different latents."""
    coarse = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Inputs.plain(3 * torch.nn.functional.interpolate(coarse, size=64, mode="bilinear"))


def rotation(seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(LATENTS, LATENTS)))[0]


@torch.no_grad()
def distorted(slope, offset, **changes):
    """Return data whose target encoder gives ``z @ slope + offset`` for anchor latents z."""
    space = make_space()
    plain = space.by_definition(get_survey("sdss"), ("g", "r", "z"))
    encoder = replace(plain, network=copy.deepcopy(plain.network))
    head = encoder.network.mean
    matrix, shift = (torch.as_tensor(a, dtype=torch.float32) for a in (slope, offset))
    head.weight.copy_(matrix.T @ head.weight)
    head.bias.copy_(head.bias @ matrix + shift)
    same = {"anchor": inputs(), "target": inputs(), "paired": True}
    return AdaptationData(space=space, encoder=encoder, **{**same, **changes})


def whiten(data):
    """Return a matrix that whitens the anchor's latents."""
    values, vectors = np.linalg.eigh(np.cov(data.latents[0].T))
    return (vectors / np.sqrt(values)) @ vectors.T


def check_recovers(baseline, data, rtol=1e-3):
    fitted, fresh = baseline.fit(data), inputs(20, seed=9)
    expected = data.space.encode(fresh, "decals").mean
    found = fitted.target(fresh)
    assert found.dtype == torch.float32
    assert_allclose(found, expected, atol=rtol * float(expected.std()))
    assert_allclose(fitted.anchor(fresh), expected)


def test_by_definition_equals_encoding_by_the_space():
    data = distorted(np.diag(np.arange(1.0, 7.0)), np.ones(LATENTS))
    fitted = ByDefinition().fit(data)
    fresh = inputs(8, seed=9)
    assert torch.equal(fitted.anchor(fresh), data.space.encode(fresh, "decals").mean)
    assert torch.equal(fitted.target(fresh), data.space.encode(fresh, data.encoder).mean)


def test_standardisation_undoes_a_scaling_of_each_latent():
    slope = np.diag([0.3, 2.0, 1.0, 5.0, 0.7, 1.5])
    check_recovers(Standardisation(), distorted(slope, np.arange(6.0)))


def test_standardisation_needs_no_pairs():
    slope = np.diag([0.3, 2.0, 1.0, 5.0, 0.7, 1.5])
    shuffled = inputs()[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    check_recovers(
        Standardisation(), distorted(slope, np.arange(6.0), target=shuffled, paired=False)
    )


def test_coral_gives_the_anchors_mean_and_covariance():
    rng = np.random.default_rng(1)
    slope = rotation() @ np.diag(rng.uniform(0.5, 2, LATENTS)) @ rotation(1)
    data = distorted(slope, rng.normal(size=LATENTS), paired=False)
    fitted = CoralMap().fit(data)
    anchor, _ = data.latents
    turns = [data.target.images.rot90(k, (2, 3)) for k in range(4)]
    every = Inputs.plain(torch.cat([*turns, *[t.flip(-1) for t in turns]]))
    found = fitted.target(every).double().numpy()
    covariance = np.cov(anchor.T)
    assert_allclose(found.mean(0), anchor.mean(0), atol=1e-3 * anchor.std())
    assert_allclose(np.cov(found.T), covariance, atol=2e-3 * covariance.max())


def test_coral_undoes_a_symmetric_map_of_white_latents():
    """Whitening and recolouring are symmetric maps, so they recover one exactly."""
    rng = np.random.default_rng(2)
    stretch = rotation() @ np.diag(rng.uniform(0.5, 2, LATENTS)) @ rotation().T
    white = whiten(distorted(np.eye(LATENTS), np.zeros(LATENTS)))
    data = distorted(stretch, rng.normal(size=LATENTS))
    for encoder in (data.space.encoder("decals"), data.encoder):
        head, first = encoder.network.mean, encoder is data.encoder
        matrix = np.linalg.inv(stretch) @ white @ stretch if first else white
        matrix = torch.tensor(matrix, dtype=torch.float32)
        with torch.no_grad():
            head.weight.copy_(matrix.T @ head.weight)
            head.bias.copy_(head.bias @ matrix)
    assert_allclose(np.cov(data.latents[0].T), np.eye(LATENTS), atol=1e-3)
    check_recovers(CoralMap(), data, rtol=5e-3)


def test_procrustes_undoes_a_rotation_and_a_shift():
    check_recovers(Procrustes(), distorted(rotation(), np.arange(6.0)))


@pytest.mark.parametrize("baseline", [RidgeFromLatents(), RidgeFromFeatures()])
def test_ridge_undoes_any_affine_map(baseline):
    rng = np.random.default_rng(1)
    slope = rotation() @ np.diag(rng.uniform(0.5, 2, LATENTS))
    check_recovers(baseline, distorted(slope, rng.normal(size=LATENTS)), rtol=0.02)


def test_pixel_pca_equals_the_singular_vectors():
    strength = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    few = (torch.randn(60, 5) * strength) @ torch.randn(5, 3 * 64 * 64)
    data = distorted(
        np.eye(LATENTS),
        np.zeros(LATENTS),
        anchor=Inputs.plain(few.view(60, 3, 64, 64)),
        paired=False,
    )
    fitted = PixelPCA(components=5).fit(data)
    pixels = few.double().numpy()
    _, _, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    fresh = inputs(10, seed=9)
    expected = (fresh.images.flatten(1).double().numpy() - pixels.mean(0)) @ axes[:5].T
    for project in (fitted.anchor, fitted.target):
        assert_allclose(project(fresh).abs(), np.abs(expected), rtol=1e-3, atol=0.01)
    assert_allclose(fitted.record["explained_variance"], 1, rtol=1e-5)


def test_pixel_pca_replaces_a_missing_band_by_the_nearest():
    space = make_space()
    encoder = space.by_definition(get_survey("sdss"), ("g", "r"))
    target = inputs(50)
    target.images[:, 2] = 0
    data = AdaptationData(
        space=space, encoder=encoder, anchor=inputs(50), target=target, paired=True
    )
    fitted = PixelPCA(components=4).fit(data)
    whole = Inputs.plain(target.images[:, [0, 1, 1]])
    assert torch.equal(fitted.target(target), fitted.anchor(whole))


def test_a_slice_of_latents_describes_the_galaxy():
    slope = np.diag([0.3, 2.0, 1.0, 5.0, 0.7, 1.5])
    data = distorted(slope, np.arange(6.0), galaxy=slice(0, 4))
    fresh = inputs(10, seed=9)
    expected = data.space.encode(fresh, "decals").mean[:, :4]
    for baseline in (Standardisation(), RidgeFromLatents(), CoralMap()):
        fitted = baseline.fit(data)
        assert fitted.anchor(fresh).shape == fitted.target(fresh).shape == (10, 4)
    assert_allclose(Standardisation().fit(data).target(fresh), expected, atol=1e-3)


def test_linear_baselines_leave_the_space_unchanged():
    data = distorted(rotation(), np.arange(6.0))
    networks = {"anchor": data.space.encoder("decals").network, "target": data.encoder.network}
    before = copy.deepcopy({name: network.state_dict() for name, network in networks.items()})
    for baseline in all_baselines():
        if baseline.name not in ("xu2023", "sidda"):
            baseline.fit(data).target(inputs(5))
    for name, network in networks.items():
        assert all(torch.equal(v, before[name][k]) for k, v in network.state_dict().items())


def test_names_are_distinct_and_missing_pairs_are_refused():
    baselines = all_baselines()
    assert len({baseline.name for baseline in baselines}) == len(baselines) == 9
    data = distorted(np.eye(LATENTS), np.zeros(LATENTS), paired=False)
    needing = [baseline for baseline in baselines if baseline.needs_pairs]
    assert [b.name for b in needing] == ["procrustes", "ridge-latents", "ridge-features"]
    for baseline in needing:
        with pytest.raises(ValueError, match=f"{baseline.name} needs paired images"):
            baseline.fit(data)


def test_wrong_shapes_are_refused():
    identity = (np.eye(LATENTS), np.zeros(LATENTS))
    with pytest.raises(ValueError, match="60 of the anchor and 59 of the target"):
        distorted(*identity, target=inputs(59))
    with pytest.raises(ValueError, match=r"target images must have shape \(n, 3, y, x\).*\(60, 2"):
        distorted(*identity, target=Inputs.plain(inputs().images[:, :2]))
    with pytest.raises(ValueError, match=r"40 components need as many .* 20"):
        PixelPCA().fit(distorted(*identity, anchor=inputs(20), paired=False))

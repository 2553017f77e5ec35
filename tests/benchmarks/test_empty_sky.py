import sys

import numpy as np
import pytest
import torch
from conftest import make_space

from benchmarks.empty_sky import empty_sky, main, noisy_and_noiseless
from galaxy_da.images.preparation import Frame
from galaxy_da.surveys import get_survey
from training.pretraining.sky_residuals import beyond_galaxy, sky_residuals

N = 96


@pytest.fixture(scope="module")
def observations():
    return noisy_and_noiseless(get_survey("decals"), Frame(), N, seed=909)


def test_truth_is_the_same_sky_without_noise(observations):
    images, truth = observations[0].images, observations[1]
    assert images.shape == truth.shape and N - 8 < len(images) < N  # a few had artefacts
    difference = (images - truth)[:, :, torch.from_numpy(beyond_galaxy(Frame()))]
    assert difference.median().abs() < 0.01
    nearest = torch.cdist(images.flatten(1), truth.flatten(1)).argmin(1)
    assert (nearest == torch.arange(len(images))).float().mean() > 0.95


def test_pixels_without_light_are_observed_at_zero(observations):
    images, truth = observations[0].images, observations[1]
    dark = (truth.abs() < 0.0016).all(1).numpy()
    for sky in sky_residuals(images, torch.zeros_like(images), Frame(), dark):
        assert abs(sky.residual) < 4 * sky.error < 0.05
        assert 0.2 < sky.share < 0.7


def test_mean_decoder_is_biased_where_pixels_look_dark():
    """A decoder of the mean is unbiased over all pixels and biased over dark ones."""
    rng = np.random.default_rng(0)
    light = 0.5 * (rng.random((200, 1, 8, 8)) < 0.1).repeat(8, 2).repeat(8, 3)
    images = torch.from_numpy(rng.normal(light, 0.3, (200, 3, 64, 64)).astype(np.float32))
    decoded = torch.full_like(images, 0.05)
    every_pixel, dark = np.ones((200, 64, 64), bool), light[:, 0] == 0
    for sky in sky_residuals(images, decoded, Frame(), every_pixel):
        assert abs(sky.residual) < 4 * sky.error
    for sky in sky_residuals(images, decoded, Frame(), dark):
        assert sky.residual == pytest.approx(0.05 / 0.3, abs=0.01)
        assert sky.noise == pytest.approx(0.3, rel=0.02)
    for sky in sky_residuals(images, decoded, Frame()):
        assert 0.05 < sky.residual < 0.18


def test_offset_is_found_for_every_choice(observations):
    space = make_space(nuisance_latents=2)
    before = empty_sky(space, *observations)
    with torch.no_grad():
        space.decoder.body[-1].bias += 0.1
    for old, new in zip(before, empty_sky(space, *observations), strict=True):
        assert all(new[name] == old[name] for name in ("pixels", "band", "share"))
        assert 0.25 < new["residual"] - old["residual"] < 0.35


def test_command_prints_every_choice_and_band(tmp_path, monkeypatch, capsys):
    make_space(nuisance_latents=2).save(tmp_path / "space")
    arguments = ["empty_sky", str(tmp_path / "space"), "--galaxies", "32", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    out = capsys.readouterr().out
    assert [out.count(name) for name in ("other bands", "no light", "all")] == [3, 3, 3]

import numpy as np
import pytest
import torch

from galaxy_da.models.networks import Architecture, Encoder, VariationalAutoencoder
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace
from training.losses import contrast_repeats
from training.pretraining.learner import swap_galaxy_latents
from training.pretraining.recipe import Recipe
from training.pretraining.run import pretrain

SPLIT = Architecture(
    pixels=16, patch=2, widths=(8, 8), blocks=(1, 1), features=16, latents=6, nuisance_latents=2
)


def test_galaxy_latents_are_swapped_and_nuisance_latents_kept():
    drawn = torch.arange(24.0).reshape(4, 6)
    changed = swap_galaxy_latents(drawn, 4)
    assert torch.equal(changed[:, :4], drawn[[2, 3, 0, 1], :4])
    assert torch.equal(changed[:, 4:], drawn[:, 4:])


def test_contrast_is_the_log_softmax_of_distances_at_any_scale():
    galaxy = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    first, second = galaxy.numpy()[:5], galaxy.numpy()[5:]
    squared = ((first[:, None] - second[None]) ** 2).sum(-1)
    logits = -squared / np.median(np.diag(squared))
    rows = np.log(np.exp(np.diag(logits)) / np.exp(logits).sum(1))
    columns = np.log(np.exp(np.diag(logits)) / np.exp(logits).sum(0))
    # torch takes the lower of two middle values, so an odd number of pairs
    assert contrast_repeats(galaxy) == pytest.approx(-(rows.mean() + columns.mean()) / 2, rel=1e-4)
    assert contrast_repeats(7 * galaxy) == pytest.approx(float(contrast_repeats(galaxy)), rel=1e-4)


def test_pooled_galaxy_latents_are_the_same_in_every_symmetry_and_nuisance_latents_differ():
    torch.manual_seed(1)
    encoder = Encoder(SPLIT.model_copy(update={"symmetric": True}))
    images = torch.randn(3, 3, 16, 16)
    upright = encoder.pooled(images)
    for k in range(1, SYMMETRIES):
        rotated = encoder.pooled(apply_symmetry(images, k))
        torch.testing.assert_close(rotated.mean[:, :4], upright.mean[:, :4])
        torch.testing.assert_close(rotated.variance[:, :4], upright.variance[:, :4])
        assert not torch.allclose(rotated.mean[:, 4:], upright.mean[:, 4:])
    torch.testing.assert_close(upright.mean[:, 4:], encoder(images).mean[:, 4:])
    plain = Encoder(SPLIT)
    torch.testing.assert_close(plain.pooled(images).mean, plain(images).mean)


def test_nuisance_latents_must_leave_some_for_the_galaxy():
    assert SPLIT.galaxy_latents == 4
    with pytest.raises(ValueError, match="fewer than the 6 latents but are 6"):
        Architecture.model_validate({"latents": 6, "nuisance_latents": 6})


def test_latents_can_be_changed_before_decoding():
    torch.manual_seed(0)
    model = VariationalAutoencoder(SPLIT)
    _, decoded = model(torch.randn(2, 3, 16, 16), torch.zeros_like)
    torch.testing.assert_close(decoded, model.decoder(torch.zeros(2, 6)))


def test_training_on_two_observations_lowers_the_contrast(tmp_path):
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "sky": {"galaxies": 192},
            "architecture": {
                "widths": (8, 16, 16), "features": 32, "latents": 6, "nuisance_latents": 2,
            },
            "objective": {"noise": 0.33, "contrast": 300},
            "optimiser": {"epochs": 4, "batch": 32, "learning_rate": 3e-3, "warmup_steps": 5},
        }
    )  # fmt: skip
    space = pretrain(recipe, tmp_path / "s")
    curves = space.training["curves"]
    assert curves[-1]["contrast"] < curves[0]["contrast"]
    assert LatentSpace.load(tmp_path / "s").galaxy_latents == 4

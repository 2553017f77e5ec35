"""Words for the effects of latents, on a decoder whose every latent has a known effect."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from galaxy_da.queries.latent_effects import latent_effects

PIXELS, SCALE, SOFTENING = 64, 0.5, (0.1, 0.2, 0.4)
EFFECTS = (
    "brighter", "larger", "rounder", "redder", "turned", "shifted", "more compact", "nothing"
)  # fmt: skip


def draw(latents):
    """Draw a Gaussian galaxy, with a core if latent 6 is large, in three bands."""
    bright, size, shape, colour, angle, shift, core, _ = latents
    grid = (np.arange(PIXELS) - (PIXELS - 1) / 2) * SCALE
    x, y = np.meshgrid(grid - shift, grid)
    turn = 0.4 + 0.5 * angle
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = 3 * np.exp(0.15 * size)
    ratio = 0.6 + 0.1 * shape
    square = (along**2 * ratio + across**2 / ratio) / radius**2
    light = np.exp(-0.5 * square)
    pointed = np.exp(-3 * np.sqrt(square))
    light = light / light.sum() + 0.25 * (1 + core) * (
        pointed / pointed.sum() - light / light.sum()
    )
    flux = 100 * 10 ** (0.16 * bright) * 10 ** (0.1 * colour * np.array([-1, 0, 1]))
    return light * flux[:, None, None]


def decoder(points):
    brightness = np.stack([draw(point) for point in np.asarray(points, float)])
    return torch.from_numpy(np.arcsinh(brightness / np.array(SOFTENING)[:, None, None]))


SPACE = SimpleNamespace(
    decode=decoder, frame=SimpleNamespace(softening=SOFTENING, pixel_scale_arcsec=SCALE)
)


@pytest.mark.parametrize("i", range(len(EFFECTS)))
def test_each_latent_is_named_by_its_effect(i):
    effect = latent_effects(SPACE, np.zeros(8), np.ones(8))[i]
    assert effect.words[:1] == (() if EFFECTS[i] == "nothing" else (EFFECTS[i],))


def test_opposite_direction_has_the_opposite_word():
    effects = latent_effects(SPACE, np.zeros(8), -np.ones(8))
    opposite = ("fainter", "smaller", "flatter", "bluer", "turned", "shifted", "more diffuse")
    assert tuple(effect.words[0] for effect in effects[:7]) == opposite


def test_strength_is_the_share_of_the_light_that_changes():
    effects = latent_effects(SPACE, np.zeros(8), np.ones(8))
    up, down = 10 ** (0.16 * 1.5), 10 ** (-0.16 * 1.5)
    assert np.isclose(effects[0].strength, 2 * (up - down) / (up + down), rtol=1e-3)
    assert effects[7].strength == 0

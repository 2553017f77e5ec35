"""Variations of training images."""

import numpy as np
import pytest
import torch

from galaxy_da.images.instrument import PER_BAND
from galaxy_da.images.preparation import Frame
from training.anchor.augment import Augmentation, hard_batches
from training.anchor.recipe import Jitter

FRAME = Frame(wide_pixel_scale_arcsec=2.096)
EXACT = Jitter(gain=0, colour=0, bright=0)


def conditions(n, picture=False):
    numbers = torch.full((n, 3 * PER_BAND + 2), 0.5)
    numbers[:, 0 : 3 * PER_BAND : PER_BAND] = 1
    numbers[:, -1] = 1 if picture else -1
    return numbers


def varied(jitter, images, numbers, lose_bands=None):
    """Vary images, all of which keep their bands by default."""
    if lose_bands is None:
        lose_bands = torch.zeros(len(images), dtype=torch.bool)
    return Augmentation(FRAME, jitter, 1)(images, numbers, lose_bands)


def test_stamps_end_at_the_same_angle_on_both_grids():
    out = varied(EXACT, torch.ones(400, 6, 64, 64), conditions(400))
    grids = (out.images[:, 6], out.images[:, 7])
    widths = [
        grid[:, 32].sum(1) * scale for grid, scale in zip(grids, FRAME.scales_arcsec, strict=True)
    ]
    whole = widths[0] >= FRAME.field_of_view_arcsec - 0.1
    square = torch.stack([g.sum(2).amax(1) == g.sum(1).amax(1) for g in grids]).all(0)
    inside = ~whole & square
    assert inside.sum() > 50 and (widths[0] - widths[1])[inside].abs().max() < 2 * 2.096
    assert (widths[1][whole & square] >= 30).all() and (widths[1] > 130).any()
    np.testing.assert_array_equal(out.images[:, :3], grids[0][:, None].expand(-1, 3, -1, -1))


def test_lost_bands_are_dark_and_said_so():
    n = 500
    out = varied(EXACT, torch.ones(n, 6, 64, 64), conditions(n), torch.arange(n) >= 100)
    present = out.conditions[:, 0 : 3 * PER_BAND : PER_BAND] > 0
    lit = out.images[:, :3].flatten(2).any(2)
    assert torch.equal(present, lit) and torch.equal(lit, out.images[:, 3:6].flatten(2).any(2))
    assert present[:100].all() and present.any(1).all()
    assert 0.2 < (~present[100:].all(1)).float().mean() < 0.4
    assert (out.conditions[:, 1:PER_BAND][~present[:, 0]] == 0).all()


def test_pictures_are_changed_more_than_fluxes():
    flux, picture = (
        varied(Jitter(), torch.full((300, 6, 64, 64), 3.0), conditions(300, kind)).images
        for kind in (False, True)
    )
    spread = [float(images[:, 0, 32, 32].std()) for images in (flux, picture)]
    assert spread[1] == pytest.approx(spread[0] / Jitter().flux_share, rel=0.2)


def test_hard_batches_hold_galaxies_of_similar_magnitude():
    rng = np.random.default_rng(0)
    magnitude = rng.uniform(12, 22, 4096)
    easy, hard = (hard_batches(magnitude, 64, share, np.random.default_rng(1)) for share in (0, 1))
    for batches in (easy, hard):
        assert sorted(np.concatenate(batches)) == list(range(4096))
    spread = [np.mean([magnitude[rows].std() for rows in batches]) for batches in (easy, hard)]
    assert spread[1] < 0.4 * spread[0]

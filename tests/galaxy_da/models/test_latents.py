import numpy as np
import torch

from galaxy_da.models.latents import join_latents


def test_galaxy_latents_come_first():
    galaxy, nuisance = np.arange(6.0).reshape(3, 2), np.arange(3.0)[:, None]
    expected = [[0, 1, 0], [2, 3, 1], [4, 5, 2]]
    np.testing.assert_array_equal(join_latents(galaxy, nuisance), expected)
    joined = join_latents(torch.from_numpy(galaxy), torch.from_numpy(nuisance))
    assert joined.tolist() == expected

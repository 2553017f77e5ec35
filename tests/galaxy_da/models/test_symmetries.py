import numpy as np
import torch

from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry


def test_all_eight_are_different_and_keep_the_pixels():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    rotated = {tuple(apply_symmetry(image, k).flatten().tolist()) for k in range(SYMMETRIES)}
    assert len(rotated) == 8
    assert all(sorted(t) == list(range(9)) for t in rotated)


def test_rotations_match_numpy():
    image = torch.randn(2, 3, 5, 5)
    np.testing.assert_array_equal(apply_symmetry(image, 3), np.rot90(image.numpy(), 3, (2, 3)))
    assert torch.equal(apply_symmetry(image, 0), image)

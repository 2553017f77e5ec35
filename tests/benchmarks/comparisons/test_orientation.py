import numpy as np
import pytest
import torch

from benchmarks.comparisons.orientation import canonical
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry


def galaxy(angle, mirrored=False, side=65):
    """Draw a skewed bar at an angle [rad] from x towards y, without rotating pixels."""
    along = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(along, along, indexing="ij")
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    v = -v if mirrored else v
    bar = torch.exp(-0.5 * ((u / 0.25) ** 2 + (v / 0.08) ** 2))
    knot = torch.exp(-0.5 * ((u - 0.3) ** 2 + (v - 0.12) ** 2) / 0.05**2)
    return (bar + 0.7 * knot).expand(1, 2, side, side).contiguous()


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.3, 2.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_canonical_image_does_not_depend_on_orientation(angle, mirrored):
    expected, first = canonical(galaxy(0.0))
    found, pose = canonical(galaxy(angle, mirrored))
    assert float((found - expected).abs().max()) < 0.06 * float(expected.max())
    off = float(pose.angle - first.angle * (-1 if mirrored else 1)) - angle
    assert abs((off + np.pi / 2) % np.pi - np.pi / 2) < 0.02


def test_skews_are_positive_and_all_symmetries_give_one_image():
    image = galaxy(0.7)
    expected, _ = canonical(image)
    light = expected[0].sum(0)
    along = torch.linspace(-1, 1, 65)
    assert float((light * along**3).sum()) > 0 and float((light * along[:, None] ** 3).sum()) > 0
    every, pose = canonical(torch.cat([apply_symmetry(image, k) for k in range(SYMMETRIES)]))
    assert float((every - expected).abs().max()) < 1e-3
    assert len({(round(float(a), 3), *m.tolist()) for a, m in zip(*pose, strict=True)}) == 8

"""Adaptive moments, against the Gaussians that they are the moments of."""

import galsim
import numpy as np
import pytest
import torch

from galaxy_da.images.moments import adaptive_shape


@pytest.mark.parametrize("side", [64, 63])
@pytest.mark.parametrize(("ratio", "angle"), [(0.5, 20.0), (0.8, 110.0), (0.95, 170.0)])
def test_shape_of_a_gaussian_and_of_noise_odd_about_the_middle(side, ratio, angle):
    # East is to the left: the position angle is measured from y through -x.
    shear = galsim.Shear(q=ratio, beta=(angle + 90) * galsim.degrees)
    drawn = galsim.Gaussian(sigma=5).shear(shear).drawImage(nx=side, ny=side, scale=1, method="sb")
    image = torch.from_numpy(drawn.array.copy())[None]
    odd = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, side, side))).float()
    image = torch.cat([image, image + odd - odd.flip(1, 2)])
    found = adaptive_shape(image, torch.full((2,), 4.0))
    np.testing.assert_allclose(found[0].numpy(), ratio, atol=2e-3)
    np.testing.assert_allclose(found[1].numpy(), angle, atol=0.3)

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_da.images.resampling import covered_share, overlap_weights, resample


def brute_force(image, pixels, ratio, x, y, steps=64):
    """Sample every output pixel on a fine grid of points and average."""
    sub = (np.arange(pixels * steps) + 0.5) / steps - pixels / 2
    columns = np.floor(sub * ratio + x + 0.5).astype(int)
    rows = np.floor(sub * ratio + y + 0.5).astype(int)
    height, width = image.shape
    padded = np.zeros((height + 2, width + 2))
    padded[1:-1, 1:-1] = image
    fine = padded[np.clip(rows + 1, 0, height + 1)][:, np.clip(columns + 1, 0, width + 1)]
    return fine.reshape(pixels, steps, pixels, steps).mean((1, 3))


@settings(max_examples=25, deadline=None)
@given(
    ratio=st.floats(0.3, 4),
    x=st.floats(2, 9),
    y=st.floats(2, 9),
    seed=st.integers(0, 100),
)
def test_matches_brute_force_area_average(ratio, x, y, seed):
    image = np.random.default_rng(seed).normal(size=(11, 12))
    ours = resample(torch.tensor(image[None, None]).float(), 5, ratio, (x, y))[0, 0].numpy()
    assert np.abs(ours - brute_force(image, 5, ratio, x, y)).max() < 0.15 * max(1, 1 / ratio)


def test_halving_is_average_pooling():
    image = torch.randn(3, 2, 128, 128)
    expected = torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(resample(image, 64, 2.0), expected, rtol=0, atol=1e-6)


def test_flux_is_conserved_where_the_image_is_covered():
    image = torch.zeros(1, 1, 40, 40)
    image[..., 10:30, 10:30] = torch.rand(20, 20)
    out = resample(image, 64, 0.625 * 1.37)
    assert out.sum() * (0.625 * 1.37) ** 2 == pytest.approx(float(image.sum()), rel=1e-5)


def test_each_image_may_have_its_own_grid():
    image = torch.randn(2, 1, 20, 20)
    both = resample(image, 8, torch.tensor([1.5, 2.0]), (torch.tensor([9.0, 9.5]), 9.5))
    alone = resample(image[1:], 8, 2.0, (9.5, 9.5))
    torch.testing.assert_close(both[1:], alone)


def test_weights_sum_to_one_inside():
    weights = overlap_weights(30, 6, 2.5, 14.5)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 6))


@pytest.mark.parametrize("shape", [(20, 30), (90, 70), (5, 200)])
@pytest.mark.parametrize("centres", [[(9.3, 4.0)], [(9.3, 4.0), (40.0, 2.5), (-90.0, 3.0)]])
def test_rows_and_columns_without_overlap_are_skipped_exactly(shape, centres):
    image = torch.randn(3, 2, *shape)
    x, y = torch.tensor(centres).T
    ratio = torch.tensor([2.6, 1.1, 3.0][: len(x)])
    rows = overlap_weights(shape[0], 16, ratio, y)
    columns = overlap_weights(shape[1], 16, ratio, x)
    whole = torch.einsum("nij,nbjk,nlk->nbil", *(
        part.expand(3, *part.shape[1:]).double() for part in (rows, image, columns)
    ))  # fmt: skip
    torch.testing.assert_close(resample(image, 16, ratio, (x, y)), whole.float())


@pytest.mark.parametrize("ratio", [0.3, 2.37, 40.0])
def test_covered_share_is_what_becomes_of_ones(ratio):
    ratios, centre = torch.tensor([ratio, ratio * 1.1]), (torch.tensor([9.0, 12.5]), 15.0)
    expected = resample(torch.ones(2, 1, 30, 20), 16, ratios, centre)
    torch.testing.assert_close(covered_share((30, 20), 16, ratios, centre), expected)


@pytest.mark.parametrize("ratio", [2.0, torch.tensor([2.0, 3.0])])
def test_an_image_beside_the_grid_gives_zeros(ratio):
    far = torch.tensor([500.0, 500.0])
    assert (resample(torch.ones(2, 3, 20, 20), 8, ratio, (far, 9.5)) == 0).all()

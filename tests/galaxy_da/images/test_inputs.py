import numpy as np
import pytest
import torch

from galaxy_da.images.inputs import Inputs


@pytest.fixture
def inputs():
    draw = torch.Generator().manual_seed(0)
    return Inputs(torch.rand(7, 2, 4, 4, generator=draw), torch.rand(7, 5, generator=draw))


def same(one, other):
    return torch.equal(one.images, other.images) and torch.equal(one.conditions, other.conditions)


@pytest.mark.parametrize(
    "rows", [slice(2, 5), np.array([4, 0, 0]), torch.arange(7) > 3, [1], [-1, 2]]
)
def test_rows_of_images_keep_their_conditions(inputs, rows):
    part = inputs[rows]
    numbers = np.arange(7)[np.asarray(rows) if not isinstance(rows, slice) else rows]
    assert len(part) == len(numbers)
    for row, number in enumerate(numbers):
        assert torch.equal(part.images[row], inputs.images[number])
        assert torch.equal(part.conditions[row], inputs.conditions[number])


def test_batches_join_to_the_whole(inputs):
    batches = list(inputs.split(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert same(Inputs.join(batches), inputs)


def test_a_device_and_other_images_keep_the_conditions(inputs):
    moved = inputs.to("cpu")
    assert same(moved, inputs) and moved.images.is_contiguous(memory_format=torch.channels_last)
    other = inputs.with_images(inputs.images + 1)
    assert torch.equal(other.images, inputs.images + 1)
    assert torch.equal(other.conditions, inputs.conditions)
    assert Inputs.plain(inputs.images).conditions.shape == (7, 0)

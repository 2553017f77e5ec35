"""Trainings that a scaling compares, and their recall."""

import numpy as np

from benchmarks.anchor_scaling import observed_inputs, recalls, variants
from galaxy_da.space import LatentSpace


def test_parts_share_one_sky_and_networks_one_size_of_data():
    found = variants(steps=7, batch=64, most=32768)
    assert [recipe.galaxies for recipe in found.values()] == [2048, 8192, *[32768] * 4]
    drawn = {
        recipe.model_dump_json(include={"seed", "layers", "frame"}) for recipe in found.values()
    }
    assert len(drawn) == 1  # what identifies a drawn sky
    assert {recipe.schedule.steps for recipe in found.values()} == {7}
    widths = [recipe.architecture.widths for recipe in found.values()]
    assert len(set(widths)) == 4


def test_recall_is_that_of_brute_force():
    space = LatentSpace.load("decals")
    inputs = observed_inputs(space, 32)
    found = recalls(space, inputs)
    pool = space.encode(inputs["decals"], space.anchor).mean.numpy()
    for name, width in (("sdss", 40), ("hsc-rotated", 28)):
        own = space.encode(inputs[name], space.anchor).mean.numpy()[:, :width]
        distance = np.linalg.norm(own[:, None] - pool[None, :, :width], axis=2)
        assert found[name] == np.mean(distance.argmin(1) == np.arange(32))
    assert found["encode_us"] > 0

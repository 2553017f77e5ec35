import numpy as np
import pytest
import torch

from benchmarks import training_speed as speed


def test_ways_take_turns_and_the_first_turn_only_warms_up():
    order = []

    def way(name, rates):
        rates = iter(rates)
        return lambda: (order.append(name), next(rates))[1]

    rows = speed._race({"a": way("a", [1, 10, 20, 30]), "b": way("b", [99, 20, 20, 90])}, "a", 3)
    assert order == ["a", "b"] * 4
    assert [row["images_per_s"] for row in rows] == [20, 20]
    assert [row["to_plain"] for row in rows] == [1.0, 2.0]


def test_the_plain_loop_is_the_librarys_objective(monkeypatch):
    """One step of each from the same weights and draws gives the same weights."""
    learners = []
    real = torch.optim.AdamW

    def optimiser(parameters, **settings):
        learners.append(list(parameters))
        return real(learners[-1], **settings)

    monkeypatch.setattr(speed.torch.optim, "AdamW", optimiser)
    images = torch.randn(8, 3, 64, 64)
    for way in (speed._plain(images), speed._step(images, "fp32", last=False, batch=8)):
        torch.manual_seed(5)
        assert way() > 0
    for ours, plain in zip(*learners, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tables_have_every_way_and_every_size(monkeypatch):
    monkeypatch.setattr(speed, "_IMAGES", 64)
    monkeypatch.setattr(speed, "_BATCH", 32)
    monkeypatch.setattr(speed.torch, "compile", lambda model: model)
    rows = {row["what"]: row for row in speed.training_rows(rounds=1)}
    assert {"plain fp32 eager", "as trained", "bf16, channels last, compiled"} < set(rows)
    assert rows["plain fp32 eager"]["to_plain"] == 1.0
    sizes = speed.growth_rows((64, 128), rounds=1)
    assert [row["images"] for row in sizes] == [64, 128] and sizes[0]["to_first"] == 1.0
    for row in sizes:
        assert row["epoch_s"] == pytest.approx(row["images"] / row["images_per_s"])
    assert np.isfinite([row["images_per_s"] for row in rows.values()]).all()

import numpy as np
import pytest
import torch

from benchmarks import training_speed as speed


def test_variants_alternate_after_a_warm_up():
    order = []

    def variant(name, rates):
        rates = iter(rates)
        return lambda: (order.append(name), next(rates))[1]

    rows = speed._alternate(
        {"a": variant("a", [1, 10, 20, 30]), "b": variant("b", [99, 20, 20, 90])}, "a", 3
    )
    assert order == ["a", "b"] * 4
    assert [row["images_per_s"] for row in rows] == [20, 20]
    assert [row["to_first"] for row in rows] == [1.0, 2.0]


def test_plain_loop_equals_the_objective_of_the_library(monkeypatch):
    learners = []
    real = torch.optim.AdamW

    def optimiser(parameters, **settings):
        learners.append(list(parameters))
        return real(learners[-1], **settings)

    monkeypatch.setattr(speed.torch.optim, "AdamW", optimiser)
    images = torch.randn(8, 3, 64, 64)
    for variant in (speed._plain(images), speed._step(images, "fp32", last=False, batch=8)):
        torch.manual_seed(5)
        assert variant() > 0
    for ours, plain in zip(*learners, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tables_have_every_variant_and_size(monkeypatch):
    monkeypatch.setattr(speed, "_BATCH", 32)
    monkeypatch.setattr(speed.torch, "compile", lambda model: model)
    rows = {row["variant"]: row for row in speed.training_rows(64, rounds=1)}
    assert {"plain fp32 eager", "as trained", "bf16, channels last, compiled"} < set(rows)
    assert rows["plain fp32 eager"]["to_first"] == 1.0
    sizes = speed.growth_rows((64, 128), rounds=1)
    assert [row["images"] for row in sizes] == [64, 128] and sizes[0]["to_first"] == 1.0
    for row in sizes:
        assert row["epoch_s"] == pytest.approx(row["images"] / row["images_per_s"])
    assert np.isfinite([row["images_per_s"] for row in rows.values()]).all()

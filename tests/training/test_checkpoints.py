import pytest
import torch

from galaxy_da.errors import StorageError
from training.checkpoints import load_checkpoint, save_checkpoint


def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def step(model, optimiser, seed):
    torch.manual_seed(seed)
    model(torch.randn(8, 3)).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()


def test_a_restored_optimiser_takes_the_same_steps(tmp_path):
    model, optimiser = make()
    for seed in range(3):
        step(model, optimiser, seed)
    save_checkpoint(tmp_path / "c.safetensors", model, optimiser, {"curves": [1.5]})
    other, other_optimiser = make()
    record = load_checkpoint(tmp_path / "c.safetensors", other, other_optimiser)
    assert record == {"curves": [1.5]}
    for seed in range(3, 6):
        step(model, optimiser, seed)
        step(other, other_optimiser, seed)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def test_another_models_checkpoint_is_refused(tmp_path):
    model, optimiser = make()
    step(model, optimiser, 0)
    save_checkpoint(tmp_path / "c.safetensors", model, optimiser, {})
    wider = torch.nn.Linear(9, 9)
    with pytest.raises(StorageError, match="not a checkpoint of this recipe"):
        load_checkpoint(tmp_path / "c.safetensors", wider, torch.optim.AdamW(wider.parameters()))
    (tmp_path / "c.safetensors").write_bytes(b"junk")
    with pytest.raises(StorageError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "c.safetensors", model, optimiser)

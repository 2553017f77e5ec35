import socket

import numpy as np
import pytest
import sharing_helpers as helpers
import torch
from conftest import blobs, write_sample

from training.parallel.processes import Share

COMPARED = [
    *(f"objective {name}" for name in helpers.OBJECTIVES),
    *(f"latents {name}" for name in helpers.LATENT_LOSSES),
    "fine_tune",
    "instrument",
    "read",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Compute in one process, and in two that share each batch."""
    folder = tmp_path_factory.mktemp("shared")
    n = 96
    images = blobs(n, 80, 0.262)
    images[44] = np.nan
    rng = np.random.default_rng(0)
    redshift, kind = rng.uniform(0.1, 0.3, n), np.where(np.arange(n) % 3, "spiral", None)
    write_sample(folder, images, redshift=redshift, label=kind)
    helpers.everything(folder / "one")
    in_two(helpers.in_two_processes, folder)
    return folder


def in_two(function, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(function, (port, folder), nprocs=2)


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_have_the_loss_and_gradient_of_one(folder, name):
    """Batches do not divide by two, and one process has no labels."""
    one, first, second = (
        helpers.load(folder / who / f"{name}.safetensors")
        for who in ("one", "process-0", "process-1")
    )
    assert any(value.abs().max() > 1e-4 for value in one.values())
    for key, value in one.items():
        scale = float(value.abs().max()) if value.is_floating_point() else 0.0
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-5 * scale + 1e-7)
        torch.testing.assert_close(second[key], first[key], rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("name", ["trained", "fine-tuned"])
def test_two_processes_train_to_the_weights_of_one(folder, name):
    one, *two = (
        helpers.load(folder / who / f"{name}.safetensors")
        for who in ("one", "process-0", "process-1")
    )
    for weights in two:
        for key, value in one.items():
            torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def again(folder):
    """Continue in one process from checkpoints of two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.parallel.fabric.has_bf16", lambda device: False)
        return helpers.resumed(folder, folder / "two", folder / "one")


@pytest.mark.parametrize("name", ["trained", "fine-tuned"])
def test_training_continues_with_another_number_of_processes(folder, again, name):
    straight = helpers.load(folder / "one" / f"{name}.safetensors")
    from_one = helpers.load(folder / "process-0" / f"{name} again.safetensors")
    for weights in (from_one, again[f"{name} again"]):
        for key, value in straight.items():
            torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_adaptation_continues_with_another_number_of_processes(tmp_path):
    """It ends with the same fit and scores; Adam turns rounding into other weights."""
    helpers.write_two_surveys(tmp_path, 360)
    straight = helpers.adaptations(tmp_path, tmp_path / "work-one")["adapted"]
    in_two(helpers.adapt_in_two_processes, tmp_path)
    found = {
        path.stem: helpers.load(path) for path in (tmp_path / "process-0").glob("*.safetensors")
    }
    again = helpers.adapted_again(tmp_path, tmp_path / "work-two", tmp_path / "one-after-two")
    assert straight["curves"][:, 0].tolist() == [2, 4, 6]
    assert found.keys() == {"adapted", *again}
    for adapted in (*found.values(), *again.values()):
        for key in ("scores", "curves", "correction.log_gain", "correction.sky"):
            torch.testing.assert_close(adapted[key], straight[key], rtol=1e-2, atol=3e-2)


def test_an_error_in_one_process_ends_both_and_is_raised_once(folder):
    ends = [(folder / f"process-{number}" / "end.txt").read_text() for number in (0, 1)]
    assert ends == ["SystemExit(3)", "TableError('only the second process finds this')"]


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shares_divide_the_rows(processes):
    rows = np.arange(7)
    own = [Share(7, number, processes) for number in range(processes)]
    assert sorted(np.concatenate([rows[share.own] for share in own])) == rows.tolist()
    assert [len(share) for share in own] == [len(rows[share.own]) for share in own]

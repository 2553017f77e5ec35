"""Computations of one process, and of two that share each batch, kept in files for comparison."""

import functools
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from conftest import blobs, make_space, pair_table, write_sample
from torch import nn

from galaxy_da.errors import TableError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training import losses
from training.adaptation import AdaptSettings, FineTuningSettings, adapt, fine_tuning
from training.adaptation.fine_tuning import (
    MeanOfTensors,
    PairLosses,
    anchor_latents,
    batch_means,
    fine_tune,
)
from training.adaptation.images import PairedImages, load_shared_images
from training.adaptation.instrument import fit_to_pairs
from training.parallel import fabric
from training.parallel.launch import process_group
from training.parallel.processes import Share, is_first, wait
from training.pretraining import Recipe, loop, pretrain
from training.pretraining.conditional import ConditionalAutoencoder
from training.pretraining.learner import Batch, Learner, loss_of

PIXELS, LATENTS, GALAXIES = 32, 4, 7
OBJECTIVES = {
    "elbo": {},
    "mmd": {"mmd": 50.0},
    "classes": {"classes": 50.0},
    "cvae": {},
    "cvae2": {},
    "cvae-predict": {"redshift": 50.0},
}
LATENT_LOSSES = {
    "paired": lambda a, b: losses.paired(a, b, torch.full((LATENTS,), 0.5)),
    "contrastive": lambda a, b: losses.contrastive(a, b, 0.7),
    "mmd": losses.mmd,
}
TRAINED = Recipe.model_validate(
    {
        "name": "tiny",
        "seed": 3,
        "sky": {"galaxies": 1},
        "condition": "cvae-predict",
        "architecture": {"widths": (8, 8, 8), "features": 16, "latents": LATENTS},
        "objective": {"noise": 0.3, "mmd": 50.0, "classes": 50.0, "redshift": 50.0},
        "optimiser": {"epochs": 2, "batch": 15, "learning_rate": 1e-3, "warmup_steps": 2},
    }
)
ADAPTED = AdaptSettings(fine_tuning=FineTuningSettings(steps=6, check_every=2, batch=32), seed=1)
TUNED = AdaptSettings(fine_tuning=FineTuningSettings(steps=3, batch=17, check_every=1), seed=2)


def in_two_processes(number, port, folder):
    """Compute everything in a group of two, and fail in the second process."""
    join(number, port)
    everything(folder / f"process-{number}", folder / "one")
    end = "no error"
    try:
        with process_group():
            if number == 1:
                raise TableError("only the second process finds this")
    except (TableError, SystemExit) as error:
        end = repr(error)
    (folder / f"process-{number}" / "end.txt").write_text(end)


def join(number, port):
    """Join a group of two, with the environment that ``torchrun`` sets."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    os.environ |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2")
    os.environ |= {name: str(number) for name in ("RANK", "LOCAL_RANK")}
    os.environ |= {"GROUP_RANK": "0"}
    torch.set_num_threads(1)


def everything(folder, earlier=None):
    """Compute all that tests compare; continue from the checkpoints of an earlier computation."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fabric, "has_bf16", lambda device: False)
        lightning = fabric.make_fabric()
        results = {}
        for name, objective in OBJECTIVES.items():
            results[f"objective {name}"] = objective_gradients(lightning, name, objective)
        for name, loss in LATENT_LOSSES.items():
            results[f"latents {name}"] = latent_gradients(lightning, loss)
        results["fine_tune"] = fine_tuning_gradients(lightning)
        results["instrument"] = {"numbers": torch.tensor(fit_to_pairs(pairs()[0]))}
        results["read"] = read(folder.parent / "sample.parquet")
        shared = folder.parent / ("one" if earlier is None else "two")
        shared.mkdir(exist_ok=True)
        with keeps_checkpoints(patch, fine_tuning, shared / "fine-tuned"):
            results["fine-tuned"] = fine_tuned(shared / "fine-tuned")
        with keeps_checkpoints(patch, loop, shared / "trained"):
            results["trained"] = pretrained(folder.parent, shared / "trained")
        if earlier is not None:
            results |= resumed(folder.parent, earlier, shared)
    keep(results, folder)


def keep(results, folder):
    for name, tensors in results.items():
        copies = {key: value.contiguous().clone() for key, value in tensors.items()}
        safetensors.torch.save_file(copies, folder / f"{name}.safetensors")


def load(path: Path):
    return safetensors.torch.load_file(path)


def objective_gradients(lightning, name, objective):
    condition = name if name.startswith("cvae") else None
    recipe = Recipe.model_validate(
        {
            "name": name,
            "sky": {"galaxies": 1},
            "condition": condition,
            "architecture": {
                "pixels": PIXELS, "widths": (8, 8), "blocks": (1, 1), "features": 16,
                "latents": LATENTS,
            },
            "frame": {"pixels": PIXELS},
            "objective": {"noise": 0.3, **objective},
            "optimiser": {"epochs": 1},
        }
    )  # fmt: skip
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(GALAXIES, 3, PIXELS, PIXELS, generator=draws)
    redshift = torch.rand(GALAXIES, generator=draws)
    labels = torch.tensor([0, -1, 1, -1, 2, -1, 0])  # one of two processes knows none
    if name == "cvae-predict":
        redshift[1::2] = torch.nan
    torch.manual_seed(2)
    classes = 3 if "classes" in objective else 0
    if condition is None:
        learner = Learner(recipe.architecture, classes)
    else:
        learner = ConditionalAutoencoder(recipe.architecture, condition, centre=0.5, spread=0.3)
    share = Share.of(GALAXIES)
    if name == "cvae-predict":  # the decoder needs known redshifts
        learner.decode = lambda latents, redshift: ConditionalAutoencoder.decode(
            learner, latents, redshift.nan_to_num(0.5)
        )
    batch = Batch(
        images[share.own],
        redshift[share.own],
        labels[share.own],
    )
    forward, _ = lightning.setup(learner, torch.optim.SGD(learner.parameters()))
    torch.manual_seed(3)
    loss, terms = loss_of(recipe, learner, forward, batch, 0.0, share)
    lightning.backward(loss)
    return {"loss": loss.detach(), **detached(terms), **gradients(learner)}


def latent_gradients(lightning, loss_function):
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(GALAXIES, 5, generator=draws)
    anchor = torch.randn(GALAXIES, LATENTS, generator=draws)
    torch.manual_seed(2)
    network = nn.Linear(5, LATENTS)
    model, _ = lightning.setup(network, torch.optim.SGD(network.parameters()))
    share = Share.of(GALAXIES)
    loss = loss_function(share.whole(model(images[share.own])), anchor)
    lightning.backward(loss)
    return {"loss": loss.detach(), **gradients(network)}


@functools.cache
def pairs():
    """Return pairs of blobs to train on and held out."""
    space = make_space(widths=(8, 8, 8), pixels=32)
    start = space.by_definition(get_survey("sdss"), ("g", "r", "z"))
    anchor, target = (
        Inputs.plain(torch.asinh(torch.from_numpy(blobs(49, 32, 1.0, noise=noise))))
        for noise in (0.02, 0.2)
    )
    mean, variance = space.encode(anchor, space.encoder("decals"), precision="fp32")
    whole = PairedImages(
        space=space, encoder=start, anchor=anchor, target=target, mean=mean, variance=variance
    )
    return whole.take(np.arange(35)), whole.take(np.arange(35, 49))


def fine_tuning_gradients(lightning):
    train, held = pairs()
    network = make_space(widths=(8, 8, 8), pixels=32).encoder("decals").network
    network.requires_grad_(True).train().log_variance.requires_grad_(False)
    model, _ = lightning.setup(MeanOfTensors(network), torch.optim.SGD(network.parameters()))
    rows = torch.arange(3, 20)
    mean = batch_means(model, train.target, rows, 3)
    terms = PairLosses(held, train.encoder.network)(mean, anchor_latents(train)[3, rows])
    lightning.backward(torch.stack(list(terms.values())).sum())
    return {**detached(terms), **gradients(network)}


def fine_tuned(folder):
    """Fine-tune, with checkpoints in a folder."""
    train, held = pairs()
    start, settings = train.encoder.network, replace(TUNED, checkpoint=folder)
    network, curves = fine_tune(start, train, held, settings)
    return network.state_dict() | {"curves": torch.tensor([list(row.values()) for row in curves])}


@contextmanager
def keeps_checkpoints(patch, module, folder):
    """Keep a copy of the folder at the first state of each checkpoint, as after an interrupt."""
    folder.mkdir(exist_ok=True)
    real = module.save_checkpoint

    def keeping(path, *arguments):
        real(path, *arguments)
        stopped = stopped_at(folder, path.stem)
        if not stopped.exists():
            shutil.copytree(folder, stopped)

    with patch.context() as during:
        during.setattr(module, "save_checkpoint", keeping)
        yield


def stopped_at(folder, checkpoint):
    return folder.with_name(f"{folder.name}-stopped-at-{checkpoint}")


def read(path):
    space = make_space()
    rows = np.array([3, 60, 7, 7, 1, 44, 90])
    inputs, ok = load_shared_images(Sample(path), rows, space.encoder("decals"), space.frame)
    return {**vars(inputs), "ok": torch.from_numpy(ok)}


def pretrained(data, folder):
    space = pretrain(TRAINED, folder, sample=Sample(data / "sample.parquet"))
    curves = [list(row.values()) for row in space.training["curves"]]
    states = space.encoder("decals").network.state_dict(), space.decoder.state_dict()
    return {f"{i} {k}": v for i, state in enumerate(states) for k, v in state.items()} | {
        "curves": torch.tensor(curves)
    }


def resumed(data, earlier, shared):
    """Continue from checkpoints that others left."""
    again = {
        name: copied(stopped_at(earlier / name, checkpoint), shared / f"{name}-again")
        for name, checkpoint in (("fine-tuned", "fine-tuned"), ("trained", "checkpoint"))
    }
    return {
        "fine-tuned again": fine_tuned(again["fine-tuned"]),
        "trained again": pretrained(data, again["trained"]),
    }


def copied(stopped, folder):
    """Copy the folder of an interrupted run, once for all processes."""
    if is_first():
        shutil.copytree(stopped, folder)
    wait()
    return folder


def write_two_surveys(folder, n):
    """Write blobs as DECaLS and as a noisier, miscalibrated SDSS; their pairs; a small space."""
    noise = np.random.default_rng(9)
    clean = blobs(n, 90, 0.396, seed=2, noise=0.0)
    finer = blobs(n, 140, 0.262, seed=2, noise=0.0)
    anchor = finer + noise.normal(0, 0.003, finer.shape)
    target = clean[:, [1, 0, 2]] * 8 + noise.normal(0, 0.01, clean.shape)
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n)}
    bands = ["g,r,z"] * n
    write_sample(folder / "decals", anchor.astype(np.float32), bands=bands, **place)
    write_sample(folder / "sdss", target.astype(np.float32), "sdss", bands=bands, **place)
    ids = [[f"{survey}-{i:04d}" for i in range(n)] for survey in ("decals", "sdss")]
    pq.write_table(pair_table(*ids), folder / "pairs.parquet")
    make_space().save(folder / "space")


def adapt_in_two_processes(number, port, folder):
    join(number, port)
    results = adaptations(folder, folder / "work-two")
    results |= adapted_again(folder, folder / "work-one", folder / "two-after-one")
    (folder / f"process-{number}").mkdir()
    keep(results, folder / f"process-{number}")


def adaptations(data, work):
    """Adapt, and keep the first checkpoint of the training."""
    work.mkdir(exist_ok=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        keeps_checkpoints(patch, fine_tuning, work / "adapted"),
    ):
        return {"adapted": adapted(data, work / "adapted")}


def adapted_again(data, earlier, work):
    """Continue an adaptation that was interrupted in its training."""
    work.mkdir(exist_ok=True)
    stopped = stopped_at(earlier / "adapted", "fine-tuned")
    return {"again": adapted(data, copied(stopped, work / "fine-tuned"))}


def adapted(data, checkpoint):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fabric, "has_bf16", lambda device: False)
        space = adapt(
            LatentSpace.load(data / "space"),
            *(Sample(data / survey / "sample.parquet") for survey in ("decals", "sdss")),
            read_pairs(data / "pairs.parquet"),
            settings=replace(ADAPTED, checkpoint=checkpoint),
        )
    record = space.encoder("sdss").record
    scores = [item["mean_reciprocal_rank"] for item in record["candidates"]]
    return space.encoder("sdss").network.state_dict() | {
        "scores": torch.tensor(scores),
        "curves": torch.tensor([list(row.values()) for row in record["curves"]]),
    }


def detached(terms):
    return {name: term.detach() for name, term in terms.items()}


def gradients(network):
    return {
        f"gradient of {name}": weight.grad
        for name, weight in network.named_parameters()
        if weight.requires_grad
    }

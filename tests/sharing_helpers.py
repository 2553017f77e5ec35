"""What one process, and then two that share each batch, compute; kept in files to compare."""

import functools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from conftest import blobs, make_space, pair_table, write_sample
from torch import nn

from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training import losses as alignment
from training.adaptation import fine_tuning as refining
from training.adaptation.candidates import Training
from training.adaptation.fine_tuning import FineTuningSettings, fine_tune
from training.adaptation.image_matching import ImageMatch
from training.adaptation.paired_images import PairedImages
from training.adaptation.run import adapt
from training.adaptation.shared_images import load_shared_images
from training.losses import PerceptualDistance
from training.parallel import fabric
from training.parallel.launch import process_group
from training.parallel.processes import Share, is_first, wait
from training.pretraining import run as pretraining
from training.pretraining.conditional import ConditionalAutoencoder
from training.pretraining.learner import Batch, Learner, loss_of
from training.pretraining.recipe import Recipe

PIXELS, LATENTS, GALAXIES = 48, 4, 7
OBJECTIVES = {
    "elbo": {},
    "sky, free bits, mmd": {"weighting": "sky", "free_nats": 0.03, "mmd": 50.0},
    "perceptual": {"perceptual": 1.0},
    "classes": {"classes": 50.0},
    "two looks": {"contrast": 50.0, "mmd": 50.0},
    "cvae": {},
    "cvae2": {},
    "cvae-predict": {"redshift": 50.0},
}
ALIGNMENTS = {
    "paired": lambda a, b: alignment.paired(a.mean, b.mean, torch.full((LATENTS,), 0.5)),
    "contrastive": lambda a, b: alignment.contrastive(a.mean, b.mean, 0.7),
    "mmd": lambda a, b: alignment.mmd(a.mean, b.mean),
    "mmd, median": lambda a, b: alignment.mmd(
        a.mean, b.mean, kernel="inverse-multiquadric", bandwidth="median"
    ),
    "coral": lambda a, b: alignment.coral(a.mean, b.mean),
    "sinkhorn": lambda a, b: alignment.sinkhorn_divergence(a.mean, b.mean, 0.5),
    "paired_kl": alignment.paired_kl,
    "paired_wasserstein": lambda a, b: alignment.paired_wasserstein(
        a, b, torch.full((LATENTS,), 0.5)
    ),
    "retention": alignment.retention,
    "adversarial": lambda a, b: alignment.adversarial(a.mean, b.mean, classifier()),
}
TRAINED = {
    "name": "tiny",
    "seed": 3,
    "sky": {"galaxies": 1},
    "condition": "cvae-predict",
    "architecture": {"widths": (8, 8, 8), "features": 16, "latents": LATENTS},
    "objective": {"noise": 0.3, "mmd": 50.0, "classes": 50.0, "redshift": 50.0, "weighting": "sky"},
    "optimiser": {"epochs": 2, "batch": 15, "learning_rate": 1e-3, "warmup_steps": 2},
}


ADAPTED = FineTuningSettings(steps=6, check_every=2, batch=32)


def classifier():
    torch.manual_seed(4)
    return alignment.DomainClassifier(LATENTS, hidden=8)


def in_two_processes(number, port, folder):
    """Compute everything in a group of two."""
    join(number, port)
    everything(folder / f"process-{number}", folder / "one")
    end = "nothing went wrong"
    try:
        with process_group():
            if number == 1:
                raise TableError("only the second process finds this")
    except (TableError, SystemExit) as error:
        end = repr(error)
    (folder / f"process-{number}" / "end.txt").write_text(end)


def join(number, port):
    """Join a group of two as ``torchrun`` has its processes do."""
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
    """Compute all that tests compare; go on from where an earlier computation was stopped."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fabric, "has_bf16", lambda device: False)
        lightning = fabric.make_fabric()
        found = {}
        for name, objective in OBJECTIVES.items():
            found[f"objective {name}"] = objective_gradients(lightning, name, objective)
        for name, term in ALIGNMENTS.items():
            found[f"alignment {name}"] = alignment_gradients(lightning, term)
        found["fine_tune"] = refine_gradients(lightning)
        found["read"] = read(folder.parent / "sample.parquet")
        shared = folder.parent / ("one" if earlier is None else "two")
        shared.mkdir(exist_ok=True)
        found["fine-tuned"] = fine_tuned(patch, shared / "fine-tuned")
        found["trained"] = trained(patch, folder.parent, shared / "trained")
        if earlier is not None:
            found |= resumed(folder.parent, earlier, shared)
    keep(found, folder)


def keep(found, folder):
    for name, tensors in found.items():
        safetensors.torch.save_file(
            {key: value.contiguous().clone() for key, value in tensors.items()},
            folder / f"{name}.safetensors",
        )


def objective_gradients(lightning, name, objective):
    two, condition = name == "two looks", name if name.startswith("cvae") else None
    recipe = Recipe.model_validate(
        {
            "name": name,
            "sky": {"galaxies": 1},
            "condition": condition,
            "architecture": {
                "pixels": PIXELS, "widths": (8, 8, 8), "features": 16, "latents": LATENTS,
                "nuisance_latents": int(two),
            },
            "frame": {"pixels": PIXELS},
            "objective": {"noise": 0.3, **objective},
            "optimiser": {"epochs": 1},
        }
    )  # fmt: skip
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(recipe.observations, GALAXIES, 3, PIXELS, PIXELS, generator=draws)
    images[:, 0, :, :3] = 0  # not observed
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
    if name == "cvae-predict":  # the decoder is told redshifts, which have to be known
        learner.decode = lambda latents, redshift: ConditionalAutoencoder.decode(
            learner, latents, redshift.nan_to_num(0.5)
        )
    batch = Batch(
        images[:, share.own].flatten(0, 1),
        redshift[share.own].repeat(recipe.observations),
        labels[share.own].repeat(recipe.observations),
    )
    forward, _ = lightning.setup(learner, torch.optim.SGD(learner.parameters()))
    perceptual = PerceptualDistance() if "perceptual" in objective else None
    torch.manual_seed(3)
    loss, terms = loss_of(recipe, learner, forward, batch, 0.0, perceptual, share)
    lightning.backward(loss)
    return {"loss": loss.detach(), **detached(terms), **gradients(learner)}


def alignment_gradients(lightning, term):
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(GALAXIES, 5, generator=draws)
    anchor = Posterior(
        torch.randn(GALAXIES, LATENTS, generator=draws),
        torch.rand(GALAXIES, LATENTS, generator=draws) + 0.1,
    )
    torch.manual_seed(2)
    network = nn.Linear(5, 2 * LATENTS)
    model, _ = lightning.setup(network, torch.optim.SGD(network.parameters()))
    share = Share.of(GALAXIES)
    mean, log_variance = share.whole(model(images[share.own])).chunk(2, 1)
    loss = term(Posterior(mean, log_variance.exp()), anchor)
    lightning.backward(loss)
    return {"loss": loss.detach(), **gradients(network)}


@functools.cache
def pairs():
    """Pairs of blobs, some of them held out, and what makes the anchor's like the target's."""
    space = make_space(widths=(8, 8, 8), pixels=32)
    start = space.unadapted(get_survey("sdss"), ("g", "r", "z"))
    anchor = torch.asinh(torch.from_numpy(blobs(49, 32, 1.0, noise=0.02)))
    target = torch.asinh(torch.from_numpy(blobs(49, 32, 1.0, noise=0.2)))
    mean, variance = space.encode(anchor, space.encoder("decals"), precision="fp32")
    whole = PairedImages(
        space=space, encoder=start, anchor=anchor, target=target, mean=mean, variance=variance
    )
    match = ImageMatch.to_target(space, start, anchor, target)
    return whole.take(np.arange(35)), whole.take(np.arange(35, 49)), match


def refine_gradients(lightning):
    train, held, match = pairs()
    training = Training.of(train)
    network = make_space(widths=(8, 8, 8), pixels=32).encoder("decals").network
    network.requires_grad_(True).train().log_variance.requires_grad_(False)
    model, _ = lightning.setup(network, torch.optim.SGD(network.parameters()))
    share = Share.of(17)
    terms_of = refining._Terms(training, train.encoder.network, held, lightning, match, True, 5)
    terms = terms_of(model, torch.arange(3, 20), 3, 1, share)
    lightning.backward(torch.stack(list(terms.values())).sum())
    return {**detached(terms), **gradients(network)}


def fine_tuned(patch, folder):
    """Refine, and keep what the first look left."""
    folder.mkdir(exist_ok=True)
    with stops(patch, refining, folder):
        return fine_tuned_in(folder)


def fine_tuned_in(folder):
    train, held, match = pairs()
    network, curves = fine_tune(
        train.encoder.network,
        Training.of(train),
        held,
        settings=FineTuningSettings(steps=3, batch=17, check_every=1),
        seed=2,
        degrade=match,
        checkpoint=folder / "fine-tuned.safetensors",
    )
    return network.state_dict() | {"curves": torch.tensor([list(row.values()) for row in curves])}


@contextmanager
def stops(patch, module, folder):
    """Keep the folder as it is at each checkpoint's first state, as if a run had stopped there."""
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
    images, ok = load_shared_images(Sample(path), rows, space.encoder("decals"), space.frame)
    return {"images": images, "ok": torch.from_numpy(ok)}


def trained(patch, data, folder):
    """Train, and keep what the first epoch left."""
    with stops(patch, pretraining, folder):
        return pretrained(data, folder)


def resumed(data, earlier, shared):
    """Go on from what others left when they stopped."""
    again = {}
    for name, checkpoint in (("fine-tuned", "fine-tuned"), ("trained", "checkpoint")):
        again[name] = goes_on(stopped_at(earlier / name, checkpoint), shared / f"{name}-again")
    return {
        "fine-tuned again": fine_tuned_in(again["fine-tuned"]),
        "trained again": pretrained(data, again["trained"]),
    }


def goes_on(stopped, folder):
    """Copy what a run left when it stopped, for all processes."""
    if is_first():
        shutil.copytree(stopped, folder)
    wait()
    return folder


def pretrained(data, folder):
    space = pretraining.pretrain(
        Recipe.model_validate(TRAINED), folder, sample=Sample(data / "sample.parquet")
    )
    curves = [list(row.values()) for row in space.training["curves"]]
    states = space.encoder("decals").network.state_dict(), space.decoder.state_dict()
    return {f"{i} {k}": v for i, state in enumerate(states) for k, v in state.items()} | {
        "curves": torch.tensor(curves)
    }


def write_views(folder, n):
    """Blobs as DECaLS and as a noisier, miscalibrated SDSS; their pairs; a small space."""
    noise = np.random.default_rng(9)
    clean = blobs(n, 90, 0.396, seed=2, noise=0.0)
    finer = blobs(n, 140, 0.262, seed=2, noise=0.0)
    first = finer + noise.normal(0, 0.003, finer.shape)
    second = clean[:, [1, 0, 2]] * 8 + noise.normal(0, 0.01, clean.shape)
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n)}
    bands = ["g,r,z"] * n
    write_sample(folder / "decals", first.astype(np.float32), bands=bands, **place)
    write_sample(folder / "sdss", second.astype(np.float32), "sdss", bands=bands, **place)
    ids = [[f"{survey}-{i:04d}" for i in range(n)] for survey in ("decals", "sdss")]
    pq.write_table(pair_table(*ids), folder / "pairs.parquet")
    make_space().save(folder / "space")


def adapt_in_two_processes(number, port, folder):
    join(number, port)
    found = adaptations(folder, folder / "work-two")
    found |= adapted_again(folder, folder / "work-one", folder / "two-after-one")
    (folder / f"process-{number}").mkdir()
    keep(found, folder / f"process-{number}")


def adaptations(data, work):
    """Adapt, and keep what each of its trainings left at its first look."""
    work.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, stops(patch, refining, work / "adapted"):
        return {"adapted": adapted(data, work / "adapted")}


def adapted_again(data, earlier, work):
    """Go on where another adaptation was stopped in each of its trainings."""
    work.mkdir(exist_ok=True)
    stopped = {at: stopped_at(earlier / "adapted", at) for at in ("degraded", "fine-tuned")}
    return {f"again {at}": adapted(data, goes_on(stopped[at], work / at)) for at in stopped}


def adapted(data, checkpoint):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fabric, "has_bf16", lambda device: False)
        space = adapt(
            LatentSpace.load(data / "space"),
            *(Sample(data / survey / "sample.parquet") for survey in ("decals", "sdss")),
            read_pairs(data / "pairs.parquet"),
            survey=get_survey("sdss"),
            settings=ADAPTED,
            seed=1,
            checkpoint=checkpoint,
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


def load(path: Path):
    return safetensors.torch.load_file(path)

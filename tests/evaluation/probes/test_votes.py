import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from conftest import blobs, make_space, write_sample
from scipy.stats import betabinom, dirichlet_multinomial

from evaluation.commands.probe import probe as probe_verb
from evaluation.probes import network as probe_network
from evaluation.probes.network import votes_loss
from evaluation.probes.votes import (
    answer_name,
    constant_concentrations,
    fit_answers,
    fit_votes,
    read_votes,
)
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace

ANSWERS = ("smooth", "featured", "artifact")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(probe_network, "_STEPS", 400)
    monkeypatch.setattr(probe_network, "_HIDDEN", 16)
    monkeypatch.setattr(probe_network, "_BATCH", 200)
    monkeypatch.setattr(probe_network, "_RATE", 1e-2)
    monkeypatch.setattr(probe_network, "_VOTES_PRIOR", 500.0)


def draw(concentrations, totals, seed=0):
    """Draw votes of galaxies with (n, answers) concentrations."""
    rng = np.random.default_rng(seed)
    shares = np.array([rng.dirichlet(alpha) for alpha in concentrations])
    return np.array([rng.multinomial(n, p) for n, p in zip(totals, shares, strict=True)]), shares


def test_the_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 2, (40, 4))
    votes, _ = draw(np.exp(logs), rng.integers(1, 60, 40), 2)
    expected = dirichlet_multinomial.logpmf(votes, np.exp(logs), votes.sum(1))
    found = votes_loss(torch.from_numpy(logs), torch.from_numpy(votes).double())
    np.testing.assert_allclose(-found.numpy(), expected, rtol=1e-9)


def test_constant_concentrations_are_recovered():
    alpha = np.array([3.0, 1.0, 0.2])
    votes, _ = draw(np.tile(alpha, (6000, 1)), np.full(6000, 40))
    np.testing.assert_allclose(constant_concentrations(votes), alpha, rtol=0.06)


def test_known_concentrations_are_recovered_from_votes(quick):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6000, 3))
    alpha = np.exp(np.stack([1 + x[:, 0], 1 - x[:, 0], -1 + 0.5 * x[:, 1]], 1))
    votes, shares = draw(alpha, rng.integers(5, 40, 6000), 4)
    probes = fit_answers(ANSWERS, x[None, :4000], votes[:4000])
    total = alpha.sum(1)
    for k, probe in enumerate(probes):
        mean = alpha[4000:, k] / total[4000:]
        sigma = np.sqrt(mean * (1 - mean) / (total[4000:] + 1))
        found = probe.predict(x[4000:])
        assert np.abs(found.value - mean).mean() < 0.02
        assert np.abs(np.log(found.error / sigma)).mean() < 0.15
        pull = (found.value - shares[4000:, k]) / found.error
        assert pull.std() == pytest.approx(1, abs=0.12)
    logs = probes[1].log_concentrations(x[4000:]).mean(0)
    assert np.abs(logs - np.log(alpha[4000:, [1, 0, 2]])).mean() < 0.25
    np.testing.assert_allclose(sum(p.predict(x).value for p in probes), 1, atol=1e-5)


def test_a_vote_table_of_anything_else_is_refused():
    table = pa.table(
        {
            "a": [3, 0, None],
            "b": [1, 2, 4],
            "share": [0.25, 0.5, 1.0],
            "less": [-1, 2, 3],
            "none": [0, 0, 0],
            "text": ["x", "y", "z"],
        }
    )
    assert read_votes(table, ["a", "b"]).tolist() == [[3, 1], [0, 2], [0, 0]]
    for question, message in (
        (["a"], "needs two answers"),
        (["a", "c"], "no column 'c'"),
        (["a", "share"], "'share' must hold numbers of votes, .* holds 0.25"),
        (["a", "less"], "'less' must hold numbers of votes, .* holds -1"),
        (["a", "none"], "no galaxy has a vote in column 'none'"),
        (["a", "text"], "'text' must hold numbers of votes but holds string"),
    ):
        with pytest.raises(TableError, match=message):
            read_votes(table, question)
    assert answer_name("smooth-or-featured_smooth") == "smooth_or_featured_smooth_fraction"


def votes_of(path, seed=6):
    """Votes whose shares follow the flux of the cutouts of a sample."""
    flux = np.load(path.parent / "cutouts.npy").sum((1, 2, 3))
    z = (flux - flux.mean()) / flux.std()
    alpha = 3 * np.exp(np.stack([1.5 * z, -1.5 * z], 1))
    totals = np.random.default_rng(seed).integers(10, 40, len(z))
    votes, _ = draw(alpha, totals, seed)
    ids = pq.read_table(path)["object_id"]
    return pa.table({"object_id": ids, "bar-yes": votes[:, 0], "bar-no": votes[:, 1]}), alpha


def test_the_verb_fits_votes_of_any_survey_and_extract_writes_shares(tmp_path, quick, capsys):
    images = blobs(300, 92, 0.396)
    path = write_sample(tmp_path / "sdss", images, "sdss", bands=["g,r,z"] * 300)
    votes, alpha = votes_of(path)
    pq.write_table(votes, tmp_path / "votes.parquet")
    make_space().save(tmp_path / "space")
    probe_verb(
        str(tmp_path / "space"), [path], tmp_path / "new", votes=tmp_path / "votes.parquet",
        question=["bar-yes, bar-no"], json=True,
    )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)["probes"]
    assert list(printed) == ["bar_yes_fraction", "bar_no_fraction"]
    errors = printed["bar_yes_fraction"]["sdss"]
    assert errors["n"] == 300 and errors["r2"] > 0.4
    assert errors["log_loss"] < errors["base_log_loss"]
    constant = constant_concentrations(np.stack([votes["bar-yes"], votes["bar-no"]], 1))
    total = np.add(votes["bar-yes"], votes["bar-no"])
    expected = -betabinom.logpmf(votes["bar-yes"], total, *constant).mean()
    assert errors["base_log_loss"] == pytest.approx(expected, abs=0.02)
    space = LatentSpace.load(tmp_path / "new")
    extract(space, Sample(path), tmp_path / "features")
    table = Features.open(tmp_path / "features").table
    yes, no = (table[f"morph_bar_{answer}_fraction"].to_numpy() for answer in ("yes", "no"))
    np.testing.assert_allclose(yes + no, 1, atol=1e-5)
    assert np.corrcoef(yes, alpha[:, 0] / alpha.sum(1))[0, 1] > 0.8
    sigma = table["morph_bar_yes_fraction_err"].to_numpy()
    assert (sigma > 0).all() and (sigma < 0.5).all()


def test_shares_without_relation_to_the_images_do_not_pass_for_knowledge(tmp_path, quick):
    path = write_sample(tmp_path / "decals", blobs(200, 140, 0.262))
    votes, _ = votes_of(path)
    shuffled = votes.take(np.random.default_rng(0).permutation(200))
    table = pa.table({**dict(zip(votes.column_names, shuffled.columns, strict=True))})
    table = table.set_column(0, "object_id", votes["object_id"])
    (probe, _) = fit_votes(make_space(), [Sample(path)], table, [("bar-yes", "bar-no")])
    errors = probe.errors["decals"]
    assert errors["r2"] < 0.1 and errors["log_loss"] > errors["base_log_loss"] - 0.05
    assert math.isfinite(errors["pull"])


def test_votes_that_cannot_be_fitted_are_refused(tmp_path, quick):
    path = write_sample(tmp_path / "decals", blobs(30, 140, 0.262))
    votes, _ = votes_of(path)
    question = ("bar-yes", "bar-no")
    with pytest.raises(CatalogError, match=r"30 observations in .* at least 50"):
        fit_votes(make_space(), [Sample(path)], votes, [question])
    with pytest.raises(TableError, match="must be different columns"):
        fit_votes(make_space(), [Sample(path)], votes, [question, question])
    with pytest.raises(typer.BadParameter, match="--truth or --votes"):
        probe_verb("space", [path], tmp_path / "new")
    with pytest.raises(typer.BadParameter, match="belong together"):
        probe_verb("space", [path], tmp_path / "new", votes=path)
    with pytest.raises(typer.BadParameter, match="--column belongs to --truth"):
        probe_verb("space", [path], tmp_path / "new", votes=path, question=["a,b"], column=["a"])

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import blobs, make_space, pair_table, write_sample

from catalogs.matching.pairs import PairedRows
from evaluation.evaluate import evaluate
from evaluation.targets import PairedSample, TargetSurvey
from galaxy_da.errors import CatalogError, SpaceError
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from training.adaptation import AdaptSettings, FineTuningSettings, adapt, candidates
from training.adaptation import fine_tuning as module
from training.adaptation.candidates import MAPS, calibrate_variances
from training.adaptation.images import load_paired_images
from training.adaptation.instrument import corrected

QUICK = AdaptSettings(fine_tuning=FineTuningSettings(steps=10, check_every=5, batch=32))
UNTUNED = AdaptSettings(fine_tuning=FineTuningSettings(steps=0))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The same blobs observed twice by DECaLS, and once by a noisier, miscalibrated SDSS."""
    folder = tmp_path_factory.mktemp("samples")
    n = 360
    noise = np.random.default_rng(9)
    clean = blobs(n, 90, 0.396, seed=2, noise=0.0)
    finer = blobs(n, 140, 0.262, seed=2, noise=0.0)
    again = finer + noise.normal(0, 0.003, finer.shape)
    first = finer + noise.normal(0, 0.003, finer.shape)
    second = clean[:, [1, 0, 2]] * 8 + noise.normal(0, 0.01, clean.shape)
    place = {"ra": np.linspace(130, 230, n), "dec": np.linspace(0, 30, n)}
    bands = ["g,r,z"] * n
    paths = {
        "decals": write_sample(folder / "a", first.astype(np.float32), bands=bands, **place),
        "repeat": write_sample(folder / "r", again.astype(np.float32), bands=bands, **place),
        "sdss": write_sample(folder / "b", second.astype(np.float32), "sdss", bands=bands, **place),
    }
    return {name: Sample(path) for name, path in paths.items()}


def pairs_with(samples, name):
    return pair_table(*(samples[key].catalog["object_id"] for key in ("decals", name)))


@pytest.fixture(scope="module")
def adapted(samples):
    pairs = pairs_with(samples, "sdss")
    return adapt(
        make_space(), samples["decals"], samples["sdss"], pairs, survey=get_survey("sdss"),
        settings=QUICK,
    )  # fmt: skip


def test_the_best_candidate_on_held_out_pairs_is_kept_and_all_are_recorded(adapted):
    record = adapted.encoder("sdss").record
    scores = {item["name"]: item["mean_reciprocal_rank"] for item in record["candidates"]}
    assert set(scores) == {
        name.removeprefix("by definition + ")
        for network in ("by definition", "instrument", "fine-tuned")
        for name in (network, *(f"{network} + {form}" for form in MAPS))
    }
    assert scores[record["chosen"]] == max(scores.values())
    assert record["gain"] == pytest.approx(scores[record["chosen"]] - scores["by definition"])
    assert record["gain"] > record["gain_error"]
    assert {"step", "paired", "contrastive"} <= set(record["curves"][0])
    assert set(record["instrument"]) == {"g", "r", "z"}


def test_a_fitted_instrument_is_saved_with_the_space(adapted, tmp_path):
    encoder = adapted.encoder("sdss")
    network = corrected(adapted, encoder.network, [[0.1] * 3] * 6)
    changed = adapted.with_survey(replace(encoder, network=network))
    changed.save(tmp_path)
    loaded = LatentSpace.load(tmp_path).encoder("sdss").network
    torch.testing.assert_close(loaded.correction.magnitudes(), torch.full((3,), 0.10857))
    assert LatentSpace.load(tmp_path).encoder("sdss").hash == changed.encoder("sdss").hash


def test_the_space_holds_a_match_probability(adapted, tmp_path):
    adapted.save(tmp_path)
    model = LatentSpace.load(tmp_path).match_probability("sdss", "decals")
    assert model == adapted.match_probability("decals", "sdss")
    judged = adapted.encoder("sdss").record["match_probability"]["cross_validated"]
    assert judged["random"]["brier"] < 0.8 * judged["random"]["brier_constant"]
    with pytest.raises(SpaceError, match="decals and decals: this space has no probability"):
        adapted.match_probability("decals", "decals")


def test_fine_tuning_never_ends_below_its_start(adapted):
    record = adapted.encoder("sdss").record
    scores = {item["name"]: item["mean_reciprocal_rank"] for item in record["candidates"]}
    assert scores["fine-tuned"] >= scores[record["fine_tuned_from"]]


@pytest.mark.parametrize("form", ["moments", "ridge-to-identity"])
def test_a_closed_form_that_wins_is_fitted_again_with_validation_pairs(form, samples, monkeypatch):
    monkeypatch.setattr(candidates, "MAPS", {form: MAPS[form]})
    without = [[0.0] * 3] * 6
    monkeypatch.setattr("training.adaptation.with_pairs.fit_to_pairs", lambda pairs: without)
    pairs, space = pairs_with(samples, "sdss"), make_space()
    new = adapt(
        space, samples["decals"], samples["sdss"], pairs,
        survey=get_survey("sdss"),
        settings=UNTUNED,
    ).encoder("sdss")  # fmt: skip
    assert new.record["chosen"].endswith(form)
    rows = PairedRows.of(pairs, samples["decals"], samples["sdss"])
    start = space.by_definition(get_survey("sdss"), new.bands)
    train, held = (
        load_paired_images(space, samples["decals"], samples["sdss"], rows.only(part), start)
        for part in ("train", "validation")
    )
    both = train.extended(held)
    network = space.encoder("decals").network
    expected = MAPS[form](network, both.encode(network).mean, both.mean)
    assert new.record["pairs"]["fitted_at_last"] == len(both)
    torch.testing.assert_close(new.network.mean.weight, expected.mean.weight, rtol=1e-3, atol=1e-4)


def test_held_out_galaxies_are_found_better_than_before(adapted, samples):
    repeat = PairedSample(sample=samples["repeat"], pairs=pairs_with(samples, "repeat"))
    target = TargetSurvey(
        sample=samples["sdss"], pairs=pairs_with(samples, "sdss"), survey=get_survey("sdss")
    )
    result = evaluate(adapted, samples["decals"], target, repeat=repeat)
    assert result.adapted.mean_reciprocal_rank > result.by_definition.mean_reciprocal_rank
    assert result.adapted.distance_ratio < result.by_definition.distance_ratio
    assert result.ceiling.mean_reciprocal_rank > result.by_definition.mean_reciprocal_rank
    assert result.adapted.pool == result.ceiling.pool > 100


def test_the_anchor_does_not_move(adapted):
    before = make_space()
    assert adapted.id == before.id and adapted.surveys == ("decals", "sdss")


def test_variances_are_calibrated_on_pairs():
    """Shifted so that both posteriors together explain the held-out differences."""
    rng = np.random.default_rng(0)
    truth = torch.tensor(rng.normal(size=(4000, 6)), dtype=torch.float32)
    own, anchor = 0.3, 0.1
    network = make_space().encoder("decals").network

    class Held:
        mean = truth + anchor * torch.randn_like(truth)
        variance = torch.full_like(truth, anchor**2)

        def encode(self, network):
            return Posterior(truth + own * torch.randn_like(truth), torch.full_like(truth, 2.0))

    torch.manual_seed(0)
    shifted = calibrate_variances(network, Held())
    shift = (shifted.log_variance.bias - network.log_variance.bias).exp()
    np.testing.assert_allclose(2.0 * shift.detach(), own**2, rtol=0.1)


def test_a_survey_with_more_bands_is_read_in_those_of_the_frame(samples, tmp_path):
    n = 360
    five = np.concatenate([np.load(samples["sdss"].folder / "cutouts.npy")] * 2, axis=1)[:, :5]
    place = {name: samples["sdss"].catalog[name] for name in ("ra", "dec")}
    path = write_sample(tmp_path / "s", five, "sdss", bands=["g,r,z,u,i"] * n, **place)
    many = adapt(
        make_space(), samples["decals"], Sample(path), pairs_with(samples, "sdss"),
        survey=get_survey("sdss"), settings=UNTUNED,
    )  # fmt: skip
    assert many.encoder("sdss").bands == ("g", "r", "z")


def test_too_few_pairs_and_wrong_ids(samples):
    pairs = pairs_with(samples, "sdss")
    with pytest.raises(CatalogError, match="usable pairs fall outside the test part of the sky"):
        adapt(make_space(), samples["decals"], samples["sdss"], pairs.slice(0, 10),
              survey=get_survey("sdss"))  # fmt: skip
    wrong_ids = pairs.set_column(0, "anchor_id", pairs["target_id"])
    with pytest.raises(CatalogError, match="none of the 360 pairs is unambiguous and in both"):
        adapt(
            make_space(), samples["decals"], samples["sdss"], wrong_ids, survey=get_survey("sdss")
        )
    with pytest.raises(SpaceError, match="decals: is the anchor"):
        adapt(make_space(), samples["decals"], samples["repeat"], pairs_with(samples, "repeat"),
              survey=get_survey("decals"))  # fmt: skip


@pytest.mark.parametrize("wrong", [0, 0.5])
def test_many_wrong_pairs_are_told(samples, monkeypatch, wrong):
    without = [[0.0] * 3] * 6
    monkeypatch.setattr("training.adaptation.with_pairs.fit_to_pairs", lambda pairs: without)
    again = samples["repeat"]
    table = pq.read_table(again.path)
    names = pa.array(["decals-dr11"] * len(table))
    table = table.set_column(table.column_names.index("survey"), "survey", names)
    pq.write_table(table, again.path.with_name("renamed.parquet"))
    pairs = pairs_with(samples, "repeat")
    ids = pairs["target_id"].to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(np.random.default_rng(0).random(len(ids)) < wrong)
    ids[chosen] = np.roll(ids[chosen], 1)
    pairs = pairs.set_column(pairs.column_names.index("target_id"), "target_id", pa.array(ids))
    target = Sample(again.path.with_name("renamed.parquet"))
    space = adapt(LatentSpace.load("decals"), samples["decals"], target, pairs, settings=UNTUNED)
    record = space.encoder("decals-dr11").record
    n = record["pairs"]["train"] + record["pairs"]["left_out"]
    assert record["pairs"]["left_out"] / n == pytest.approx(wrong, abs=0.1)
    assert [f"of {n} training pairs look like two different" in w for w in record["warnings"]] == [
        True
    ] * bool(wrong)


def test_ambiguous_pairs_are_left_out(samples, tmp_path):
    pairs = pairs_with(samples, "sdss")
    flagged = pairs.set_column(4, "ambiguous", pa.array([i % 2 == 0 for i in range(360)]))
    pq.write_table(flagged, tmp_path / "p.parquet")
    rows = PairedRows.of(flagged, samples["decals"], samples["sdss"])
    assert rows.anchor.tolist() == list(range(1, 360, 2))
    some = rows.only("train", most=10, seed=1)
    assert len(some) == 10 and set(some.part) == {"train"}


def test_few_pairs_are_judged_by_cross_validation(samples):
    space = adapt(
        make_space(), samples["decals"], samples["sdss"], pairs_with(samples, "sdss").slice(0, 80),
        settings=QUICK,
    )  # fmt: skip
    record = space.encoder("sdss").record
    assert record["judged_by"] == "5-fold"
    scores = {item["name"]: item["mean_reciprocal_rank"] for item in record["candidates"]}
    assert {"by definition", "instrument", *MAPS} <= set(scores)
    assert not any(name.startswith("fine-tuned") for name in scores)
    assert scores[record["chosen"]] >= scores["by definition"]


def test_an_interrupted_adaptation_continues_to_the_same_weights(
    adapted, samples, tmp_path, monkeypatch
):
    real = module.save_checkpoint

    def stop(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    ask = partial(
        adapt, make_space(), samples["decals"], samples["sdss"], pairs_with(samples, "sdss"),
        survey=get_survey("sdss"), settings=replace(QUICK, checkpoint=tmp_path / "unfinished"),
    )  # fmt: skip
    monkeypatch.setattr(module, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        ask()
    monkeypatch.setattr(module, "save_checkpoint", real)
    resumed = ask().encoder("sdss")
    for ours, theirs in zip(
        resumed.record["curves"], adapted.encoder("sdss").record["curves"], strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-3)
    for ours, theirs in zip(
        resumed.network.parameters(), adapted.encoder("sdss").network.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import blobs, make_space, write_sample
from scipy.stats import median_abs_deviation
from sklearn.calibration import calibration_curve

from evaluation.commands.probe import probe as probe_verb
from evaluation.probes import network as probe_network
from evaluation.probes.errors import error_rows, measure, residuals
from evaluation.probes.fitting import (
    ProbeSettings,
    fit_probe,
    fit_probes,
    targets_by_symmetry,
)
from evaluation.probes.labelled_latents import LabelledLatents, encode_labelled, joined
from evaluation.probes.quantities import QUANTITIES, find_quantities
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(probe_network, "_STEPS", 800)
    monkeypatch.setattr(probe_network, "_HIDDEN", 32)
    monkeypatch.setattr(probe_network, "_BATCH", 200)
    monkeypatch.setattr(probe_network, "_DECAY", 0.02)
    monkeypatch.setattr(probe_network, "_RATE", 1e-2)


def latents_of(x):
    return LabelledLatents(
        survey="decals", rows=np.arange(len(x)), vectors=x[None].astype(np.float32)
    )


def fit(name, truth, x, use=None):
    known = find_quantities(truth)[name]
    cells = np.arange(len(x)) % 12
    use = np.arange(len(x)) < 900 if use is None else use
    return fit_probe(known, latents_of(x), use, cells), known.values


def test_probes_recover_what_latents_hold(quick):
    x = np.random.default_rng(0).normal(size=(1200, 4))
    angle = np.degrees(0.5 * np.arctan2(x[:, 3], x[:, 2])) % 180
    ratio = 1 - 0.9 * (1 - np.exp(-np.hypot(x[:, 2], x[:, 3])))
    truth = pa.table(
        {
            "half_light_arcsec": np.exp(0.5 * x[:, 0] + 0.2 * x[:, 1] ** 2),
            "axis_ratio": ratio,
            "position_angle_deg": angle,
            "label": np.where(x[:, 0] + x[:, 1] > 1, "edge-on", "elliptical"),
        }
    )
    test = np.arange(1200) >= 900
    for name, least in (("half_light_arcsec", 0.9), ("ellipticity", 0.7), ("position_angle", 0.9)):
        probe, values = fit(name, truth, x)
        known = test & np.isfinite(values)
        assert measure(probe.link, values[known], probe.predict(x[known]).value)["r2"] > least
    probe, values = fit("p_edge_on", truth, x)
    errors = measure("logistic", values[test], probe.predict(x[test]).value)
    assert errors["auc"] > 0.97 and errors["log_loss"] < 0.5 * errors["base_log_loss"]


def test_vote_shares_are_fitted_as_probabilities(quick):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1200, 2))
    share = 1 / (1 + np.exp(-2 * x[:, 0]))
    field = pa.field("bar", pa.float64(), metadata={"link": "logistic", "ucd": "stat.probability"})
    truth = pa.table([pa.array(share)], schema=pa.schema([field]))
    known = find_quantities(truth, ["bar"])["bar"]
    use = np.arange(1200) < 900
    probe = fit_probe(known, latents_of(x), use, np.arange(1200) % 9)
    assert probe.kind == "probability"
    np.testing.assert_allclose(probe.predict(x[900:]).value, share[900:], atol=0.12)


def test_stated_errors_are_those_of_the_truth(quick):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(4000, 3))
    sigma = np.exp(0.5 + 0.8 * x[:, 1])
    y = 3 * x[:, 0] + sigma * rng.normal(size=4000)
    probe, _ = fit("r_mag", pa.table({"r_mag": y}), x, np.arange(4000) < 3000)
    found = probe.predict(x[3000:])
    pull = (found.value - y[3000:]) / found.error
    assert median_abs_deviation(pull, scale="normal") == pytest.approx(1, abs=0.1)
    assert np.corrcoef(np.log(found.error), np.log(sigma[3000:]))[0, 1] > 0.9


def test_angles_state_their_errors(quick):
    rng = np.random.default_rng(8)
    x = rng.normal(size=(4000, 4))
    angle = np.degrees(0.5 * np.arctan2(x[:, 3], x[:, 2]))
    off = np.where(x[:, 0] > 0, 20.0, 4.0)
    noisy = (angle + off * rng.normal(size=4000)) % 180
    truth = pa.table({"position_angle_deg": noisy, "axis_ratio": np.full(4000, 0.4)})
    probe, values = fit("position_angle", truth, x, np.arange(4000) < 3000)
    found, known = probe.predict(x[3000:]), values[3000:]
    for rows in (off[3000:] == 20, off[3000:] == 4):
        pull = residuals("angle", known[rows], found.value[rows]) / found.error[rows]
        assert median_abs_deviation(pull, scale="normal") == pytest.approx(1, abs=0.25)
    assert np.median(found.error[off[3000:] == 20]) > 2 * np.median(found.error[off[3000:] == 4])


def test_the_fit_does_not_use_the_test_part(quick):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(400, 3)), rng.uniform(1, 2, 400)
    truth = pa.table({"r_mag": y})
    use = np.arange(400) < 300
    first, _ = fit("r_mag", truth, x, use)
    y[300:] = 99
    second, _ = fit("r_mag", pa.table({"r_mag": y}), x, use)
    assert first.hash == second.hash


def test_targets_of_angles_follow_the_symmetries():
    east_west = torch.zeros(1, 1, 9, 9)
    east_west[0, 0, 4, :] = 1  # position angle 90
    diagonal = torch.eye(9)[None, None]  # rows go north, columns west: up and right is 135

    def angle_of(image):
        y, x = np.nonzero(image[0, 0].numpy())
        north, east = y - 4.0, 4.0 - x
        return np.degrees(0.5 * np.arctan2((2 * east * north).sum(), (north**2 - east**2).sum()))

    for image, angle in ((east_west, 90.0), (diagonal, 135.0)):
        target = np.array([[np.cos(np.radians(2 * angle)), np.sin(np.radians(2 * angle))]])
        for number, observed in enumerate(apply_symmetry(image, k) for k in range(SYMMETRIES)):
            c, s = targets_by_symmetry(target, "angle", number)[0]
            off = (np.degrees(0.5 * np.arctan2(s, c)) - angle_of(observed) + 90) % 180 - 90
            assert abs(off) < 1e-6


def test_errors_by_hand():
    truth = np.array([1.0, 2.0, 4.0, 8.0])
    off = measure("exp", truth, truth * [1.1, 1.2, 1.3, 1.4])
    logs = np.log([1.1, 1.2, 1.3, 1.4])
    assert off["bias"] == pytest.approx(np.median(logs))
    assert off["scatter"] == pytest.approx(median_abs_deviation(logs, scale="normal"))
    assert off["rms"] == pytest.approx(np.sqrt((logs**2).mean()))
    assert residuals("angle", np.array([1.0, 178.0]), np.array([179.0, 2.0])).tolist() == [-2, 4]
    rng = np.random.default_rng(3)
    p = rng.random(5000)
    yes = rng.random(5000) < p
    errors = measure("logistic", yes.astype(float), p)
    assert errors["brier"] == pytest.approx(1 / 6, abs=0.01)
    observed, stated = calibration_curve(yes, p, n_bins=10)
    assert errors["ece"] < 0.05 and np.abs(observed - stated).max() < 0.08


def test_probe_verb_stores_probes_in_the_space(tmp_path, quick, capsys):
    n = 300
    path = write_sample(tmp_path / "decals", blobs(n, 140, 0.262))
    ids = pq.read_table(path)["object_id"]
    bright = np.load(tmp_path / "decals" / "cutouts.npy").sum((1, 2, 3))
    field = pa.field("flux", pa.float64(), metadata={"unit": "nanomaggy", "description": "sum"})
    truth = pa.table([ids, pa.array(bright)], schema=pa.schema([("object_id", pa.string()), field]))
    pq.write_table(truth, tmp_path / "truth.parquet")
    make_space().save(tmp_path / "space")
    probe_verb(
        str(tmp_path / "space"), [path], tmp_path / "new", truth=tmp_path / "truth.parquet",
        column=["flux"], json=True,
    )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)["probes"]["flux"]["decals"]
    (stored,) = LatentSpace.load(tmp_path / "new").probes
    assert (stored.name, stored.unit, stored.description) == ("flux", "nanomaggy", "sum")
    space = make_space()
    latents = encode_labelled(space, space.encoder("decals"), Sample(path), truth)
    value = stored.predict(latents.vectors[0]).value
    assert np.corrcoef(value, bright[latents.rows])[0, 1] > 0.7
    assert printed["n"] == stored.errors["decals"]["n"] >= 50
    assert error_rows([stored])["r2"][0].as_py() == pytest.approx(printed["r2"])


def test_tables_that_cannot_be_fitted_are_refused(tmp_path, quick):
    sample = Sample(write_sample(tmp_path / "decals", blobs(10, 140, 0.262)))
    ids, nothing = sample.catalog["object_id"], ProbeSettings(columns=("nothing",))
    with pytest.raises(TableError, match="none of the known columns"):
        fit_probes(make_space(), sample, pa.table({"object_id": ids}))
    with pytest.raises(TableError, match="needs a column object_id or decals_id"):
        fit_probes(make_space(), sample, pa.table({"r_mag": np.arange(10.0)}))
    with pytest.raises(TableError, match="no column 'nothing'"):
        fit_probes(make_space(), sample, pa.table({"object_id": ids}), (), nothing)
    with pytest.raises(CatalogError, match=r"r_mag: .* at least 50"):
        fit_probes(make_space(), sample, pa.table({"object_id": ids, "r_mag": np.arange(10.0)}))
    with pytest.raises(TableError, match="must be of different surveys"):
        fit_probes(make_space(), sample, pa.table({"object_id": ids}), [sample])


def test_every_quantity_has_a_valid_ucd_unit_and_description():
    from astropy.io.votable.ucd import check_ucd
    from astropy.units import Unit

    for quantity in QUANTITIES:
        assert check_ucd(quantity.ucd, check_controlled_vocabulary=True)
        Unit(quantity.unit, format="fits")
        assert len(quantity.description) > 10


def test_probes_are_fitted_to_several_surveys_together():
    one = LabelledLatents(survey="decals", rows=np.array([2, 0]), vectors=np.zeros((8, 2, 3)))
    two = LabelledLatents(survey="hsc", rows=np.array([0, 1, 4]), vectors=np.ones((8, 3, 3)))
    both = joined([one, two])
    assert both.rows.tolist() == [2, 0, 0, 1, 4]
    assert both.vectors[3].mean(1).tolist() == [0, 0, 1, 1, 1]

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from conftest import blobs, make_space, write_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import vonmises

from galaxy_da.errors import SpaceError, TableError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.extraction.summary import summarise
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import (
    NOTE_COLUMN,
    OUTPUTS,
    Probe,
    Withheld,
    predict_all,
    probe_columns,
    probe_tensors,
    read_probes,
)
from galaxy_da.space import LatentSpace


def make_probe(name="size", link="identity", hidden=5, inputs=6, seed=0, **more):
    rng = np.random.default_rng(seed)
    sizes = [inputs, *([hidden] if hidden else []), OUTPUTS.get(link, 1)]
    return Probe(
        name=name,
        description="half-light radius",
        unit="arcsec",
        ucd="phys.angSize",
        link=link,
        centre=rng.normal(size=inputs).astype(np.float32),
        spread=rng.uniform(0.5, 2, inputs).astype(np.float32),
        weights=tuple(rng.normal(size=(3, *p)).astype(np.float32) for p in pairwise(sizes)),
        biases=tuple(rng.normal(size=(3, b)).astype(np.float32) for b in sizes[1:]),
        **more,
    )


def torch_outputs(probe, x):
    """Outputs of the networks of a probe, (networks, n, outputs), by torch."""
    z = torch.tensor((x - probe.centre) / probe.spread).clamp(-6, 6)
    outputs = []
    for member in range(3):
        layers = []
        for weight, bias in zip(probe.weights, probe.biases, strict=True):
            layer = torch.nn.Linear(*weight.shape[1:])
            layer.weight.data = torch.tensor(weight[member].T)
            layer.bias.data = torch.tensor(bias[member])
            layers += [layer, torch.nn.Tanh()]
        with torch.no_grad():
            outputs.append(torch.nn.Sequential(*layers[:-1])(z))
    return torch.stack(outputs)


@pytest.mark.parametrize("link", ["identity", "exp", "logistic", "angle"])
def test_a_probe_is_the_mixture_of_its_torch_networks(link):
    probe = make_probe(link=link)
    x = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    y, found = torch_outputs(probe, x), probe.predict(x)
    if link == "logistic":
        expected = y[..., 0].sigmoid().mean(0), y[..., 0].sigmoid().std(0, correction=0)
    elif link == "angle":
        c, s = y.mean(0).T
        expected = torch.rad2deg(0.5 * torch.atan2(s, c)) % 180, None
    else:
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(40, 3)),
            torch.distributions.Normal(y[..., 0].T, y[..., 1].T.clamp(-6, 6).exp()),
        )
        value = mixture.mean.exp() if link == "exp" else mixture.mean
        expected = value, mixture.stddev * (value if link == "exp" else 1)
    np.testing.assert_allclose(found.value, expected[0], rtol=3e-4, atol=1e-3)
    if expected[1] is not None:
        np.testing.assert_allclose(found.error, expected[1], rtol=3e-4, atol=1e-4)


def test_the_error_of_an_angle_is_that_of_drawn_angles():
    kappa = 4.0
    bias = np.zeros((1, 2), np.float32)
    bias[0, 0] = kappa
    probe = replace(
        make_probe(link="angle", hidden=0),
        weights=(np.zeros((1, 6, 2), np.float32),),
        biases=(bias,),
    )
    drawn = vonmises(kappa).rvs(200_000, random_state=1) / 2  # of half the angle
    expected = np.degrees(np.sqrt(-2 * np.log(np.cos(2 * drawn).mean())) / 2)
    assert probe.predict(np.zeros((1, 6))).error[0] == pytest.approx(expected, rel=0.01)


def test_errors_are_scaled_by_the_magnitude():
    x = np.random.default_rng(3).normal(size=(5, 6))
    x[:, 0] = [14, 15, 16, 18, 30]
    plain = make_probe()
    scaled = replace(
        plain, magnitudes=np.array([15, 17], np.float32), factors=np.array([1, 3], np.float32)
    )
    ratio = scaled.predict(x).error / plain.predict(x).error
    np.testing.assert_allclose(ratio, [1, 1, 2, 3, 3], rtol=1e-5)


def test_an_error_above_the_spread_of_the_population_is_not_informative():
    x = np.random.default_rng(4).normal(size=(30, 6))
    error = make_probe().predict(x).error
    limit = float(np.median(error))
    probe = make_probe(population=limit)
    assert probe.predict(x).informative.tolist() == (error <= limit).tolist()
    outside = np.arange(30) == 5
    withheld = Withheld("outside the domain", outside)
    columns = probe_columns([probe], predict_all([probe], x), np.arange(30) != 7, [withheld])
    missing = np.array([value is None for value in columns["morph_size"].to_pylist()])
    expected = (error > limit) | outside
    expected[7] = True
    assert missing.tolist() == expected.tolist()
    assert columns["morph_size_err"].is_null().to_pylist() == missing.tolist()
    notes = columns[NOTE_COLUMN].to_pylist()
    assert notes[5] == "outside the domain" and notes[7] is None
    assert notes[int(np.argmax(error))] in ("too uncertain: size", "outside the domain", None)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(0, 30), far=st.floats(0, 1e6))
def test_any_vector_gives_a_value_in_range(seed, n, far):
    x = far * np.random.default_rng(seed).normal(size=(n, 6))
    for link, low, high in (("logistic", 0, 1), ("angle", 0, 180), ("exp", 0, np.inf)):
        value = make_probe(link=link, seed=seed).predict(x).value
        assert value.shape == (n,) and (value >= low).all() and (value <= high).all()
    bounded = make_probe(seed=seed, low=-0.1, high=0.2).predict(x).value
    assert ((bounded >= -0.1) & (bounded <= 0.2)).all()


def test_rows_do_not_depend_on_the_other_rows():
    probe, x = make_probe(), np.random.default_rng(2).normal(size=(20_000, 6))
    some = probe.predict(x[[3, 19_999]]).value
    np.testing.assert_allclose(probe.predict(x).value[[3, 19_999]], some, rtol=1e-5)


def test_stored_probes_are_read_back(tmp_path):
    probes = (
        make_probe(errors={"decals": {"n": 9, "bias": 0.1}}),
        make_probe("p_bar", "logistic", hidden=0),
    )
    space = make_space().with_probes(probes)
    space.save(tmp_path)
    loaded = LatentSpace.load(tmp_path)
    x = np.random.default_rng(0).normal(size=(9, 6))
    for before, after in zip(probes, loaded.probes, strict=True):
        assert after.record() == before.record() and after.hash == before.hash
        np.testing.assert_array_equal(after.predict(x).error, before.predict(x).error)
    assert loaded.id == make_space().id
    assert loaded.probes[1].kind == "probability"


def test_a_space_of_before_probes_still_loads(tmp_path):
    make_space().save(tmp_path)
    manifest = json.loads((tmp_path / "space.json").read_text())
    del manifest["probes"], manifest["hash"]
    from galaxy_da.io.files import json_hash, write_json

    write_json(tmp_path / "space.json", {**manifest, "hash": json_hash(manifest)})
    assert LatentSpace.load(tmp_path).probes == ()


def test_adapting_keeps_probes_but_drops_the_errors_of_that_survey():
    errors = {"decals": {"n": 5}, "hsc": {"n": 4}}
    space = make_space().with_probes([make_probe(errors=errors)])
    both = space.with_survey(space.encoder("hsc"))
    assert dict(both.probes[0].errors) == {"decals": {"n": 5}}
    assert dict(space.probes[0].errors) == errors
    assert both.probes[0].hash == space.probes[0].hash


def test_extraction_writes_the_columns(tmp_path):
    images = blobs(5, 140, 0.262)
    images[1] = 0
    sample = Sample(write_sample(tmp_path / "d", images))
    space = make_space()
    good = np.arange(5) != 1
    inputs, _ = load_images(sample, np.flatnonzero(good), space.encoder("decals"), space.frame)
    settings = ExtractSettings(precision="fp32")
    summaries = summarise(space, inputs, space.encode(inputs, "decals", precision="fp32"), "fp32")
    width = summaries.values.shape[1]
    probes = [make_probe(inputs=width), make_probe("p_bar", "logistic", inputs=width, seed=1)]
    extract(space.with_probes(probes), sample, tmp_path / "f", settings=settings)
    table = Features.open(tmp_path / "f").table
    ok = table.filter(pc.equal(table["status"], "ok"))
    assert ok.num_rows == 4 and table["morph_size"].null_count == 1
    for probe in probes:
        expected = probe.predict(summaries.values)
        np.testing.assert_allclose(ok[probe.column], expected.value, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(ok[probe.column + "_err"], expected.error, rtol=1e-3, atol=1e-3)
    assert table.schema.field("morph_size").metadata[b"unit"] == b"arcsec"
    assert table.schema.field("morph_size_err").metadata[b"ucd"] == b"stat.error;phys.angSize"


def test_features_of_other_probes_are_not_continued(tmp_path):
    sample = Sample(write_sample(tmp_path / "d", blobs(3, 140, 0.262)))
    extract(make_space(), sample, tmp_path / "plain")
    with pytest.raises(TableError, match=r"another extraction \(probes differ\)"):
        extract(make_space().with_probes([make_probe()]), sample, tmp_path / "plain")


def test_a_taken_column_is_refused(tmp_path):
    path = write_sample(tmp_path / "d", blobs(3, 140, 0.262), morph_size=[1.0, 2.0, 3.0])
    with pytest.raises(TableError, match="'morph_size' is one that extraction writes"):
        extract(make_space().with_probes([make_probe()]), Sample(path))


def test_invalid_probes_are_refused():
    with pytest.raises(ValueError, match="lower-case letters, digits and _ but is 'Size '"):
        make_probe("Size ")
    with pytest.raises(ValueError, match="link is one of"):
        make_probe(link="log")
    with pytest.raises(ValueError, match="do not fit"):
        replace(make_probe(), spread=np.ones(6), biases=(np.zeros((3, 4)), np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"shape \(n, 6\) but have \(2, 7\)"):
        make_probe().predict(np.zeros((2, 7)))
    probe = make_probe()
    tensors = probe_tensors([probe])
    del tensors["size.weight_1"]
    with pytest.raises(SpaceError, match="probe 'size' is damaged"):
        read_probes([probe.record()], tensors)

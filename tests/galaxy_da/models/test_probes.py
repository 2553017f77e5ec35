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

from galaxy_da.errors import SpaceError, TableError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import Probe, probe_tensors, read_probes
from galaxy_da.space import LatentSpace


def make_probe(name="size", link="identity", hidden=5, latents=6, seed=0, **more):
    rng = np.random.default_rng(seed)
    outputs = 2 if link == "angle" else 1
    sizes = [latents, *([hidden] if hidden else []), outputs]
    return Probe(
        name=name,
        description="half-light radius",
        unit="arcsec",
        ucd="phys.angSize",
        link=link,
        centre=rng.normal(size=latents).astype(np.float32),
        spread=rng.uniform(0.5, 2, latents).astype(np.float32),
        weights=tuple(rng.normal(size=(a, b)).astype(np.float32) for a, b in pairwise(sizes)),
        biases=tuple(rng.normal(size=b).astype(np.float32) for b in sizes[1:]),
        **more,
    )


@pytest.mark.parametrize(("link", "finish"), [
    ("identity", lambda y: y[:, 0]),
    ("exp", lambda y: y[:, 0].exp()),
    ("logistic", lambda y: y[:, 0].sigmoid()),
    ("angle", lambda y: torch.rad2deg(0.5 * torch.angle(torch.complex(y[:, 0], y[:, 1]))) % 180),
])  # fmt: skip
def test_a_probe_is_the_torch_network_of_its_weights(link, finish):
    probe = make_probe(link=link)
    linear = [torch.nn.Linear(6, 5), torch.nn.Linear(5, 2 if link == "angle" else 1)]
    for layer, weight, bias in zip(linear, probe.weights, probe.biases, strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)
    x = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    z = torch.tensor((x - probe.centre) / probe.spread).clamp(-6, 6)
    with torch.no_grad():
        expected = finish(torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1])(z))
    np.testing.assert_allclose(probe.apply(x), expected, rtol=2e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(0, 30), far=st.floats(0, 1e6))
def test_any_vector_gives_a_value_in_range(seed, n, far):
    x = far * np.random.default_rng(seed).normal(size=(n, 6))
    for link, low, high in (("logistic", 0, 1), ("angle", 0, 180), ("exp", 0, np.inf)):
        value = make_probe(link=link, seed=seed).apply(x)
        assert value.shape == (n,) and (value >= low).all() and (value <= high).all()
    assert make_probe(seed=seed, low=-0.1, high=0.2).apply(x).clip(-0.1, 0.2).tolist() == (
        make_probe(seed=seed, low=-0.1, high=0.2).apply(x).tolist()
    )


def test_rows_do_not_depend_on_the_other_rows():
    probe, x = make_probe(), np.random.default_rng(2).normal(size=(20_000, 6))
    np.testing.assert_allclose(probe.apply(x)[[3, 19_999]], probe.apply(x[[3, 19_999]]), rtol=1e-5)


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
        np.testing.assert_array_equal(after.apply(x), before.apply(x))
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
    probes = [make_probe(), make_probe("p_bar", "logistic", seed=1)]
    extract(
        make_space().with_probes(probes),
        sample,
        tmp_path / "f",
        settings=ExtractSettings(precision="fp32"),
    )
    table = Features.open(tmp_path / "f").table
    ok = table.filter(pc.equal(table["status"], "ok"))
    assert ok.num_rows == 4 and table["morph_size"].null_count == 1
    for probe in probes:
        expected = probe.apply(vectors(ok))
        np.testing.assert_allclose(ok[probe.column], expected, rtol=1e-5)
    assert table.schema.field("morph_size").metadata[b"unit"] == b"arcsec"


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
        replace(make_probe(), spread=np.ones(6), biases=(np.zeros(4), np.zeros(1)))
    with pytest.raises(ValueError, match=r"shape \(n, 6\) but have \(2, 7\)"):
        make_probe().apply(np.zeros((2, 7)))
    probe = make_probe()
    tensors = probe_tensors([probe])
    del tensors["size.weight_1"]
    with pytest.raises(SpaceError, match="probe 'size' is damaged"):
        read_probes([probe.record()], tensors)


def test_the_shipped_space_measures_galaxies(tmp_path):
    space = LatentSpace.load("decals")
    names = {probe.name for probe in space.probes}
    assert names >= {
        "half_light_arcsec", "ellipticity", "position_angle", "concentration", "asymmetry",
        "colour_gradient", "p_featured",
    }  # fmt: skip
    assert all({"decals", "sdss", "hsc"} <= set(probe.errors) for probe in space.probes)
    images = blobs(40, 140, 0.262)
    tables = [
        extract(space, Sample(write_sample(tmp_path / name / "decals", pixels))).table
        for name, pixels in (("upright", images), ("rotated", np.rot90(images, axes=(2, 3)).copy()))
    ]
    ellipticity, expected = moments(blobs(40, 140, 0.262, noise=0)[:, 1])
    long = ellipticity > 0.3
    assert long.sum() > 10
    angles = [np.asarray(table["morph_position_angle"])[long] for table in tables]
    assert np.median(apart(angles[0], expected[long])) < 12
    assert np.median(apart(angles[1], expected[long] + 90)) < 12
    sizes = [np.asarray(table["morph_half_light_arcsec"]) for table in tables]
    assert np.corrcoef(*np.log(sizes))[0, 1] > 0.95
    assert np.corrcoef(np.asarray(tables[0]["morph_ellipticity"]), ellipticity)[0, 1] > 0.7


def moments(images):
    """Ellipticity and position angle [deg] of images whose rows go north and columns west."""
    north, east = np.mgrid[-69.5:70, 69.5:-70:-1]
    weight = images / images.sum((1, 2), keepdims=True)
    nn, ee, ne = ((weight * q).sum((1, 2)) for q in (north**2, east**2, north * east))
    root = np.hypot(nn - ee, 2 * ne)
    ratio = np.sqrt((nn + ee - root) / (nn + ee + root))
    return 1 - ratio, np.degrees(0.5 * np.arctan2(2 * ne, nn - ee)) % 180


def apart(one, other):
    return np.abs((one - other + 90) % 180 - 90)

"""Rows whose total magnitude or size cannot be right are flagged, and lack these columns."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import make_space, write_sample

from galaxy_da.extraction.checks import NOT_DETECTED
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.extraction.summary import summarise
from galaxy_da.io.samples import Flag, Sample
from galaxy_da.models.domain import OUTSIDE, Domain
from galaxy_da.models.probes import NOTE_COLUMN, Probe

MEASURED = ExtractSettings(measured=True, precision="fp32")


def galaxies(scales_arcsec, side=140, pixel=0.262):
    """Draw exponential discs of 500 nanomaggies, in three bands."""
    ramp = (np.arange(side) - (side - 1) / 2) * pixel
    radius = np.hypot(ramp[:, None], ramp)
    rng = np.random.default_rng(0)
    images = []
    for scale in scales_arcsec:
        disc = 500 * pixel**2 / (2 * np.pi * scale**2) * np.exp(-radius / scale)
        images.append(np.stack([disc] * 3) + rng.normal(0, 0.01, (3, side, side)))
    return np.array(images, np.float32)


def probe_of(name, width, value, sigma):
    """Return a probe that always says one value with one error."""
    weights = tuple(np.zeros((1, *shape), np.float32) for shape in pairwise((width, 2, 2)))
    last = np.array([[value, np.log(sigma)]], np.float32)
    return Probe(
        name=name, description="", ucd="phot.mag", centre=np.zeros(width, np.float32),
        spread=np.ones(width, np.float32), weights=weights,
        biases=(np.zeros((1, 2), np.float32), last),
    )  # fmt: skip


@pytest.fixture
def sample(tmp_path):
    return Sample(write_sample(tmp_path / "d", galaxies([1.0, 1.5, 9.0])))


def width_of(space, sample):
    inputs, _ = load_images(sample, np.arange(2), space.encoder("decals"), space.frame)
    return summarise(space, inputs, space.encode(inputs, "decals")).values.shape[1]


def test_light_beyond_the_edge_withholds_totals(sample):
    space = make_space()
    width = width_of(space, sample)
    probes = [probe_of("r_mag", width, 15.75, 5.0), probe_of("asymmetry", width, 0.1, 0.1)]
    table = extract(space.with_probes(probes), sample, settings=MEASURED).table
    flags = np.array(table["flags"].to_pylist())
    assert [bool(flag & Flag.LIGHT_AT_EDGE) for flag in flags] == [False, False, True]
    assert table["morph_r_mag"].is_null().to_pylist() == [False, False, True]
    assert table["morph_asymmetry"].null_count == 0
    assert table[NOTE_COLUMN].to_pylist() == [None, None, "light at the edge: r_mag"]


@pytest.mark.parametrize(("value", "sigma", "differs"), [
    (15.75, 0.1, False),  # right: 500 nanomaggies
    (17.5, 0.1, True),
    (16.6, 2.0, False),  # the error says so
    (17.5, 2.0, True),  # and says too little
    (15.95, 0.01, False),  # closer than magnitudes are defined
])  # fmt: skip
def test_inferred_and_measured_magnitudes_are_compared(sample, value, sigma, differs):
    space = make_space()
    probe = probe_of("r_mag", width_of(space, sample), value, sigma)
    table = extract(space.with_probes([probe]), sample, settings=MEASURED).table
    measured = np.array(table["measured_r_mag"].to_pylist()[:2])
    np.testing.assert_allclose(measured, 15.75, atol=0.05)
    flags = np.array(table["flags"].to_pylist())[:2]
    assert ((flags & Flag.MAGNITUDES_DIFFER) > 0).tolist() == [differs] * 2
    assert table["morph_r_mag"].is_null().to_pylist()[:2] == [differs] * 2
    if differs:
        assert table[NOTE_COLUMN][0].as_py() == "measured magnitude differs: r_mag"


def test_a_row_without_a_detected_galaxy_is_outside_the_domain(tmp_path):
    images = galaxies([1.0, 1.0, 1.0])
    noise = np.random.default_rng(1).normal(0, 0.01, images[0].shape)
    images[1] = np.roll(images[1], 60, 2)  # the galaxy is 16 arcsec from the middle
    images[2] = noise + 2e-4 * images[2]  # 0.1 nanomaggy, at most 3 sigma in any band
    sample = Sample(write_sample(tmp_path / "d", images))
    space = make_space()
    width = width_of(space, sample)
    never = Domain(
        reasons=("a star",), centre=np.zeros(width), spread=np.ones(width),
        weights=(np.zeros((width, 2)),), biases=(np.array([0.0, -9.0]),), axes=np.eye(width),
        levels=np.tile(np.linspace(-99, 99, 999, dtype=np.float32), (2, 1)),
    )  # fmt: skip
    model = never.score(np.zeros((3, width)))
    assert not model.outside.any()
    probe = probe_of("asymmetry", width, 0.1, 0.1)
    table = extract(space.with_domain(never).with_probes([probe]), sample).table
    assert table["domain_reason"].to_pylist() == [None, NOT_DETECTED, NOT_DETECTED]
    flags = np.array(table["flags"].to_pylist())
    assert ((flags & Flag.OUT_OF_DOMAIN) > 0).tolist() == [False, True, True]
    assert table["morph_asymmetry"].is_null().to_pylist() == [False, True, True]
    assert table[NOTE_COLUMN].to_pylist() == [None] + ["outside the domain"] * 2
    assert (np.array(table["domain_score"].to_pylist())[1:] >= OUTSIDE).all()


def test_a_band_far_from_r_is_not_compared(tmp_path):
    images = galaxies([1.0])[:, :1]
    path = write_sample(tmp_path / "d", images, "vhs", bands=["J"])
    space = make_space()
    sample = Sample(path)
    inputs, _ = load_images(sample, np.arange(1), space.encoder("vhs", ("J",)), space.frame)
    width = summarise(space, inputs, space.encode(inputs, "decals")).values.shape[1]
    table = extract(space.with_probes([probe_of("r_mag", width, 25, 0.1)]), sample).table
    assert not table["flags"][0].as_py() & Flag.MAGNITUDES_DIFFER


@pytest.mark.parametrize("column", [True, False, None])
@pytest.mark.parametrize("card", [True, False, None])
def test_fluxes_that_are_not_photometric_give_no_magnitudes(tmp_path, card, column):
    header = fits.Header({"BUNIT": "nanomaggy"})
    if card is not None:
        header["PHOTOMET"] = card
    fits.PrimaryHDU(galaxies([1.0])[0], header).writeto(tmp_path / "a.fits")
    path = write_sample(tmp_path, galaxies([1.0]), cutout=["a.fits"], bands=["g,r,z"])
    if column is not None:
        table = pq.read_table(path)
        pq.write_table(table.append_column("photometric", pa.array([column])), path)
    space, sample = make_space(), Sample(path)
    inputs, _ = load_images(sample, np.arange(1), space.encoder("decals"), space.frame)
    width = summarise(space, inputs, space.encode(inputs, "decals")).values.shape[1]
    probes = [probe_of("r_mag", width, 15.75, 0.1), probe_of("asymmetry", width, 0.1, 0.1)]
    features = extract(space.with_probes(probes), sample, settings=MEASURED).table
    withheld = False in (card, column)
    assert features["flags"].to_pylist() == [Flag.NOT_PHOTOMETRIC if withheld else 0]
    assert features["morph_r_mag"].is_null().to_pylist() == [withheld]
    for name in ("r_mag", "g_aperture_mag", "g_aperture_mag_err"):
        assert features["measured_" + name].is_null().to_pylist() == [withheld]
    assert features["morph_asymmetry"].null_count + features["measured_asymmetry"].null_count == 0
    assert features[NOTE_COLUMN].to_pylist() == ["not photometric: r_mag" if withheld else None]

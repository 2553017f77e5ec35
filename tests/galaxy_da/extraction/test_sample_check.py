"""A whole sample with a wrong zeropoint, or bands in another order, is noticed."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_space, write_sample

from galaxy_da.errors import SampleWarning
from galaxy_da.extraction import sample_check
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.extraction.sample_check import SampleCheck
from galaxy_da.extraction.summary import photometry_of, summarise
from galaxy_da.io.samples import Sample
from galaxy_da.models.colours import colour_residuals, fit_colour_relation
from galaxy_da.models.domain import Domain

FRAME_NM = np.array([481.0, 642.0, 925.0])
RELATION = np.array([0.8, 0.35, 0, 0, 0, 0, 0, 0, 0], np.float32)  # of the second slope
BANDS = ("g", "r", "z")


def spectra(n, wavelengths_nm, seed=0):
    """AB magnitudes of power laws that bend, with 0.1 mag of scatter."""
    rng = np.random.default_rng(seed)
    blue = rng.uniform(1.2, 3.4, n)
    x = np.log(wavelengths_nm / 642.0)
    red = 0.8 + 0.35 * blue
    slope = np.where(x < 0, blue[:, None], red[:, None])
    return 18 - slope * x + rng.normal(0, 0.1, (n, 3))


def domain(colours=RELATION, inputs=4):
    return Domain(
        reasons=("a star",), centre=np.zeros(inputs), spread=np.ones(inputs),
        weights=(np.zeros((inputs, 2)),), biases=(np.array([0.0, -9.0]),), axes=np.eye(inputs),
        levels=np.tile(np.linspace(-99, 99, 999, dtype=np.float32), (2, 1)), colours=colours,
    )  # fmt: skip


def check_of(magnitudes, wavelengths_nm=FRAME_NM, parts=3):
    """Check magnitudes, written as summaries."""
    n = len(magnitudes)
    conditions = np.zeros((n, 3, 5), np.float32)
    conditions[..., 0] = 1
    conditions[..., 4] = np.log(wavelengths_nm / FRAME_NM) / 0.2
    summaries = np.zeros((n, 30 + 17), np.float32)
    summaries[:, 4:7], summaries[:, 11:14] = magnitudes, np.arcsinh(50)
    summaries[:, -17:-2] = conditions.reshape(n, 15)
    check = SampleCheck(make_space(grids=2).with_domain(domain()))
    for part in np.array_split(summaries, parts):
        check.add("mine", BANDS, part)
    return check.warnings()


def test_a_relation_is_recovered_at_other_wavelengths():
    rng = np.random.default_rng(1)
    nm = FRAME_NM * rng.uniform(0.9, 1.1, (4000, 3))
    magnitudes = np.concatenate([spectra(1, nm[i], seed=i) for i in range(0, 4000, 2)])
    relation = fit_colour_relation(magnitudes, nm[::2], FRAME_NM)
    for shift in (0.95, 1.05):
        other = FRAME_NM * [1.0, 1.0, shift]
        tested = spectra(2000, other, seed=3)
        off = colour_residuals(relation, tested, np.tile(other, (2000, 1)), FRAME_NM)
        assert abs(np.median(off)) < 0.03


def test_galaxies_pass():
    assert check_of(spectra(100, FRAME_NM)) == []
    too_few = spectra(15, FRAME_NM) + np.array([0, 0, 5])
    assert check_of(too_few) == []


@pytest.mark.parametrize("band", [1, 2])
@pytest.mark.parametrize("mag", [-0.3, 0.3])
def test_a_wrong_zeropoint_is_noticed(band, mag):
    (said,) = check_of(spectra(100, FRAME_NM) + mag * np.eye(3)[band])
    assert said.startswith("mine: the median colours of 100 galaxies")
    assert f"the magnitudes of {BANDS[band]} may be off by {mag:+.1f}" in said or (
        f"the magnitudes of {BANDS[band]} may be off by {mag - 0.1 * np.sign(mag):+.1f}" in said
    )


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_another_order_of_the_bands_is_named(order):
    (said,) = check_of(spectra(100, FRAME_NM)[:, list(order)])
    assert f"the order of the bands may be {', '.join(BANDS[k] for k in order)}" in said


def test_a_large_sample_takes_bounded_memory_and_its_order_does_not_count(monkeypatch):
    monkeypatch.setattr(sample_check, "_MOST", 500)
    magnitudes = spectra(5000, FRAME_NM) + 0.3 * np.eye(3)[1]
    kept = sample_check._Kept()
    for part in np.array_split(magnitudes, 100):
        kept.add(part)
        assert sum(map(len, kept._parts)) <= 1000
    assert kept.seen == 5000 and len(kept.rows()) == 500
    np.testing.assert_allclose(np.median(kept.rows(), 0), np.median(magnitudes, 0), atol=0.15)
    (said,) = check_of(magnitudes, parts=20)
    assert said.startswith("mine: the median colours of 5000 galaxies")
    assert check_of(magnitudes[::-1], parts=7) == [said]


def test_many_rows_outside_the_domain_are_noticed():
    check = SampleCheck(make_space(grids=2).with_domain(domain()))
    check.count("mine", ["a star"] * 10 + [None] * 20)
    check.count("other", ["a star"] * 10 + [None] * 40)  # a fifth
    check.count("few", ["a star"] * 49)
    assert check.warnings() == []
    check.count("mine", ["an artefact"] * 3 + [None] * 17)
    (said,) = check.warnings()
    assert said.startswith(
        "mine: 13 of 50 rows lie outside the domain, most often: a star (10); an artefact (3)"
    )


def test_extraction_counts_usable_rows_outside_the_domain(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_check, "_FEWEST_ROWS", 5)
    images = np.random.default_rng(0).normal(0, 0.01, (6, 3, 140, 140)).astype(np.float32)
    images[0] = 0  # not usable
    sample = Sample(write_sample(tmp_path / "d", images))
    space = make_space()
    inputs, _ = load_images(sample, np.arange(2), space.encoder("decals"), space.frame)
    width = summarise(space, inputs, space.encode(inputs, "decals")).values.shape[1]
    with pytest.warns(SampleWarning, match=r"decals: 5 of 5 rows .*: no galaxy detected .* \(5\)"):
        extract(space.with_domain(domain(colours=None, inputs=width)), sample)


def test_extraction_warns_once(tmp_path):
    ramp = (np.arange(140) - 69.5) * 0.262
    disc = np.exp(-np.hypot(ramp[:, None], ramp) / 1.2)
    disc = disc * 500 / disc.sum() * np.array([1.0, 3.0, 1.0])[:, None, None]
    images = (disc + np.random.default_rng(0).normal(0, 0.01, (24, 3, 140, 140))).astype(np.float32)
    sample = Sample(write_sample(tmp_path / "d", images))
    space = make_space()
    inputs, _ = load_images(sample, np.arange(24), space.encoder("decals"), space.frame)
    values = summarise(space, inputs, space.encode(inputs, "decals")).values
    found = photometry_of(values, space.frame)
    expected = 22.5 - 2.5 * np.log10(500 * np.array([1, 3, 1]))
    np.testing.assert_allclose(found.magnitudes, np.tile(expected, (24, 1)), atol=0.5)
    np.testing.assert_allclose(found.wavelengths_nm, np.tile(FRAME_NM, (24, 1)), rtol=1e-3)
    wrong = space.with_domain(domain(inputs=values.shape[1]))
    with pytest.warns(SampleWarning, match="decals: the median colours of 24 galaxies") as caught:
        extract(wrong, sample)
    assert len(caught) == 1
    extract(space.with_domain(replace(wrong.domain, colours=None)), sample)

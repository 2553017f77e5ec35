import numpy as np
import pytest
from conftest import blobs, make_space, write_sample

from galaxy_da.cli import main
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey
from training.adaptation import adapt
from training.adaptation.populations import Measured, compare_populations, measure_galaxies
from training.adaptation.unpaired import UnpairedImages

N = 450


def samples(folder, factor=1.0):
    """Different galaxies in two surveys, the second fainter by a factor."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(130, 230, N), rng.uniform(0, 30, N)
    paths = [
        write_sample(folder / survey, flux * blobs(N, side, pixel, seed=seed), survey, ra=ra,
                     dec=dec, bands=["g,r,z"] * N)
        for survey, flux, seed, side, pixel in (
            ("decals", 1, 1, 128, 0.262), ("sdss", factor, 2, 86, 0.396)
        )
    ]  # fmt: skip
    return tuple(map(Sample, paths))


def measured(magnitude, size=1.0, dec=0.0, n=400, seed=0):
    rng = np.random.default_rng(seed)
    return Measured(
        magnitude=rng.normal(magnitude, 1, n), log_size=rng.normal(np.log(size), 0.3, n),
        ra=rng.uniform(130, 230, n), dec=rng.uniform(0, 30, n) + dec,
    )  # fmt: skip


def test_magnitudes_and_sizes_of_known_galaxies_are_measured(tmp_path):
    """Blobs of known flux within 4 arcsec and known width."""
    space, survey = make_space(), get_survey("decals")
    n, sigma, flux = 60, np.linspace(0.9, 1.6, 60), np.geomspace(5, 200, 60)
    axis = (np.arange(128) - 63.5) * 0.262
    square = axis[:, None] ** 2 + axis**2
    psf = survey.band("r").psf_fwhm_arcsec / np.sqrt(8 * np.log(2))
    total = (sigma**2 + psf**2)[:, None, None]
    images = flux[:, None, None] * np.exp(-square / total / 2) / (2 * np.pi * total) * 0.262**2
    cutouts = np.repeat(images[:, None], 3, axis=1).astype(np.float32)
    sample = Sample(write_sample(tmp_path, cutouts, bands=["g,r,z"] * n))
    encoder = space.encoder("decals")
    inputs, _ = load_images(sample, np.arange(n), encoder, space.frame)
    found = measure_galaxies(inputs, encoder, space.frame, np.zeros(n), np.zeros(n))
    inside = 1 - np.exp(-(4.0**2) / total[:, 0, 0] / 2)
    np.testing.assert_allclose(found.magnitude, 22.5 - 2.5 * np.log10(flux * inside), atol=0.05)
    np.testing.assert_allclose(np.exp(found.log_size), sigma, rtol=0.12)


def test_equal_populations_match():
    record, warning = compare_populations(measured(19), measured(19.2, seed=1))
    assert record["match"] and not warning
    assert record["brightness_mag"] == pytest.approx(0.2, abs=0.1)
    assert record["near_share"] > 0.9


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (measured(21, seed=1), "magnitudes differ by 1.9"),
        (measured(19, size=1.8, seed=1), "sizes differ by a factor of 1."),
    ],
    ids=["fainter", "larger"],
)
def test_other_galaxies_do_not_match(other, told):
    record, warning = compare_populations(measured(19), other)
    assert not record["match"] and told in warning
    assert max(record["brightness_mag"] - 2, (record["log_size"] or 0) - np.log(1.8)) < 0.1


def test_another_field_is_noted():
    record, warning = compare_populations(measured(19), measured(19, dec=-60, seed=1))
    assert record["match"] and record["near_share"] == 0
    assert warning == "only 0% of the target's galaxies lie near an anchor galaxy"


def test_a_target_two_magnitudes_fainter_is_kept_by_definition(tmp_path):
    space = adapt(make_space(), *samples(tmp_path, 10 ** (-0.4 * 2)))
    record = space.encoder("sdss").record
    assert record["chosen"] == "by definition" and not record["candidates"]
    assert record["populations"]["brightness_mag"] == pytest.approx(2, abs=0.3)
    assert "the samples hold different galaxies: magnitudes differ by" in record["warnings"][0]
    network, anchor = (space.encoder(name).network for name in ("sdss", "decals"))
    for ours, theirs in zip(network.parameters(), anchor.parameters(), strict=True):
        assert ours.equal(theirs)


def test_the_command_says_so_in_one_line(tmp_path, capsys):
    first, second = samples(tmp_path, 10 ** (-0.4 * 2))
    make_space().save(tmp_path / "space")
    options = {"space": tmp_path / "space", "anchor": first.path, "target": second.path,
               "out": tmp_path / "adapted"}  # fmt: skip
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    assert main(["adapt", *words]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("note: sdss: the samples hold different galaxies: magnitudes")


def test_the_surveys_are_compared_in_the_band_nearest_to_r(tmp_path):
    first, second = samples(tmp_path)
    space = make_space()
    start = space.by_definition(get_survey("sdss"), ("g", "r", "z"))
    images = UnpairedImages.load(space, (first, second), start, seed=0)
    record, warning = images.populations
    assert record["match"] and not warning
    assert record["brightness_mag"] < 0.3

"""Fit of an instrument that differs from the definition handed over."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import pair_table, write_sample
from instrument_helpers import (
    ANCHOR,
    FRAME,
    PIXEL,
    SIZES,
    Galaxies,
    counts,
    noise_of,
    survey_of,
    train_space,
)
from numpy.testing import assert_allclose

from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import VariationalAutoencoder
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import get_survey
from training.adaptation import AdaptSettings, FineTuningSettings, adapt
from training.adaptation.images import PairedImages
from training.adaptation.instrument import corrected, fit_to_pairs, instrument_record

PSF, DEPTH = (1.3, 1.2, 1.1), (23.5, 22.9, 22.0)
STATED = survey_of("target", PSF, DEPTH, zeropoint=22.5)
TRUE = survey_of("target", tuple(1.3 * width for width in PSF), DEPTH, zeropoint=22.8)
SKY = (0.03, 0.04, 0.10)  # nanomaggy / arcsec^2
UNTRAINED = AdaptSettings(fine_tuning=FineTuningSettings(steps=0))


def target_counts(n=200, seed=1, true=TRUE, sky=SKY):
    """Return galaxies, and their images by the true instrument, in its counts."""
    galaxies = Galaxies.draw(n, seed)
    psf = torch.tensor([band.psf_fwhm_arcsec for band in true.bands])
    depth = torch.tensor([band.depth_mag for band in true.bands])
    flux = galaxies.observed(psf, noise_of(depth, psf), seed + 1)
    flux = flux + torch.tensor(sky)[:, None, None] * PIXEL**2
    return galaxies, counts(flux, true.zeropoint_mag)


def random_space():
    """Return a space whose untrained network depends on the instrument."""
    torch.manual_seed(3)
    model = VariationalAutoencoder(SIZES)
    torch.nn.init.normal_(model.encoder.body.modulation[-1].weight, std=0.05)
    encoder = SurveyEncoder(survey=ANCHOR, bands=FRAME.bands, network=model.encoder)
    return LatentSpace(
        SpaceParts(
            architecture=SIZES, frame=FRAME, anchor="anchor", encoders={"anchor": encoder},
            decoder=model.decoder,
        )
    )  # fmt: skip


def prepared(space, survey, images):
    cutouts = [
        Cutout(pixels=image, bands=FRAME.bands, pixel_scale_arcsec=PIXEL, centre_xy=(15.5, 15.5))
        for image in images
    ]
    encoder = space.by_definition(survey)
    return encoder, encoder.prepare(cutouts, FRAME).inputs


def numbers(zeropoint=0.0, sky=(0.0, 0.0, 0.0), psf=1.0, depth=0.0, noise=1.0, wavelength=1.0):
    """Return the numbers of a fit, the same in each band but for the sky."""
    gain = -0.4 * np.log(10) * zeropoint
    rows = (gain, 0, np.log(psf), -0.4 * np.log(10) * depth, np.log(noise), np.log(wavelength))
    table = np.repeat(np.array(rows)[:, None], 3, axis=1)
    table[1] = np.array(sky) / FRAME.softening
    return table.tolist()


def test_a_correction_makes_the_inputs_of_the_true_definition():
    space, (_, images) = random_space(), target_counts(sky=(0, 0, 0))
    changed = TRUE.model_copy(
        update={
            "bands": tuple(
                band.model_copy(
                    update={
                        "depth_mag": band.depth_mag - 0.5,
                        "wavelength_nm": band.wavelength_nm * 1.04,
                    }
                )
                for band in TRUE.bands
            )
        }
    )
    stated, inputs = prepared(space, STATED, images)
    _, expected = prepared(space, changed, images)
    network = corrected(space, stated.network, numbers(0.3, psf=1.3, depth=-0.5, wavelength=1.04))
    made = network.correction(inputs)
    softened = [FRAME.softening_at(band.wavelength_nm) for band in STATED.bands]
    other = [FRAME.softening_at(band.wavelength_nm) for band in changed.bands]
    scale = torch.tensor(np.divide(other, softened), dtype=torch.float32)[:, None, None]
    assert_allclose(made.images, torch.asinh(expected.images.sinh() * scale), atol=1e-4)
    own, right = (side.conditions.clone() for side in (made, expected))
    bands = [5 * band for band in range(3)]
    for column in (1, 4):  # PSF and wavelength
        assert_allclose(own[:, [b + column for b in bands]], right[:, [b + column for b in bands]],
                        atol=1e-4)  # fmt: skip
    for column, near in ((2, 1e-3), (3, 0.15)):  # depth and noise, which bright light changes
        shift = scale.flatten().log() / 1.2
        assert_allclose(
            own[:, [b + column for b in bands]],
            right[:, [b + column for b in bands]] + shift,
            atol=near,
        )


def test_numbers_are_recorded_in_physical_units():
    space = random_space()
    found = numbers(0.3, SKY, psf=1.3, depth=-0.5, noise=1.2, wavelength=1.04)
    record = instrument_record(space, space.by_definition(STATED), found)
    assert list(record) == ["g", "r", "z"]
    assert record["r"] == pytest.approx(
        {
            "zeropoint_mag": 0.3,
            "sky": SKY[1],
            "psf_factor": 1.3,
            "noise_factor": 1.2,
            "depth_mag": -0.5,
            "wavelength_nm": 0.04 * 1.01 * 642,
        },
        rel=0.03,
    )


def test_numbers_that_explain_the_anchors_latents_are_found():
    """The network is frozen and untrained; the answer is known exactly."""
    space, (_, images) = random_space(), target_counts()
    encoder, inputs = prepared(space, STATED, images)
    truth = numbers(0.3, SKY, psf=1.3)
    mean, variance = corrected(space, encoder.network, truth).encode(inputs, precision="fp32")
    pairs = PairedImages(
        space=space, encoder=encoder, anchor=inputs, target=inputs, mean=mean, variance=variance
    )
    before = encoder.network.encode(inputs, precision="fp32").mean
    found = fit_to_pairs(pairs)
    after = corrected(space, encoder.network, found).encode(inputs, precision="fp32").mean
    assert (after - mean).square().mean() < 0.02 * (before - mean).square().mean()
    assert_allclose(found[0], truth[0], atol=0.1)


def write_surveys(folder, n=1500, **target):
    """Write the anchor's sample, the target's of the same galaxies, and return them with pairs."""
    galaxies, flux = target_counts(n, **target)
    psf = torch.tensor([band.psf_fwhm_arcsec for band in ANCHOR.bands])
    depth = torch.tensor([band.depth_mag for band in ANCHOR.bands])
    anchor = galaxies.observed(psf, noise_of(depth, psf), 77)
    rng = np.random.default_rng(0)
    place = {"ra": rng.uniform(130, 230, n), "dec": rng.uniform(0, 30, n), "bands": ["g,r,z"] * n}
    here = write_sample(folder / "a", counts(anchor, 22.5), "anchor", **place)
    there = write_sample(folder / "t", flux, "target", **place)
    first, second = Sample(here), Sample(there)
    ids = (first.catalog["object_id"], second.catalog["object_id"])
    return first, second, pair_table(*ids)


@pytest.fixture(scope="module")
def trained():
    return train_space()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_true_instrument_is_fitted_and_found_better_than_the_definition(trained, tmp_path):
    first, second, pairs = write_surveys(tmp_path)
    space = adapt(trained, first, second, pairs, survey=STATED, settings=UNTRAINED)
    record = space.encoder("target").record
    gain = {item["name"]: item["gain"] for item in record["candidates"]}["instrument"]
    assert gain > 2 * record["gain_error"]
    print(json.dumps(record["instrument"], indent=1))
    fitted = {key: [band[key] for band in record["instrument"].values()]
              for key in ("zeropoint_mag", "psf_factor", "sky")}  # fmt: skip
    assert_allclose(fitted["zeropoint_mag"], 0.3, atol=0.1)
    assert np.mean(fitted["zeropoint_mag"]) == pytest.approx(0.3, abs=0.05)
    assert np.mean(fitted["psf_factor"]) == pytest.approx(1.3, abs=0.2)
    assert_allclose(np.array(fitted["sky"]) / FRAME.softening, np.array(SKY) / FRAME.softening,
                    atol=0.25)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_exact_definition_is_hardly_changed(trained, tmp_path):
    first, second, pairs = write_surveys(tmp_path, true=STATED, sky=(0, 0, 0))
    record = adapt(
        trained, first, second, pairs, survey=STATED, settings=UNTRAINED
    ).encoder("target").record  # fmt: skip
    for softening, band in zip(FRAME.softening, record["instrument"].values(), strict=True):
        assert abs(band["zeropoint_mag"]) < 0.1
        assert band["psf_factor"] == pytest.approx(1, abs=0.1)
        assert abs(band["sky"]) < 0.3 * softening


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_shipped_space_gains_from_an_instrument_fitted_to_a_simulated_survey(tmp_path):
    """SDSS with a PSF 30% wider and a zeropoint 0.3 mag from those that are stated.

    The numbers make the latents agree; a network that hardly minds calibration does not tell them.
    """
    stated = get_survey("sdss").model_copy(
        update={"name": "target", "flux_unit": "count", "stretch": None}
    )
    wide = [
        band.model_copy(update={"psf_fwhm_arcsec": 1.3 * band.psf_fwhm_arcsec})
        for band in stated.bands
    ]
    true = stated.model_copy(
        update={"bands": tuple(wide), "zeropoint_mag": stated.zeropoint_mag + 0.3}
    )
    simulate([get_survey("decals"), true], 1500, tmp_path, SkySettings(seed=4), progress=False)
    space = adapt(
        LatentSpace.load("decals"), *(Sample(tmp_path / name / "sample.parquet")
                                      for name in ("decals", "target")),
        pq.read_table(tmp_path / "pairs-decals-target.parquet"), survey=stated,
        settings=UNTRAINED,
    )  # fmt: skip
    record = space.encoder("target").record
    gains = {item["name"]: item["gain"] for item in record["candidates"]}
    assert gains["instrument"] > record["gain_error"]

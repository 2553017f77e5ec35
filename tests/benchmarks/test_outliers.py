"""Recall of outlier rankings, and the sky with injected outliers."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from index_helpers import make

from benchmarks.outliers import injected as module
from benchmarks.outliers.injected import ORDINARY, SINGLE_SURVEY_KINDS, simulate_with_outliers
from benchmarks.outliers.odd_galaxies import ODD_KINDS, in_components
from benchmarks.outliers.real_images import real_indexes, real_rows
from benchmarks.outliers.recall import InjectedSky, kind_rows, recall_at
from benchmarks.outliers.simulated import learning_rows, pair_rows
from catalogs.simulation.colours import population_shares
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for
from galaxy_da.extraction.loading import read_batches
from galaxy_da.io.features import Features
from galaxy_da.surveys import get_survey


def test_recall_equals_that_by_hand():
    rng = np.random.default_rng(0)
    kinds = np.where(rng.random(1000) < 0.2, "odd", ORDINARY).astype(object)
    score = rng.normal(size=1000) + 2 * (kinds == "odd")
    ordinary = np.sort(score[kinds == ORDINARY])
    above = ordinary[-int(0.01 * len(ordinary)) - 1]
    by_hand = (score[kinds == "odd"] > above).mean()
    assert recall_at(score, kinds, "odd") == pytest.approx(by_hand, abs=0.02)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    surveys = [get_survey("decals"), get_survey("sdss")]
    samples = simulate_with_outliers(
        surveys, 40, 2, seed=3, out=tmp_path_factory.mktemp("outliers")
    )
    pixels = {}
    for name, sample in samples.items():
        _, cutouts = zip(*read_batches(sample, {name: get_survey(name)}), strict=True)
        pixels[name] = np.stack([cutout.pixels for batch in cutouts for cutout in batch])
    return samples, pixels


def test_each_kind_is_in_its_survey(sky):
    samples, _ = sky
    kinds = {name: sample.catalog["kind"].to_numpy() for name, sample in samples.items()}
    for kind in SINGLE_SURVEY_KINDS:
        assert [(kinds[name] == kind).sum() for name in samples] == [1, 1]
        assert not ((kinds["decals"] == kind) & (kinds["sdss"] == kind)).any()
    assert [(kinds[name] == "mismatch").sum() for name in samples] == [0, 2]
    for kind in ODD_KINDS:
        assert (kinds["decals"] == kind).sum() == 2
        assert ((kinds["decals"] == kind) == (kinds["sdss"] == kind)).all()
    assert (kinds["decals"] == ORDINARY).sum() == 40 - len(SINGLE_SURVEY_KINDS) - 2 * 3
    assert samples["decals"].catalog["object_id"].equals(samples["sdss"].catalog["object_id"])


def test_images_show_their_kind_of_outlier(sky):
    samples, pixels = sky
    for name, sample in samples.items():
        kinds = sample.catalog["kind"].to_numpy()
        zero = (pixels[name] == 0).all(axis=(2, 3)).sum(axis=1)
        assert (zero == (kinds == "blank")).all()
        middle = pixels[name].shape[-1] // 2
        core = np.nansum(
            pixels[name][:, 1, middle - 4 : middle + 5, middle - 4 : middle + 5], (1, 2)
        )
        assert core[kinds == "empty"].max() < np.median(core[kinds == ORDINARY]) / 3


def test_a_transient_has_the_flux_of_its_magnitude(monkeypatch):
    monkeypatch.setattr(module, "_TRANSIENT_MAG", (19.0, 19.0))
    for name in ("decals", "hsc"):
        survey = get_survey(name)
        side = int(33 / survey.pixel_scale_arcsec)
        blank = module.torch.zeros(3, 2, side, side, dtype=module.torch.float64)
        psf = np.full((3, 2), 0.9)
        added = module._point_sources(blank, survey, psf, np.random.default_rng(0)).numpy()
        unit = survey.flux_pixel_scale_arcsec or survey.pixel_scale_arcsec
        total = added.sum((2, 3)) * (survey.pixel_scale_arcsec / unit) ** 2
        expected = 10 ** (0.4 * (22.5 - 19.0)) / survey.nanomaggy_per_unit
        np.testing.assert_allclose(total, expected, rtol=0.04)


def test_added_light_has_its_colour_in_the_components_of_a_sky():
    drawn = draw_galaxies(1, np.random.default_rng(0))
    sky = drawn.render(frequencies_for(get_survey("sdss").bands))
    light = in_components(sky, population_shares(np.array([0.4]))[0])
    green, red = sky.mix([481.0, 642.0]) @ light
    assert -2.5 * torch.log10(green / red) == pytest.approx(0.4, abs=0.01)
    assert red == pytest.approx(1, abs=0.01)


def injected_sky(n=300):
    """Skies whose odd galaxies, mismatches and stars are known."""
    rng = np.random.default_rng(0)
    place, features = rng.normal(size=(n, 4)), {}
    for survey in ("decals", "sdss"):
        kinds = np.array([ORDINARY] * (n - 40) + ["ring"] * 20 + [ORDINARY] * 20, object)
        points = place + 0.1 * rng.normal(size=(n, 4))
        points[kinds == "ring"] += 3
        score, reasons = np.zeros(n, np.float32), np.full(n, None)
        if survey == "sdss":
            kinds[-20:-10], kinds[-10:] = "mismatch", "star"
            points[-20:-10] = np.roll(points[-20:-10], 1, axis=0)
            score[-10:], reasons[-10:] = 4, "a star"
        made = make(
            survey,
            list(points.astype(np.float32)),
            kind=pa.array(kinds.tolist()),
            domain_score=score,
            domain_reason=pa.array(reasons.tolist(), pa.string()),
        )
        flags = made.table.column_names.index("flags")
        table = made.table.set_column(flags, "flags", pa.array([0] * n, pa.int32()))
        features[survey] = Features(table=table, space_id="s" * 64, encoders={survey: "e"})
    return InjectedSky(features)


def test_kinds_are_measured_one_by_one():
    sky = injected_sky()
    rows = {row["kind"]: row for row in kind_rows([sky], ["decals", "sdss"])}
    assert rows["star"]["images"] == 10 and rows["ring"]["images"] == 40
    assert rows["star"]["bad data"] == rows["star"]["survey alone"] == 1
    assert rows["mismatch"]["bad data"] > 0.7 and rows["mismatch"]["survey alone"] == 0
    assert rows[ORDINARY]["bad data"] < 0.03
    assert rows["ring"]["strange at 1%"] > rows["ring"]["bad data"]
    by_measure = {row["measure"]: row for row in pair_rows([sky])}
    assert by_measure["residual of prediction"]["mismatch"] > 0.7
    learnt = {row["class"]: row for row in learning_rows([InjectedSky(sky.features)])[:1]}
    assert learnt["ring"]["random"] == 60 / 300
    assert learnt["ring"]["learning"] > 0.9


@pytest.mark.slow
def test_real_images_are_ranked(data):
    rows = {row["images"]: row for row in real_rows(real_indexes("decals", data))}
    assert rows["guide, SDSS"]["stars and artefacts"] == 2
    assert all(0 <= row["bad data"] < 0.5 for row in rows.values())
    assert rows["Galaxy10 DECaLS"]["random"] == pytest.approx(60 / 110, abs=0.02)

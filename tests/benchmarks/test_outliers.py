"""Recall of outlier rankings, and the sky with injected outliers."""

import numpy as np
import pyarrow as pa
import pytest
from index_helpers import make
from sklearn.metrics import roc_auc_score

from benchmarks.outliers import injected as module
from benchmarks.outliers.injected import ORDINARY, SINGLE_SURVEY_KINDS, simulate_with_outliers
from benchmarks.outliers.recall import detection, method_rows, purity, ranked_kinds
from benchmarks.outliers.tables import guide_rows
from galaxy_da.extraction.loading import read_batches
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.surveys import get_survey


def test_detection_equals_that_by_hand():
    rng = np.random.default_rng(0)
    is_outlier = rng.random(1000) < 0.2
    score = rng.normal(size=1000) + 2 * is_outlier
    recall, auc = detection(score, is_outlier, share=0.05)
    above = np.sort(score[~is_outlier])[-int(0.05 * (~is_outlier).sum()) - 1]
    assert recall == pytest.approx((score[is_outlier] > above).mean(), abs=0.01)
    assert auc == pytest.approx(roc_auc_score(is_outlier, score))
    assert purity(is_outlier[np.argsort(-score)], 20) == is_outlier[np.argsort(-score)[:20]].mean()
    with pytest.raises(ValueError, match="0 of 10 objects are outliers"):
        detection(score[:10], np.zeros(10, bool))


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    surveys = [get_survey("decals"), get_survey("sdss")]
    samples = simulate_with_outliers(
        surveys, 32, 2, seed=3, out=tmp_path_factory.mktemp("outliers")
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
    assert ((kinds["decals"] == "ring") == (kinds["sdss"] == "ring")).all()
    assert (kinds["decals"] == ORDINARY).sum() == 32 - len(SINGLE_SURVEY_KINDS) - 2
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


def test_methods_are_compared_kind_by_kind():
    rng = np.random.default_rng(0)
    kinds = np.array([ORDINARY] * 280 + ["far"] * 10 + ["blurred"] * 10)
    place, features = rng.normal(size=(300, 4)), []
    for survey in ("decals", "sdss"):
        points = (place + 0.1 * rng.normal(size=(300, 4))).astype(np.float32)
        if survey == "decals":
            points[kinds == "far"] += 9
        made = make(survey, list(points), kind=pa.array(kinds))
        error = np.where(kinds == "blurred", 9, rng.uniform(1, 2, 300)).astype(np.float32)
        variance = pa.array(list(np.full((300, 4), 0.01)), pa.list_(pa.float32(), 4))
        table = made.table
        for name, column in (("reconstruction_error", [error]), ("variance", variance)):
            table = table.set_column(table.column_names.index(name), name, column)
        features.append(Features(table=table, space_id="s" * 64, encoders={survey: "e"}))
    index = LatentIndex.build(features)
    rows = {(r["method"], r["measure"]): r for r in method_rows([index], ["decals"])}
    assert rows["lof", "AUC"]["far"] == rows["lof", "recall at 1%"]["far"] == 1
    assert 0.2 < rows["lof", "AUC"]["blurred"] < 0.8
    assert rows["reconstruction", "AUC"]["blurred"] == 1
    assert rows["combined", "AUC"]["mean"] > 0.98
    assert rows["disagreement", "recall at 1%"]["far"] == 1
    score, ranked = ranked_kinds(index, "lof", "decals")
    assert (np.diff(score) <= 0).all() and purity(ranked == "far", 10) == 1


@pytest.mark.slow
def test_the_guides_artefacts_are_ranked(data):
    rows = guide_rows("decals", data / "galaxy_zoo_guide.parquet", ("sdss",))
    assert all(0 < row["artefacts"] < row["images"] for row in rows)
    assert all(0 <= row["AUC"] <= 1 for row in rows)

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, make_space, pair_table, write_sample
from sklearn.metrics import confusion_matrix

from evaluation.evaluate import evaluate
from evaluation.reports.detail_sections import detail_sections, shown_measures
from evaluation.reports.details import SurveyResult, measure_details
from evaluation.reports.figures import figure_table, recall_table
from evaluation.targets import TargetSurvey
from evaluation.transfer import MorphologyClassifier
from evaluation.truth import galaxy_properties
from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey

N = 200


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """One sky in DECaLS and SDSS, and a truth table in another order."""
    folder = tmp_path_factory.mktemp("sky")
    bands = {"bands": ["g,r,z"] * N}
    decals = write_sample(folder / "decals", blobs(N, 140, 0.262))
    sdss = write_sample(folder / "sdss", blobs(N, 92, 0.396, noise=0.05), "sdss", **bands)
    rng = np.random.default_rng(0)
    order = rng.permutation(N)
    truth = {
        "decals_id": [f"decals-{i:04d}" for i in order],
        "r_mag": 17 + 4.5 * order / N,
        "half_light_arcsec": rng.uniform(0.5, 4, N),
        "g_minus_r": rng.normal(size=N),
        "label": np.where(order % 2, "spiral", "disc"),
    }
    pq.write_table(pa.table(truth), folder / "truth.parquet")
    samples = [Sample(path) for path in (decals, sdss)]
    pairs = pair_table([f"decals-{i:04d}" for i in range(N)], [f"sdss-{i:04d}" for i in range(N)])
    return make_space(), *samples, pairs, folder / "truth.parquet"


def test_truth_is_joined_by_id(sky):
    _, decals, *_, truth = sky
    known = galaxy_properties(decals, truth)
    assert np.allclose(known.numbers("r_mag"), 17 + 4.5 * np.arange(N) / N)
    assert known.texts("label").tolist() == ["disc", "spiral"] * (N // 2)
    assert known.numbers("nothing") is None


def test_a_truth_table_of_other_galaxies_is_refused(sky, tmp_path):
    pq.write_table(pa.table({"object_id": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="none of the 1 ids in column object_id"):
        galaxy_properties(sky[1], tmp_path / "t.parquet")
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "u.parquet")
    with pytest.raises(TableError, match="needs a column object_id or decals_id"):
        galaxy_properties(sky[1], tmp_path / "u.parquet")


@pytest.fixture(scope="module")
def measured(sky):
    space, decals, sdss, pairs, truth = sky
    target = TargetSurvey(sample=sdss, pairs=pairs, survey=get_survey("sdss"))
    details = measure_details(space, decals, target, galaxy_properties(decals, truth))
    evaluation = evaluate(space, decals, target)
    return SurveyResult(target=target, evaluation=evaluation, details=details)


def test_details_cover_the_test_part(measured):
    figures, evaluation = measured.details.figures, measured.evaluation
    for name in ("r_mag", "size_over_psf"):
        strata = figures["strata"][name]["adapted"].values()
        assert sum(s["queries"] for s in strata) == evaluation.adapted.queries
        mean = sum(s["queries"] * s["recall_at_1"] for s in strata) / evaluation.adapted.queries
        assert mean == pytest.approx(evaluation.adapted.recall_at_1)
    assert figures["hard"]["adapted"]["recall_at_1"] >= evaluation.adapted.recall_at_1
    total = np.sum(figures["transfer"]["confusion"]["adapted"])
    assert total == evaluation.adapted.queries
    assert len(measured.details.hard_distances) == evaluation.adapted.queries
    assert "match_probability" not in figures


def test_every_figure_is_in_the_table(measured):
    evaluation, details = measured.evaluation, measured.details
    table = figure_table([measured]).to_pylist()
    by_place = {(row["part"], row["measure"]): row for row in table}
    assert len(by_place) == len(table)
    row = by_place["adapted", "recall_at_1"]
    assert (row["value"], row["low"]) == (
        evaluation.adapted.recall_at_1, evaluation.adapted.recall_at_1_low,
    )  # fmt: skip
    logistic = details.figures["domains"]["adapted"]["logistic"]
    assert by_place["domains/adapted", "logistic"]["value"] == logistic


def test_the_recall_table_has_a_row_per_encoder(measured):
    rows = recall_table([measured]).to_pylist()
    assert [row["encoder"] for row in rows] == ["by definition", "adapted (by definition)"]
    assert rows[0]["recall@1"] == measured.evaluation.by_definition.recall_at_1


def test_measures_without_their_column_are_left_out(sky):
    space, decals, sdss, pairs, _ = sky
    target = TargetSurvey(sample=sdss, pairs=pairs, survey=get_survey("sdss"))
    details = measure_details(space, decals, target, galaxy_properties(decals))
    assert set(details.figures) == {"domains"}
    assert details.hard_distances is None
    shown = shown_measures([details])
    assert shown["domains"] and not (shown["strata"] or shown["hard"])
    assert [text.partition(",")[0] for text in shown["missing"]] == [
        "recall by r magnitude", "recall by size over the PSF", "similar galaxies",
    ]  # fmt: skip


def test_text_of_hard_cases_promises_the_tables_that_follow(measured):
    sections = detail_sections("SDSS", {}, measured.details)
    shown = shown_measures([None, measured.details])
    assert len(shown["strata"]) == len(sections["strata"]) == 2
    assert shown["hard"] == any("similar galaxies" in name for name, *_ in sections["recalls"])
    assert shown["missing"] == []


def test_confusion_counts_predicted_classes():
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[rng.integers(3, size=120)]
    latents = rng.normal(size=(120, 2)) + (labels == "a")[:, None]
    classifier = MorphologyClassifier(latents[:60], labels[:60])
    found = classifier.confusion(latents[60:], labels[60:])
    right = classifier.score(latents[60:], labels[60:])["accuracy"]
    assert np.trace(found) == pytest.approx(60 * right)
    assert found.sum(1).tolist() == confusion_matrix(labels[60:], labels[60:]).sum(1).tolist()


def test_each_logged_term_has_a_curve():
    rows = [{"step": 10, "mmd": 2.0, "mean_rank": 1.0}, {"step": 20, "mmd": 1.0, "mean_rank": 0.5}]
    curves = detail_sections("SDSS", {"curves": rows}, None)["curves"]
    assert [(c["name"], c["first"], c["last"], c["steps"]) for c in curves] == [
        ("mmd", 2.0, 1.0, 20), ("mean rank", 1.0, 0.5, 20)
    ]  # fmt: skip
    assert all(f"SDSS, {c['name']}: from" in c["svg"] for c in curves)

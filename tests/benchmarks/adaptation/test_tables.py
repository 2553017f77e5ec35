import math

import numpy as np
from numpy.testing import assert_allclose

from benchmarks.adaptation.settings import BenchmarkSettings, benchmark_survey
from benchmarks.adaptation.summary import markdown
from benchmarks.adaptation.tables import figures_of, mean_over_seeds


def result(seed, method, recall, accuracy, half=0.1):
    figures = {}
    for name in ("recall_at_1", "recall_at_10", "mean_reciprocal_rank", "median_rank"):
        figures |= {name: recall, f"{name}_low": recall - half, f"{name}_high": recall + half}
    where = {
        "observation": "aligned",
        "latents": "all",
        "direction": "forward",
        "distractors": "random",
        "stratum": "all",
    }
    return {
        "seed": seed,
        "target": "sdss",
        "variant": "all",
        "method": method,
        "seconds": 1.0,
        "retrieval": [{**where, "queries": 9, "pool": 100, **figures}],
        "transfer": {
            "in_domain": {"accuracy": 0.9},
            "aligned": {"accuracy": accuracy},
            "rotated": {"accuracy": 0.3},
        },
    }


RESULTS = [
    result(1, "ceiling", 0.8, 0.9),
    result(2, "ceiling", 0.8, 0.9),
    result(1, "by definition", 0.5, 0.6),
    result(2, "by definition", 0.6, 0.6),
    result(1, "adapt", 0.7, 0.75),
    result(2, "adapt", 0.9, 0.9),
]


def one(frame, **where):
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_spreads_and_intervals_equal_those_by_hand():
    means = mean_over_seeds(figures_of(RESULTS))
    row = one(means, method="adapt", measure="recall_at_1")
    assert row["seeds"] == 2
    assert_allclose([row["value"], row["seed_sd"]], [0.8, np.std([0.7, 0.9], ddof=1)])
    half = 0.1 / math.sqrt(2)
    assert_allclose([row["low"], row["high"]], [0.8 - half, 0.8 + half])
    assert math.isnan(one(means, method="adapt", measure="seconds")["low"])


def test_closed_gap_starts_by_definition_of_the_same_seed():
    means = mean_over_seeds(figures_of(RESULTS))
    where = {"measure": "transfer_gap_closed", "observation": "aligned"}
    assert_allclose(one(means, method="adapt", **where)["value"], 0.75)
    assert one(means, method="by definition", **where)["value"] == 0


def test_page_compares_adapt_with_best_baseline_and_ceiling():
    figures = figures_of(RESULTS)
    page = markdown(mean_over_seeds(figures), figures, [])
    assert "adapt is above the best baseline, by definition, by +0.250 ± 0.071 over seeds" in page
    assert "100.0% of the ceiling (goal of 95% reached)" in page
    worse = [*RESULTS[:4], result(1, "adapt", 0.4, 0.6), result(2, "adapt", 0.4, 0.6)]
    figures = figures_of(worse)
    page = markdown(mean_over_seeds(figures), figures, [])
    assert "adapt is NOT above the best baseline, by definition, by -0.150" in page
    assert "goal of 95% not reached" in page


def test_the_first_table_has_a_row_per_survey_and_a_column_per_reading():
    figures = figures_of(RESULTS)
    lines = markdown(mean_over_seeds(figures), figures, []).splitlines()
    start = lines.index("Recall@1, north up, all latents")
    assert lines[start + 2] == "| survey | by definition | adapted, all pairs | DECaLS again |"
    cells = [cell.split()[0] for cell in lines[start + 4].strip("| ").split(" | ")]
    assert cells == ["sdss", "0.550", "0.800", "0.800"]


def test_settings_give_variants():
    assert benchmark_survey("kids2").band_names == ("g", "r")
    assert benchmark_survey("small-telescope").pixel_scale_arcsec == 0.6
    assert benchmark_survey("space-telescope").band_names == ("wide",)
    assert [v.name for v in BenchmarkSettings().fewer()] == ["0 pairs", "300 pairs"]

import re

import numpy as np
import pyarrow as pa
import pytest

from catalogs.selections import SELECTIONS, Selection, select
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata, with_metadata

ANSWERS = sorted({answer for one in SELECTIONS.values() for answer, _ in one.cuts})


def _votes(n=2_000, spelling=str, seed=0):
    rng = np.random.default_rng(seed)
    votes = {f"{spelling(answer)}_fraction": rng.uniform(0, 1, n) ** 0.3 for answer in ANSWERS}
    return pa.table({"iauname": [f"J{row}" for row in range(n)], **votes})


# The published classes in pandas' words
DISC = "smooth_or_featured_featured_or_disk > {0} and disk_edge_on_no > {0}"
QUERIES = {
    "merger": (
        "merging_minor_disturbance > .6 or merging_major_disturbance > .6 or merging_merger > .6"
    ),
    "undisturbed": "disk_edge_on_no > .6 and merging_none > .8",
    "smooth-round": "smooth_or_featured_smooth > .7 and how_rounded_round > .8",
    "smooth-in-between": "smooth_or_featured_smooth > .7 and how_rounded_in_between > .85",
    "smooth-cigar": "smooth_or_featured_smooth > .5 and how_rounded_cigar_shaped > .6",
    "edge-on": "smooth_or_featured_featured_or_disk > .5 and disk_edge_on_yes > .7",
    "unbarred": DISC.format(0.5) + " and bar_no > .8",
    "weak-bar": DISC.format(0.5) + " and bar_weak > .5",
    "strong-bar": DISC.format(0.5) + " and bar_strong > .5",
    "no-spiral-arms": DISC.format(0.6) + " and has_spiral_arms_no > .6",
    "arms-loose": (
        DISC.format(0.6) + " and has_spiral_arms_yes > .6 and spiral_winding_loose > .6"
    ),
    "bulge-small": DISC.format(0.6) + " and bulge_size_small > .6",
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("spelling", [str, lambda answer: answer.replace("-", "_")])
def test_presets_equal_their_published_queries(name, spelling):
    catalog = _votes(spelling=spelling)
    frame = catalog.to_pandas().rename(
        columns=lambda column: re.sub("_fraction$", "", column.replace("-", "_"))
    )
    expected = frame.query(QUERIES[name])["iauname"].tolist()
    assert 0 < len(expected) < len(catalog)
    assert select(catalog, name)["iauname"].to_pylist() == expected


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_threshold_replaces_all(name):
    catalog = _votes()
    rows = select(catalog, name, threshold=0.9).to_pandas()
    fractions = [rows[f"{answer}_fraction"] > 0.9 for answer, _ in SELECTIONS[name].cuts]
    held = np.any(fractions, axis=0) if SELECTIONS[name].any_of else np.all(fractions, axis=0)
    assert held.all()
    assert len(rows) < len(select(catalog, name, threshold=0.0))


def test_a_custom_selection_and_empty_fractions():
    catalog = pa.table({"a_fraction": [0.9, None, 0.2, np.nan], "b_fraction": [1.0, 1.0, 1.0, 1.0]})
    catalog = with_metadata(catalog, {"seed": 1})
    chosen = select(catalog, Selection((("a", 0.5), ("b", 0.5))))
    assert chosen["a_fraction"].to_pylist() == [0.9]
    assert read_metadata(chosen.schema) == {"seed": 1}
    assert len(select(catalog, Selection((("a", 0.5), ("b", 0.5)), any_of=True))) == 4


def test_mistakes_are_one_line():
    catalog = _votes(10)
    with pytest.raises(
        ValueError, match="unknown selection 'round'; there are merger, undisturbed"
    ):
        select(catalog, "round")
    with pytest.raises(
        ValueError, match=r"threshold must be a vote fraction in \[0, 1\) but is 60"
    ):
        select(catalog, "merger", threshold=60)
    with pytest.raises(CatalogError, match="no column 'bar_no_fraction' of vote fractions"):
        select(catalog.drop_columns(["bar_no_fraction"]), "unbarred")
    percent = catalog.set_column(1, "bar_no_fraction", pa.array(np.arange(10) * 10))
    with pytest.raises(
        CatalogError, match="'bar_no_fraction' spans 0 to 90; expected vote fractions"
    ):
        select(percent.select(["bar_no_fraction"]), Selection((("bar_no", 0.5),)))
    text = pa.table({"bar_no_fraction": ["yes"]})
    with pytest.raises(CatalogError, match="'bar_no_fraction' holds string, not fractions"):
        select(text, Selection((("bar_no", 0.5),)))

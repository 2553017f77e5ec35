"""Plots look as their baseline pictures, and refuse what they cannot draw.

``WRITE_BASELINES=1 python -m pytest tests/galaxy_da/plots`` draws the baselines again.
"""

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.testing.compare import compare_images

from galaxy_da import plots
from galaxy_da.io.samples import Flag

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 3.0  # root mean square of 8-bit values
RNG = np.random.default_rng


def pictures(n, side=24):
    """Draw round galaxies of several colours."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    found = []
    for i in range(n):
        light = np.exp(-(x**2 + (y * (1 + i / 4)) ** 2) / 30)[..., None]
        found.append((255 * light * np.array([1, 0.9 - i / 20, 0.5 + i / 20])).astype(np.uint8))
    return found


def pairs(n=400):
    rng = RNG(0)
    magnitude = rng.uniform(15, 21, n)
    return magnitude, np.exp((magnitude - 20) / 3 + rng.normal(0, 0.3, n)), rng.uniform(1, 4, 500)


def recalls():
    rows = [
        ("sdss", "by definition", 0.61, 0.55, 0.67),
        ("sdss", "adapted (ridge)", 0.72, 0.67, 0.77),
        ("hsc", "by definition", 0.91, 0.88, 0.94),
    ]
    names = ("survey", "encoder", "recall@1", "low", "high")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def draw_map(**colouring):
    points = RNG(1).normal(size=(200, 2)).astype(np.float32)
    return plots.latent_map(points, pictures=dict(enumerate(pictures(4))), **colouring)


def draw_map_of_values():
    return draw_map(values=np.linspace(15, 20, 200), title="r [mag]")


def draw_map_of_classes():
    return draw_map(labels=["spiral"] * 120 + ["elliptical"] * 80, title="class")


def draw_histogram():
    rng = RNG(2)
    return plots.distance_histogram(
        rng.gamma(2, 0.2, 500), rng.normal(3, 0.5, 900), rng.normal(1.5, 0.4, 300)
    )


PLOTS = {
    "gallery": lambda: plots.gallery(
        [*pictures(6), None],
        [f"galaxy {i}" for i in range(7)],
        marked={1},
        columns=4,
        title="Seven",
    ),
    "across-surveys": lambda: plots.across_surveys(
        {"DECaLS": pictures(3), "HSC": [*pictures(2), None]},
        {"HSC": ["0.12", "0.40", "not paired"]},
        marked={"HSC": {0}},
    ),
    "outlier-sheet": lambda: plots.outlier_sheet(
        pictures(3), [0.99, 0.98, 0.97], [0, int(Flag.SATURATED), 0], title="Outliers"
    ),
    "latent-map": draw_map_of_values,
    "latent-map-classes": draw_map_of_classes,
    "distance-magnitude": lambda: plots.distance_against_magnitude(*pairs()),
    "distance-histogram": draw_histogram,
    "reliability": lambda: plots.reliability([0.1, 0.4, 0.7, 0.95], [0.15, 0.35, 0.72, 0.9]),
    "recall": lambda: plots.recall(recalls()),
    "learning-curve": lambda: plots.learning_curve([0, 10, 20, 30], [4, 2, 1.5, 1.4], "loss"),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_look_as_their_baselines(name, tmp_path):
    expected, drawn = BASELINE / f"{name}.png", tmp_path / f"{name}.png"
    if os.environ.get("WRITE_BASELINES"):
        PLOTS[name]().savefig(expected, dpi=50)
    PLOTS[name]().savefig(drawn, dpi=50)
    assert compare_images(expected, drawn, TOLERANCE) is None


def test_the_comparison_sees_another_picture(tmp_path):
    drawn = tmp_path / "recall.png"
    other = recalls().set_column(2, "recall@1", pa.array([0.56, 0.76, 0.89]))
    plots.recall(other).savefig(drawn, dpi=50)
    assert compare_images(BASELINE / "recall.png", drawn, TOLERANCE) is not None


def test_a_chart_shows_itself_as_png_and_photographs_as_jpeg():
    chart, photographs = PLOTS["reliability"](), PLOTS["gallery"]()
    assert chart._repr_png_().startswith(b"\x89PNG") and chart._repr_jpeg_() is None
    assert photographs._repr_jpeg_().startswith(b"\xff\xd8\xff")
    assert photographs._repr_png_() is None


def test_svg_takes_the_colour_of_its_page_and_has_a_label():
    element = plots.to_svg(PLOTS["reliability"](), 'stated < 0.5 & "observed"')
    root = ElementTree.fromstring(element)
    assert root.attrib["aria-label"] == 'stated < 0.5 & "observed"'
    assert "currentColor" in element and "#1d1f24" not in element
    assert "stated probability" in "".join(root.itertext())


def test_points_on_the_map_need_one_value_each():
    with pytest.raises(ValueError, match="200 points but 3 values"):
        draw_map(values=np.zeros(3))
    with pytest.raises(ValueError, match="not by both"):
        draw_map(values=np.zeros(200), labels=["a"] * 200)


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="DECaLS 3, HSC 2"):
        plots.across_surveys({"DECaLS": pictures(3), "HSC": pictures(2)})
    with pytest.raises(ValueError, match="captions of HSC 1"):
        plots.across_surveys({"HSC": pictures(2)}, {"HSC": ["a"]})


def test_empty_galleries_and_missing_captions_are_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        plots.gallery([])
    with pytest.raises(ValueError, match="1 captions for 2 pictures"):
        plots.gallery(pictures(2), ["a"])


def test_pairs_without_magnitudes_are_refused():
    with pytest.raises(ValueError, match="none of the 3 pairs"):
        plots.distance_against_magnitude(np.full(3, np.nan), np.ones(3))


def test_flags_are_named():
    sheet = plots.galleries.flag_words(int(Flag.SATURATED | Flag.BLANK_BAND))
    assert sheet == "saturated, blank band"
    assert plots.galleries.flag_words(0) == "no flags"

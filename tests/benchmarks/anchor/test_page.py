import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import blobs, make_space, write_sample
from page_helpers import Page
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from benchmarks.anchor import AnchorReportSettings, read_drawn, write_anchor_report
from benchmarks.anchor.__main__ import _titles, report_anchor
from benchmarks.anchor.context import PageContext
from benchmarks.anchor.rates import Rate
from benchmarks.anchor.sample_sections import _labelled
from benchmarks.measures.image_quality import compare_images
from benchmarks.measures.reconstruction import encode_sample
from galaxy_da.errors import SpaceError, TableError
from galaxy_da.io.samples import Sample

N = 64
BLANK = 3
BITS = ((2, 10.0), (12, 60.0), (24, 62.0), (40, 70.0))
HOSTILE = '<script>alert("x")</script>&{{ title }}'
VOID = {"meta", "img", "polygon", "line", "br", "source", "path", "circle", "polyline"}


@pytest.fixture(scope="module")
def space():
    space = make_space(nuisance_latents=2)
    with torch.no_grad():  # an untrained decoder is almost blank
        space.decoder.body[-1].weight.mul_(300)
    return space


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    images = blobs(N, 140, 0.262)
    images[BLANK] = np.nan
    ids = [f"{HOSTILE} {i:04d}" for i in range(N)]
    return Sample(write_sample(tmp_path_factory.mktemp("sky"), images, object_id=ids))


@pytest.mark.slow
def test_the_command_writes_a_self_contained_page(space, sample, tmp_path):
    encoded = encode_sample(space, sample, 1000)
    first = np.full(N, np.nan)
    first[encoded.rows] = encoded.mean[:, 0]
    high = first > np.nanmedian(first)
    labels = {
        "object_id": sample.catalog["object_id"],
        "kind": [HOSTILE if h else "plain" for h in high],
        "bar_yes_fraction": np.where(high, 0.9, 0.1),
        "bar_no_fraction": np.where(high, 0.1, 0.9),
        "g_minus_r": first,
    }
    pq.write_table(pa.table(labels), tmp_path / "labels.parquet")
    np.save(tmp_path / "drawn.npy", np.random.default_rng(0).normal(size=(40, 6)))
    space.save(tmp_path / "space")
    make_space(seed=1, latents=3).save(tmp_path / "smaller")
    app = Typer()
    app.command()(report_anchor)
    words = ["--space", tmp_path / "space", "--sample", sample.path, "--out", tmp_path / "out"]
    words += ["--labels", tmp_path / "labels.parquet", "--drawn", tmp_path / "drawn.npy"]
    words += ["--compare", tmp_path / "smaller", "--json"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    figures = json.loads((tmp_path / "out" / "anchor.json").read_text(encoding="utf-8"))
    assert printed == {"report": str(tmp_path / "out" / "anchor.html"), **figures}
    text = (tmp_path / "out" / "anchor.html").read_text(encoding="utf-8")
    page = Page(text, VOID)
    pictures_are_inside(page)
    nothing_is_loaded(page, text)
    figures_are_on_the_page(page, text, figures, encoded)


def pictures_are_inside(page):
    images = page.find("img") + page.find("source")
    assert len(images) > 150
    for image in images:
        head, _, body = image.attributes.get("src", image.attributes.get("srcset")).partition(",")
        assert head == "data:image/webp;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(body)))
        picture.load()
        if "src" in image.attributes and "width" in image.attributes:
            assert picture.size == tuple(int(image.attributes[k]) for k in ("width", "height"))
            assert image.attributes["alt"]
    stills = page.find("source")
    assert {s.attributes["media"] for s in stills} == {"(prefers-reduced-motion: reduce)"}
    assert len(stills) == 1 + 4 + 4 + 2  # the opening, principal components, and every latent
    opening = page.find("img")[0].attributes["src"].partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(opening))).n_frames > 10


def nothing_is_loaded(page, text):
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = element.attributes.get(name) or "#"
            assert value.startswith(("data:image/webp;base64,", "#")), (element.tag, name)
    outside = re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    assert not any(word in outside for word in ("http", "url(", "@import", HOSTILE))
    assert page.find("script") == []
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    assert {a.attributes["href"][1:] for a in page.find("a")} == set(ids)


def figures_are_on_the_page(page, text, figures, encoded):
    assert figures["galaxies"] == N - 1
    span = figures["reconstruction"]["value_range"]
    expected = compare_images(encoded.decoded, encoded.images, span)
    assert {k: figures["reconstruction"][k] for k in expected} == pytest.approx(expected, rel=1e-5)
    assert f"{expected['psnr']:.2f} dB" in text
    assert f"{expected['mse']:.4f}" in text
    assert f"{sum(figures['latents']['kl_nat']):.1f} nat" in text
    assert f"{figures['latents']['active']} of 6" in text
    for sky in figures["reconstruction"]["sky"]:
        assert f"{100 * sky['residual_over_noise']:+.2f}%" in text
    assert set(figures["samples_auc"]) == {"prior", "gaussian", "kde", "external"}
    for auc in figures["samples_auc"].values():
        assert f"AUC <b>{auc:.3f}</b>" in text
    answers = {a["question"]: a for a in figures["answers"]}
    assert set(answers) == {"bar", "kind", "g_minus_r"}
    assert answers["bar"]["scores"]["galaxy"]["value"] > 0.85
    assert answers["g_minus_r"]["scores"]["galaxy"]["value"] > 0.5
    rows = [r.text for r in page.find("tr", "answers")]
    for answer in answers.values():
        value = answer["scores"]["galaxy"]["value"]
        score = f"{100 * value:.1f}%" if answer["counts"] else f"{value:.3f}"
        assert any(score in row and answer["question"].replace("_", " ") in row for row in rows)
    rows = [r.text for r in page.find("tr", "rates")]
    assert {r["name"] for r in figures["rates"]} == {"this space", "smaller", "PCA-3", "PCA-6"}
    for rate in figures["rates"]:
        assert any(rate["name"] in row and f"{rate['psnr']:.2f} dB" in row for row in rows)


@pytest.mark.slow
def test_sections_without_input_are_absent(sample, tmp_path):
    settings = AnchorReportSettings(title=HOSTILE, limit=24)
    figures = write_anchor_report(tmp_path / "a.html", make_space(), sample, settings)
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"), VOID)
    assert page.find("h1")[0].text == HOSTILE
    absent = {"nuisance", "answers", "rates"}
    assert absent.isdisjoint(e.attributes["id"] for e in page.find("h2"))
    assert figures["nuisance_sensitivity"] is None
    assert figures["answers"] == figures["rates"] == []
    assert figures["galaxies"] <= 24


def test_galaxies_behind_a_trail_are_not_shown(space, sample):
    encoded = encode_sample(space, sample, 1000)
    brightest = PageContext(encoded=encoded).bright[0]
    images = encoded.inputs.images.clone()
    images[brightest, 1, :, 5] += 20  # far from the galaxy
    trailed = replace(encoded, inputs=encoded.inputs.with_images(images))
    assert brightest not in PageContext(encoded=trailed).bright


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"limit": 5}, ValueError, "limit must be at least 20 galaxies but is 5"),
        ({"columns": ("bar",)}, ValueError, "columns bar are of labels but there are none"),
        ({"drawn": np.zeros((30, 5))}, ValueError, r"shape \(n, 6\).* have \(30, 5\)"),
        ({"labels": pa.table({"id": ["a"]})}, TableError, "needs a column object_id or decals_id"),
        (
            {"labels": pa.table({"object_id": ["nobody"], "kind": ["x"]})},
            TableError,
            "none of the 1 ids in column object_id",
        ),
    ],
)
def test_mistakes_are_named(space, sample, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        write_anchor_report(tmp_path / "a.html", space, sample, AnchorReportSettings(**change))
    assert list(tmp_path.iterdir()) == []


def test_another_survey_or_frame_is_refused(space, sample, tmp_path):
    sdss = write_sample(tmp_path / "sdss", blobs(24, 92, 0.396), "sdss", bands=["g,r,z"] * 24)
    with pytest.raises(TableError, match="holds sdss but the report is of the space's anchor"):
        write_anchor_report(tmp_path / "a.html", space, Sample(sdss))
    other = make_space()
    other.frame = other.frame.model_copy(update={"pixel_scale_arcsec": 0.3})
    settings = AnchorReportSettings(others={"wide": other})
    with pytest.raises(SpaceError, match="wide: has another frame or anchor"):
        write_anchor_report(tmp_path / "a.html", space, sample, settings)


def test_too_few_usable_cutouts_are_refused(tmp_path):
    images = np.full((22, 3, 140, 140), np.nan, np.float32)
    sample = Sample(write_sample(tmp_path / "sky", images))
    with pytest.raises(TableError, match="0 of 22 cutouts are usable"):
        encode_sample(make_space(), sample, 100)


def test_drawn_latents_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(TableError, match=r"none\.npy: is not a readable"):
        read_drawn(tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("no")
    with pytest.raises(TableError, match=r"text\.npy: is not a readable"):
        read_drawn(tmp_path / "text.npy")
    np.save(tmp_path / "gap.npy", np.full((3, 2), np.nan))
    with pytest.raises(TableError, match="not finite"):
        read_drawn(tmp_path / "gap.npy")


def test_compared_spaces_have_different_titles():
    paths = ["scan/latents-2", "s3://b/latents-3"]
    assert [title for title, _ in _titles(paths)] == ["latents-2", "latents-3"]
    assert [title for title, _ in _titles(["a/space", "b/space"])] == ["a/space", "b/space"]


def test_labels_of_a_chart_do_not_overlap():
    rates = [Rate(name="", latents=n, active=n, bits=b, mse=0, psnr=b, ssim=0) for n, b in BITS]
    points = _labelled(rates, "bits", (0.0, 100.0), (0.0, 100.0))
    assert [label for _, label in points] == ["10", "60", "", "70"]
    assert [x for (x, _), _ in points] == pytest.approx([3.2 * b for _, b in BITS])

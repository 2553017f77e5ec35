import base64
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import blobs, make_space, write_sample
from page_helpers import Page
from PIL import Image
from typer.testing import CliRunner

from benchmarks.anchor import read_drawn, write_anchor_report
from benchmarks.anchor.__main__ import _titles
from benchmarks.anchor.layouts import _labelled
from benchmarks.anchor.rates import Rate
from benchmarks.anchor.stage import Stage
from benchmarks.measures.image_quality import compare_images
from benchmarks.measures.reconstruction import encode_sample
from galaxy_da.errors import SpaceError, StorageError, TableError
from galaxy_da.io.samples import Sample

N = 64
BITS = ((2, 10.0), (12, 60.0), (24, 62.0), (40, 70.0))
BLANK = 3
HOSTILE = '<script>alert("x")</script>&{{ title }}'
VOID = {"meta", "img", "polygon", "line", "br", "source", "path", "circle", "polyline"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Sixty-four galaxies, one blank, in a space with two view latents; labels of three kinds."""
    folder = tmp_path_factory.mktemp("anchor")
    images = blobs(N, 140, 0.262)
    images[BLANK] = np.nan
    ids = [f"{HOSTILE} {i:04d}" for i in range(N)]
    sample = Sample(write_sample(folder / "sky", images, object_id=ids))
    space = make_space(nuisance_latents=2)
    with torch.no_grad():  # an untrained decoder draws next to nothing
        space.decoder.body[-1].weight.mul_(300)
    seen = encode_sample(space, sample, 1000)
    first = np.full(N, np.nan)
    first[seen.rows] = seen.mean[:, 0]
    high = first > np.nanmedian(first)
    labels = pa.table(
        {
            "object_id": ids,
            "kind": [HOSTILE if h else "plain" for h in high],
            "bar_yes_fraction": np.where(high, 0.9, 0.1),
            "bar_no_fraction": np.where(high, 0.1, 0.9),
            "g_minus_r": first,
        }
    )
    path = folder / "page.html"
    arguments = {"title": HOSTILE, "space": space, "sample": sample}
    figures = write_anchor_report(
        path,
        **arguments,
        labels=labels,
        others={"smaller": make_space(seed=1, latents=3)},
        drawn=np.random.default_rng(0).normal(size=(40, 6)),
    )
    text = path.read_text(encoding="utf-8")
    return SimpleNamespace(
        folder=folder,
        arguments=arguments,
        labels=labels,
        seen=seen,
        figures=figures,
        text=text,
        page=Page(text, VOID),
    )


def test_every_picture_is_inside_and_decodes(world):
    images = world.page.find("img") + world.page.find("source")
    assert len(images) > 150
    for image in images:
        head, _, body = image.attributes.get("src", image.attributes.get("srcset")).partition(",")
        assert head == "data:image/webp;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(body)))
        picture.load()
        if "src" in image.attributes and "width" in image.attributes:
            assert picture.size == tuple(int(image.attributes[k]) for k in ("width", "height"))
            assert image.attributes["alt"]


def test_what_moves_moves_and_can_be_asked_not_to(world):
    stills = world.page.find("source")
    assert {s.attributes["media"] for s in stills} == {"(prefers-reduced-motion: reduce)"}
    assert len(stills) == 1 + 4 + 4 + 2  # the opening, principal components, and every latent
    opening = world.page.find("img")[0].attributes["src"].partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(opening))).n_frames > 10


def test_the_page_asks_nobody_for_anything(world):
    for element in world.page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = element.attributes.get(name) or "#"
            assert value.startswith(("data:image/webp;base64,", "#")), (element.tag, name)
    outside = re.sub(r"data:image/webp;base64,[\w+/=]+", "", world.text)
    assert "http" not in outside
    assert "url(" not in outside
    assert "@import" not in outside
    ids = [e.attributes["id"] for e in world.page.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    assert {a.attributes["href"][1:] for a in world.page.find("a")} == set(ids)


def test_names_are_text_never_markup(world):
    assert world.page.find("script") == []
    assert HOSTILE not in world.text
    assert world.page.find("h1")[0].text == HOSTILE


def test_figures_are_those_of_the_library(world):
    seen, figures = world.seen, world.figures
    assert figures["galaxies"] == N - 1
    span = figures["reconstruction"]["value_range"]
    expected = compare_images(seen.decoded, seen.images, span)
    assert {k: figures["reconstruction"][k] for k in expected} == pytest.approx(expected, rel=1e-5)
    assert f"{expected['psnr']:.2f} dB" in world.text
    assert f"{expected['mse']:.4f}" in world.text
    kl = figures["latents"]["kl_nat"]
    assert f"{sum(kl):.1f} nat" in world.text
    assert f"{figures['latents']['active']} of 6" in world.text
    for sky in figures["reconstruction"]["sky"]:
        assert f"{100 * sky['residual_over_noise']:+.2f}%" in world.text
    for auc in figures["samples_auc"].values():
        assert f"AUC <b>{auc:.3f}</b>" in world.text
    assert set(figures["samples_auc"]) == {"prior", "gaussian", "kde", "given"}
    json.dumps(figures, allow_nan=False)


def test_answers_are_on_the_page_and_the_latent_that_made_them_gives_them(world):
    answers = {a["question"]: a for a in world.figures["answers"]}
    assert set(answers) == {"bar", "kind", "g_minus_r"}
    assert answers["bar"]["scores"]["galaxy"]["value"] > 0.85
    assert answers["g_minus_r"]["scores"]["galaxy"]["value"] > 0.5
    rows = {r.text for r in world.page.find("tr", "answers")}
    for answer in answers.values():
        score = answer["scores"]["galaxy"]
        shown = f"{100 * score['value']:.1f}%" if answer["counts"] else f"{score['value']:.3f}"
        assert any(shown in row and answer["question"].replace("_", " ") in row for row in rows)


def test_a_galaxy_behind_a_trail_is_not_among_the_pictures(world):
    some = world.seen
    brightest = Stage(encoded=some).bright[0]
    images = some.images.clone()
    images[brightest, 1, :, 5] += 20  # far from the galaxy
    assert brightest not in Stage(encoded=replace(some, images=images)).bright


def test_rates_name_every_space(world):
    rows = [r.text for r in world.page.find("tr", "rates")]
    for rate in world.figures["rates"]:
        assert any(rate["name"] in row and f"{rate['psnr']:.2f} dB" in row for row in rows)
    assert {r["name"] for r in world.figures["rates"]} == {
        "this space",
        "smaller",
        "PCA-3",
        "PCA-6",
    }


def test_without_labels_views_or_others_their_sections_are_absent(world, tmp_path):
    arguments = {**world.arguments, "space": make_space()}
    figures = write_anchor_report(tmp_path / "a.html", **arguments, limit=24)
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"), VOID)
    absent = {"views", "answers", "rates"}
    assert absent.isdisjoint(e.attributes["id"] for e in page.find("h2"))
    assert figures["view_exchange"] is None
    assert figures["answers"] == figures["rates"] == []
    assert figures["galaxies"] <= 24


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"limit": 5}, ValueError, "limit must be at least 20 galaxies but is 5"),
        ({"columns": ["bar"]}, ValueError, "columns bar are of labels but there are none"),
        ({"drawn": np.zeros((30, 5))}, ValueError, r"shape \(n, 6\).* have \(30, 5\)"),
        ({"labels": pa.table({"id": ["a"]})}, TableError, "need a column object_id or decals_id"),
        (
            {"labels": pa.table({"object_id": ["nobody"], "kind": ["x"]})},
            TableError,
            "none of the 1 ids in the labels' column object_id",
        ),
    ],
)
def test_mistakes_are_named(world, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        write_anchor_report(tmp_path / "a.html", **{**world.arguments, **change})
    assert list(tmp_path.iterdir()) == []


def test_another_survey_or_frame_is_refused(world, tmp_path):
    sdss = write_sample(tmp_path / "sdss", blobs(24, 92, 0.396), "sdss", bands=["g,r,z"] * 24)
    with pytest.raises(TableError, match="holds sdss but the report is of the space's anchor"):
        write_anchor_report(tmp_path / "a.html", **{**world.arguments, "sample": Sample(sdss)})
    other = make_space()
    other.frame = other.frame.model_copy(update={"pixel_scale_arcsec": 0.3})
    with pytest.raises(SpaceError, match="wide: has another frame or anchor"):
        write_anchor_report(tmp_path / "a.html", **world.arguments, others={"wide": other})


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


def test_the_verb_writes_page_and_figures(world, tmp_path):
    import typer

    from benchmarks.anchor.__main__ import report_anchor

    world.arguments["space"].save(tmp_path / "space")
    pq.write_table(world.labels.select(["object_id", "kind"]), tmp_path / "labels.parquet")
    app = typer.Typer()
    app.command()(report_anchor)
    words = ["--space", tmp_path / "space", "--sample", world.arguments["sample"].path]
    words += ["--labels", tmp_path / "labels.parquet", "--out", tmp_path / "out", "--json"]
    make_space(seed=1, latents=3).save(tmp_path / "scan" / "latents-3")
    words += ["--compare", tmp_path / "scan" / "latents-3"]
    result = CliRunner().invoke(app, [str(w) for w in [*words, "--limit", "50"]])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    stored = json.loads((tmp_path / "out" / "anchor.json").read_text(encoding="utf-8"))
    assert printed == {"report": str(tmp_path / "out" / "anchor.html"), **stored}
    assert [r["name"] for r in printed["rates"][:2]] == ["latents-3", "this space"]
    assert (tmp_path / "out" / "anchor.html").is_file()


def test_compared_spaces_are_told_apart():
    assert _titles(["scan/latents-2", "s3://b/latents-3"]) == ["latents-2", "latents-3"]
    assert _titles(["a/space", "b/space"]) == ["a/space", "b/space"]


def test_no_label_hides_another():
    rates = [Rate(name="", latents=n, active=n, bits=b, mse=0, psnr=b, ssim=0) for n, b in BITS]
    shown = _labelled(rates, "bits", (0.0, 100.0), (0.0, 100.0))
    assert [label for _, label in shown] == ["10", "60", "", "70"]
    assert [x for (x, _), _ in shown] == pytest.approx([3.2 * b for _, b in BITS])


def test_an_old_page_survives_a_failed_write(world, tmp_path, monkeypatch):
    (tmp_path / "a.html").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("galaxy_da.io.files.os.fsync", full)
    with pytest.raises(StorageError, match=r"a\.html: could not be written"):
        write_anchor_report(tmp_path / "a.html", **world.arguments, limit=24)
    assert (tmp_path / "a.html").read_text() == "old"

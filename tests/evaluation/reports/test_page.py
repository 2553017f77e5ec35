import base64
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from conftest import blobs, make_space, write_sample
from page_helpers import Page
from PIL import Image

from catalogs.matching.pairs import PairedRows
from evaluation.evaluate import evaluate
from evaluation.reports.details import SurveyResult
from evaluation.reports.page import write_report
from evaluation.targets import PairedSample, TargetSurvey
from galaxy_da.errors import CatalogError, LatentIndexError, StorageError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import vectors
from galaxy_da.io.samples import Flag, Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.plots.galleries import flag_words
from galaxy_da.surveys import get_survey

N = 90
BLANK = 3
HOSTILE = '<script>alert("x")</script>&{{ title }}'
VOID = {"meta", "img", "polygon", "line", "br"}
CANDIDATES = [
    {"name": name, "recall_at_1": score, "mean_reciprocal_rank": score, "distance_ratio": 0.1}
    for name, score in (("by definition", 0.125), ("ridge-latents", 0.875))
]


def anchor_id(i):
    return f"{HOSTILE} {i:04d}"


def pair_table(target, rows):
    n = len(rows)
    return pa.table(
        {
            "anchor_id": [anchor_id(i) for i in rows],
            "target_id": [f"{target}-{i:04d}" for i in rows],
            "separation_arcsec": np.zeros(n),
            "n_candidates": np.ones(n, int),
            "ambiguous": np.zeros(n, bool),
        }
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One sky in DECaLS (its row 3 blank), SDSS (adapted) and one KiDS band (by definition)."""
    folder = tmp_path_factory.mktemp("sky")
    shared = {"side": 140, "pixel_scale": 0.262}
    first, again = (blobs(N, **shared), blobs(N, **shared) + 0.002)
    first[BLANK] = np.nan
    sdss = blobs(N, 92, 0.396, noise=0.05)
    kids = blobs(N, 172, 0.2, bands=1) / get_survey("kids").nanomaggy_per_unit
    ids = {"object_id": [anchor_id(i) for i in range(N)]}
    samples = {
        "decals": write_sample(folder / "decals", first, **ids),
        "sdss": write_sample(folder / "sdss", sdss, "sdss", bands=["g,r,z"] * N),
        "kids": write_sample(folder / "kids", kids, "kids", bands=["r"] * N),
    }
    samples = {name: Sample(path) for name, path in samples.items()}
    repeat = Sample(write_sample(folder / "again", again))
    space = make_space()
    adapted = space.by_definition(get_survey("sdss"), ("g", "r", "z"))
    record = {"chosen": "ridge-latents", "candidates": CANDIDATES}
    space = space.with_survey(replace(adapted, record=record))
    surveys = [get_survey("sdss"), get_survey("kids").model_copy(update={"title": HOSTILE})]
    results = []
    for survey in surveys:
        name = survey.name
        target = TargetSurvey(sample=samples[name], pairs=pair_table(name, range(N)), survey=survey)
        again = PairedSample(sample=repeat, pairs=pair_table("decals", range(N)))
        evaluation = evaluate(
            space, samples["decals"], target, repeat=again if name == "sdss" else None
        )
        results.append(SurveyResult(target=target, evaluation=evaluation))
    features = {name: extract(space, s) for name, s in samples.items()}
    return SimpleNamespace(
        features=features,
        samples=samples,
        arguments={
            "space": space,
            "anchor": samples["decals"],
            "results": results,
            "index": LatentIndex.build(list(features.values())),
            "next_steps": ["galaxy-da index A B --out <INDEX>"],
        },
    )


@pytest.fixture(scope="module")
def page(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, **world.arguments)
    return Page(path.read_text(encoding="utf-8"), VOID)


def latents(world, survey):
    """Latents by row number, NaN where a cutout has none; straight from the features."""
    table = world.features[survey].table
    full = np.full((N, 6), np.nan, np.float32)
    full[table["embedding"].is_valid().to_numpy()] = vectors(world.features[survey].ok())
    return full


def number(alt):
    return int(re.search(r"(\d{4})(, decoded)?$", alt)[1])


def test_every_section_has_its_pictures(page):
    counts = {
        "same": 8 * 3,
        "neighbours": 5 * (1 + 2 * 10),
        "extremes": 6 * 2 * 2 * 2,
        "outliers": 12 * 3,
        "decoded": 8 * 3 * 2,
    }
    assert {name: len(page.find("img", name)) for name in counts} == counts
    assert len(page.find("img")) == sum(counts.values())
    for image in page.find("img"):
        head, _, body = image.attributes["src"].partition(",")
        assert head == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(body)))
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
        assert image.attributes["alt"]
        assert "loading" not in image.attributes  # lazy pictures are missing in print


def test_the_page_loads_nothing_from_elsewhere(page):
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = element.attributes.get(name, "#")
            assert value.startswith(("data:image/png;base64,", "#")), (element.tag, name)
    (style,) = page.find("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    assert {a.attributes["href"][1:] for a in page.find("a")} <= set(ids)


def test_names_are_escaped(page):
    assert page.find("script") == []
    assert HOSTILE not in page.text
    (heading,) = page.find("h1")
    assert heading.text.endswith(f", {HOSTILE} in one space")
    alts = [image.attributes["alt"] for image in page.find("img", "same")]
    assert sum(alt.startswith(f"DECaLS {HOSTILE}") for alt in alts) == 8
    (command,) = page.find("pre")
    assert command.text == "galaxy-da index A B --out <INDEX>"


def test_retrieval_figures_are_those_of_the_evaluation(page, world):
    cards = [e for e in page.find("div", "retrieval") if e.class_ == "card"]
    sdss, kids = (result.evaluation for result in world.arguments["results"])
    tables = [page.find("table", inside=card) for card in cards]
    rows = [[r.text for r in page.find("tr", inside=card[0])[1:]] for card in tables]
    assert [len(r) for r in rows] == [3, 1]
    for text, retrieval in zip(
        (*rows[0], rows[1][0]),
        (sdss.by_definition, sdss.adapted, sdss.ceiling, kids.by_definition),
        strict=True,
    ):
        for value in (retrieval.recall_at_1, retrieval.recall_at_10):
            assert f"{100 * value:.1f}%" in text
        low, high = retrieval.recall_at_1_low, retrieval.recall_at_1_high
        assert f"{100 * low:.1f}–{100 * high:.1f}" in text
        assert f"{retrieval.distance_ratio:.3f}" in text
        assert f"{retrieval.auc:.4f}" in text
    assert f"Pool of {sdss.adapted.pool} galaxies; encoder chosen: ridge-latents" in cards[0].text
    candidates = page.find("tr", inside=tables[0][1])
    assert "12.5%" in candidates[1].text
    assert "0.8750" in candidates[2].text
    assert [row.class_ for row in candidates[1:]] == ["", "chosen"]
    assert len(tables[1]) == 1


def test_distances_under_pictures_are_those_of_the_features(page, world):
    decals = latents(world, "decals")
    figures = page.find("figure", "same")
    for first in range(0, len(figures), 3):
        galaxy = number(page.find("img", inside=figures[first])[0].attributes["alt"])
        for figure, survey in zip(figures[first + 1 : first + 3], ("sdss", "kids"), strict=True):
            assert number(page.find("img", inside=figure)[0].attributes["alt"]) == galaxy
            expected = np.linalg.norm(decals[galaxy] - latents(world, survey)[galaxy])
            distance, share = figure.text.strip().split(" · ")
            assert abs(float(distance) - expected) < 0.006
            assert 0 <= float(share.removesuffix("% closer")) <= 100


def test_galaxies_run_from_closest_to_farthest_of_the_test_part(page, world):
    relative = []
    for name in ("sdss", "kids"):
        pairs = PairedRows.of(
            pair_table(name, range(N)), world.samples["decals"], world.samples[name]
        )
        rows = pairs.only("test").anchor
        rows = rows[rows != BLANK]
        here, there = latents(world, "decals")[rows], latents(world, name)[rows]
        every = np.linalg.norm(here[:, None] - there, axis=-1)
        random = np.median(every[~np.eye(len(rows), dtype=bool)])
        relative.append(np.diagonal(every) / random)
    order = rows[np.argsort(relative[0] + relative[1])]
    shown = [number(i.attributes["alt"]) for i in page.find("img", "same")[::3]]
    assert set(shown) <= set(order)
    assert [shown[0], shown[-1]] == [order[0], order[-1]]
    assert len(set(shown)) == 8
    place = [int(np.flatnonzero(order == i)[0]) for i in shown]
    # medians over other random pairs may swap close neighbours
    assert np.abs(np.array(place) - np.linspace(0, len(order) - 1, 8)).max() <= 2


def test_neighbours_and_true_ranks_by_brute_force(page, world):
    queries = [e for e in page.find("div", "neighbours") if e.class_ == "query"]
    assert len(queries) == 5
    for query in queries:
        galaxy = number(page.find("img", inside=query)[0].attributes["alt"])
        for group, survey in zip(page.find("section", inside=query), ("sdss", "kids"), strict=True):
            distance = np.linalg.norm(
                latents(world, survey) - latents(world, "decals")[galaxy], axis=1
            )
            shown = [number(i.attributes["alt"]) for i in page.find("img", inside=group)]
            assert shown == np.argsort(distance)[:10].tolist()
            marked = [
                number(page.find("img", inside=f)[0].attributes["alt"])
                for f in page.find("figure", inside=group)
                if f.class_ == "match"
            ]
            rank = int((distance < distance[galaxy]).sum()) + 1
            assert marked == ([galaxy] if rank <= 10 else [])
            assert (f"the same galaxy is number {rank})" in group.text) == (rank > 10)
            assert (
                "same galaxy" in "".join(f.text for f in page.find("figure", inside=group))
            ) == (rank <= 10)


def test_outliers_are_strange_galaxies_with_reasons(page, world):
    expected = world.arguments["index"].outliers("kids", 12).slice(0, 12)
    assert set(expected["ranking"].to_pylist()) == {"strange galaxy"}
    figures = page.find("figure", "outliers")[24:]
    shown = [number(page.find("img", inside=f)[0].attributes["alt"]) for f in figures]
    assert [f"kids-{i:04d}" for i in shown] == expected["object_id"].to_pylist()
    for figure, reason in zip(figures, expected["reason"].to_pylist(), strict=True):
        assert reason in figure.text


def test_decoded_pictures_come_from_the_decoder(page, world):
    from evaluation.reports.pictures import to_data_uris, to_decals_colour

    space = world.arguments["space"]
    images = page.find("img", "decoded")
    for observed, decoded, survey in zip(
        images[0:6:2], images[1:6:2], ("decals", "sdss", "kids"), strict=True
    ):
        galaxy = number(observed.attributes["alt"])
        assert decoded.attributes["alt"] == f"{observed.attributes['alt']}, decoded"
        images = space.decode(latents(world, survey)[[galaxy]])
        colour = to_decals_colour(images, get_survey("decals"), space.frame.bands, space.frame)
        assert to_data_uris(colour) == [decoded.attributes["src"]]


def test_charts_show_recall_and_distances(page):
    (recall,) = page.find("svg", "retrieval")
    assert recall.attributes["aria-label"] == "Recall@1 of each survey and encoder"
    assert "sdss: adapted (ridge-latents)" in recall.text
    charts = page.find("svg", "distances")
    assert len(charts) == 2
    assert all("median distance" in svg.attributes["aria-label"] for svg in charts)
    assert all("same galaxy" in svg.text and "random pairs" in svg.text for svg in charts)


def test_writing_again_gives_the_same_page(page, world, tmp_path):
    write_report(tmp_path / "again.html", **world.arguments)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page.text


def with_pairs(world, pairs):
    """Return the results with other pair tables."""
    return [
        replace(result, target=replace(result.target, pairs=pairs[result.target.survey.name]))
        for result in world.arguments["results"]
    ]


def test_galaxies_without_a_pair_are_marked(world, tmp_path):
    pairs = {"sdss": pair_table("sdss", range(0, N, 2)), "kids": pair_table("kids", range(1, N, 2))}
    path = tmp_path / "report.html"
    write_report(path, **{**world.arguments, "results": with_pairs(world, pairs)})
    page = Page(path.read_text(encoding="utf-8"), VOID)
    absent = [f for f in page.find("figure", "same") if "no image" in f.text]
    assert len(absent) == 8
    assert all("not paired" in figure.text for figure in absent)
    assert len(page.find("img", "decoded")) == 8 * 2 * 2


def test_a_small_test_part_gives_fewer_pictures(world, tmp_path):
    every = PairedRows.of(
        pair_table("sdss", range(N)), world.samples["decals"], world.samples["sdss"]
    )
    rows = every.only("test").anchor[:3]
    results = with_pairs(world, {name: pair_table(name, rows) for name in ("sdss", "kids")})
    arguments = {**world.arguments, "results": results, "next_steps": ()}
    write_report(tmp_path / "report.html", **arguments)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"), VOID)
    assert len(page.find("img", "same")) == len(rows[rows != BLANK]) * 3
    assert "Next steps" not in page.text


def test_the_page_extracts_features_that_it_is_not_given(page, world, tmp_path):
    arguments = {key: value for key, value in world.arguments.items() if key != "index"}
    write_report(tmp_path / "report.html", **arguments)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page.text


def test_too_few_indexed_pairs_are_refused(world, tmp_path):
    index = LatentIndex.build(
        [
            replace(world.features["decals"], table=world.features["decals"].table.slice(0, 1)),
            world.features["sdss"],
            world.features["kids"],
        ]
    )
    with pytest.raises(CatalogError, match=r"sdss: [01] of \d+ test pairs are in the index"):
        write_report(tmp_path / "r.html", **{**world.arguments, "index": index})
    assert list(tmp_path.iterdir()) == []


def test_a_report_without_results_is_refused(world, tmp_path):
    with pytest.raises(ValueError, match="at least one result but got none"):
        write_report(tmp_path / "r.html", **{**world.arguments, "results": []})


def test_an_index_of_another_space_or_encoder_is_refused(world, tmp_path):
    with pytest.raises(LatentIndexError, match="built with space"):
        write_report(tmp_path / "r.html", **{**world.arguments, "space": make_space(seed=1)})
    plain = world.arguments["space"].by_definition(get_survey("sdss"), ("g", "r"))
    newer = world.arguments["space"].with_survey(plain)
    with pytest.raises(LatentIndexError, match="sdss: this index was built with another encoder"):
        write_report(tmp_path / "r.html", **{**world.arguments, "space": newer})


def test_an_old_page_survives_a_failed_write(world, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("galaxy_da.io.files.os.fsync", full)
    with pytest.raises(StorageError, match=r"report\.html: could not be written"):
        write_report(path, **world.arguments)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_flag_has_words():
    assert flag_words(0) == "no flags"
    assert flag_words(Flag.SATURATED | Flag.NAN_PIXELS) == "nan pixels, saturated"

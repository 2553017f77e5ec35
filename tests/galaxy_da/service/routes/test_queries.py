"""Query routes against the library."""

import io
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import pair_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_helpers import keys
from service_helpers import SURVEYS, N

from galaxy_da.index import Subset
from galaxy_da.queries.latent_effects import latent_effects
from galaxy_da.surveys import get_survey

every_key = st.sampled_from([f"{s}:{s}-{i:04d}" for s in SURVEYS for i in range(N)])
quick = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def same_rows(answer, table):
    """Compare an answer with a table: exact numbers, null if not finite."""
    for got, expected in zip(rows(answer), table.to_pylist(), strict=True):
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            wanted = None if isinstance(value, float) and not np.isfinite(value) else value
            assert got[name] == wanted, name


@given(
    key=every_key,
    k=st.integers(1, 3 * N + 5),
    survey=st.sampled_from([None, *SURVEYS]),
)
@quick
def test_similar_to_one(http, workspace, key, k, survey):
    asked = {"id": key, "k": k} | ({"survey": survey} if survey else {})
    same_rows(http.get("/api/similar", params=asked), workspace.index.similar(key, k, survey))


@given(likes=st.lists(every_key, min_size=1, max_size=3), dislikes=st.lists(every_key, max_size=3))
@quick
def test_similar_with_conditions(http, workspace, likes, dislikes):
    where, cone = ["magnitude > 17", "kind in spiral,ring"], (150.2, 2.0, 900.0)
    asked = {"id": likes, "dislike": dislikes, "where": where, "cone": "150.2,2,900"}
    expected = workspace.index.similar(
        likes, dislike=dislikes, within=Subset(where=where, cone=cone)
    )
    same_rows(http.get("/api/similar", params=asked), expected)
    body = {"like": likes, "dislike": dislikes, "where": where, "cone": cone}
    same_rows(http.post("/api/similar", json=body), expected)


def test_similar_to_a_position_and_to_vectors(http, workspace):
    row = workspace.index.take(np.array([30]), ["ra", "dec"]).to_pylist()[0]
    key = workspace.index.at_position(row["ra"], row["dec"])
    answer = http.get("/api/similar", params=row | {"k": 4})
    assert answer.json()["meta"]["query"] == [key]
    same_rows(answer, workspace.index.similar(key, 4))
    vector = workspace.index.vectors[7]
    body = {"like": [vector.tolist(), key], "k": 4}
    same_rows(http.post("/api/similar", json=body), workspace.index.similar([vector, key], 4))


def test_a_batch_of_searches_equals_single_searches(workspace):
    index = workspace.index
    asked = [index.key(row) for row in (0, 40, 3, 0)]
    asked.insert(2, "sdss:nobody")
    for survey in (None, "sdss"):
        found = index.similar_to_each(asked, 5, survey)
        assert "nobody" in str(found[2])
        for key, table in zip(asked, found, strict=True):
            if key != "sdss:nobody":
                assert index.similar(key, 5, survey) == table
    (alone,) = index.similar_to_each(["sdss:nobody"])
    assert isinstance(alone, Exception)
    with pytest.raises(ValueError, match="at least 1"):
        index.similar_to_each(asked, 0)


@given(key=every_key, radius=st.floats(0, 3), prior=st.floats(0.01, 0.99))
@quick
def test_same(http, workspace, key, radius, prior):
    asked = {"id": key, "radius_arcsec": radius, "prior": prior}
    expected = workspace.index.same(key, radius, space=workspace.space, prior=prior)
    same_rows(http.get("/api/same", params=asked), expected)


def test_outliers_and_ranking(http, workspace):
    asked = {"survey": "sdss", "k": 7, "where": ["magnitude > 0"]}
    expected = workspace.index.outliers("sdss", 7, within=Subset(where=["magnitude > 0"]))
    same_rows(http.get("/api/outliers", params=asked), expected)
    scores = [{"id": "sdss:sdss-0003", "score": 5}, {"id": "sdss:sdss-0004", "score": 0}]
    body = {"scores": scores, "survey": "sdss", "k": 6}
    table = pa.table(
        {"survey": ["sdss"] * 2, "object_id": ["sdss-0003", "sdss-0004"], "score": [5.0, 0.0]}
    )
    expected = workspace.index.rank(table, "sdss").slice(0, 6)
    same_rows(http.post("/api/rank", json=body), expected)


def test_duplicates(http, workspace):
    expected = workspace.index.duplicates("hsc", arcsec=600, distance=3)
    asked = {"survey": "hsc", "arcsec": 600, "distance": 3}
    same_rows(http.get("/api/duplicates", params=asked), expected)
    assert expected.num_rows


def test_distances(http, workspace):
    ids = [(f"decals-{i:04d}", f"sdss-{i:04d}") for i in range(0, N, 2)] + [("decals-0001", "gone")]
    pairs = pair_table(*map(list, zip(*ids, strict=True)))
    sink = pa.BufferOutputStream()
    pq.write_table(pairs, sink)
    answer = http.post(
        "/api/distances",
        params={"anchor": "decals", "target": "sdss"},
        content=sink.getvalue().to_pybytes(),
    )
    expected = workspace.index.distances(pairs, anchor="decals", target="sdss")
    same_rows(answer, expected)
    assert answer.json()["meta"]["n_missing"] == 1


def test_objects(http, workspace):
    about = http.get("/api/info").json()
    assert about["index"]["surveys"] == dict.fromkeys(sorted(SURVEYS), N)
    assert about["space"]["id"] == workspace.space.id
    found = http.get("/api/objects", params={"id": "hsc:hsc-0002"}).json()
    row = workspace.index.take(np.array([workspace.index.row("hsc:hsc-0002")]), ["ra", "kind"])
    assert (found["ra"], found["columns"]["kind"]) == tuple(row.to_pylist()[0].values())
    assert found["has_cutout"] and "variance" not in found["columns"]
    assert (
        http.get("/api/objects", params={"id": "hsc:hsc-0000"}).json()["columns"]["magnitude"]
        is None
    )
    listed = http.get("/api/objects/complete", params={"prefix": "hsc:hsc-001", "k": 20}).json()
    assert listed == [f"hsc:hsc-{i:04d}" for i in range(10, 20)]
    assert http.get("/api/objects/complete", params={"prefix": "sdss-0003"}).json() == [
        "sdss:sdss-0003"
    ]
    assert http.get("/api/objects/complete", params={"prefix": "dec", "k": 2}).json() == [
        "decals:decals-0000",
        "decals:decals-0001",
    ]


def test_a_table_of_listed_objects(http, workspace):
    asked = ["hsc:hsc-0007", "decals:decals-0001", "hsc:hsc-0000"]
    found = http.post("/api/objects/table", json={"ids": asked, "format": "parquet"})
    table = pq.read_table(io.BytesIO(found.content))
    assert keys(table) == asked
    names = [name for name in table.column_names if name != "magnitude"]
    chosen = workspace.index.take(np.array([workspace.index.row(key) for key in asked]), names)
    assert table.select(names).equals(chosen) and "variance" not in names
    missing = http.post("/api/objects/table", json={"ids": [*asked, "hsc:nobody"]})
    assert missing.status_code == 404 and "hsc:nobody" in missing.json()["error"]["message"]


def test_many_cutouts_are_read_at_once(url, workspace):
    asked = [f"{url}/api/images/cutout.png?id=sdss:sdss-{n % N:04d}" for n in range(60)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda address: httpx.get(address, timeout=60), asked))
    assert {answer.status_code for answer in answers} == {200}


def test_objects_are_listed_at_an_address(http, workspace):
    keys = ["sdss:sdss-0005", "hsc:hsc-0002", "sdss:sdss-0001"]
    table = http.get("/api/objects/table", params={"id": keys, "format": "json"}).json()
    assert [f"{row['survey']}:{row['object_id']}" for row in table["rows"]] == keys
    assert table == http.post("/api/objects/table", json={"ids": keys}).json()
    unknown = http.get("/api/objects/table", params={"id": ["sdss:nobody"]})
    assert unknown.status_code == 404 and "sdss:nobody" in unknown.text


def test_columns_have_units_and_uploads_every_survey(http):
    about = http.get("/api/info").json()
    columns = {column["name"]: column for column in about["index"]["columns"]}
    assert columns["ra"]["unit"] == "deg" and "Right ascension" in columns["ra"]["description"]
    assert "embedding" not in columns and "variance" not in columns
    surveys = list(about["uploads"]["surveys"])
    assert surveys[:3] == ["decals", "hsc", "sdss"]  # those of the index
    assert "kids" in surveys  # which the space reads by its definition
    assert about["uploads"]["surveys"]["decals"] == {
        "stretches": ["galaxy-zoo"], "pixel_scale_arcsec": 0.262
    }  # fmt: skip


def test_links_show_the_position_in_every_survey_with_a_hips(http, workspace):
    key = "sdss:sdss-0005"
    row = workspace.index.take(np.array([workspace.index.row(key)]), ["ra", "dec"]).to_pylist()[0]
    found = http.get("/api/objects", params={"id": key}).json()["links"]
    asked = {link["name"]: parse_qs(urlsplit(link["url"]).query) for link in found}
    for survey in ("decals", "sdss", "hsc"):
        definition = get_survey(survey)
        aladin = asked[f"{definition.title.partition(' (')[0]} in Aladin"]
        assert aladin["survey"] == [definition.footprint]
        place = [float(part) for part in aladin["target"][0].split()]
        np.testing.assert_allclose(place, [row["ra"], row["dec"]], atol=1e-6)
    viewer = asked["Legacy Surveys viewer"]
    np.testing.assert_allclose(float(viewer["ra"][0]), row["ra"], atol=1e-6)


def test_latents_hold_galaxy_and_nuisance(http, workspace):
    found = http.get("/api/latents", params={"id": "sdss:sdss-0005"}).json()
    row = workspace.index.row("sdss:sdss-0005")
    nuisance = np.stack(workspace.index.rows["nuisance"].to_pylist())
    assert found["latents"] == [*workspace.index.vectors[row].tolist(), *nuisance[row].tolist()]
    every = np.hstack([workspace.index.vectors[:], nuisance])
    np.testing.assert_allclose(found["std"], every.std(axis=0), rtol=1e-5)
    effects = latent_effects(workspace.space, np.array(found["latents"]), np.array(found["std"]))
    assert found["changes"] == [list(effect.words) for effect in effects]
    np.testing.assert_allclose(
        found["strengths"], [effect.strength for effect in effects], rtol=1e-2
    )


@pytest.mark.parametrize(
    ("path", "asked", "status", "says"),
    [
        ("/api/similar", {"id": "sdss:nobody"}, 404, "no object"),
        ("/api/similar", {"id": "sdss:sdss-0001", "survey": "kids"}, 404, "not in this index"),
        ("/api/similar", {}, 422, "give id"),
        ("/api/similar", {"id": "sdss:sdss-0001", "ra": 1, "dec": 2}, 422, "give id"),
        ("/api/similar", {"id": "sdss:sdss-0001", "k": 0}, 422, "k"),
        ("/api/similar", {"id": "sdss:sdss-0001", "kk": 1}, 422, "kk"),
        (
            "/api/similar",
            {"id": "sdss:sdss-0001", "where": "magnitude ~ 3"},
            422,
            "expected COLUMN",
        ),
        ("/api/similar", {"id": "sdss:sdss-0001", "where": "size > 3"}, 404, "not in this index"),
        ("/api/similar", {"id": "sdss:sdss-0001", "cone": "1,2"}, 422, "RA,DEC"),
        ("/api/similar", {"id": "sdss:sdss-0001", "cone": "1,95,3"}, 422, "dec"),
        ("/api/similar", {"ra": 10, "dec": 10}, 404, "no object within"),
        ("/api/outliers", {"k": 0}, 422, "k"),
        ("/api/duplicates", {"survey": "sdss"}, 422, "give arcsec"),
        ("/api/nothing", {}, 404, "Not Found"),
    ],
)
def test_errors_are_one_line(http, path, asked, status, says):
    answer = http.get(path, params=asked)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert says in error["message"] and "\n" not in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


def test_the_map_has_every_object(http, workspace):
    drawn = http.get("/api/map", params={"format": "json", "column": "magnitude"}).json()
    assert drawn["meta"]["method"] == "pca" and len(drawn["x"]) == 3 * N
    ids = [
        f"{drawn['surveys'][s]}:{i}"
        for s, i in zip(drawn["survey"], drawn["object_id"], strict=True)
    ]
    assert ids == keys(workspace.index.rows)
    assert drawn["value"][0] is None
    stream = http.get("/api/map", params={"limit": 10, "column": "kind"}).content
    table = pa.ipc.open_stream(stream).read_all()
    assert table.num_rows == 10 and table.schema.field("x").type == pa.float32()
    assert http.get("/api/map", params={"column": "variance"}).status_code == 422

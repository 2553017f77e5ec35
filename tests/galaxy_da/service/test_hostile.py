"""Hostile requests: refused with the right status, without a crash."""

import io
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import JobSettings

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\etc\\passwd",
    "sdss:../../../etc/passwd",
    "\x00",
]


def png():
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("text", PATHS)
def test_names_are_not_used_as_paths(http, text):
    for path in ("/api/objects", "/api/images/cutout.png", "/api/latents", "/api/same"):
        answer = http.get(path, params={"id": text})
        assert answer.status_code == 404 and "root:" not in answer.text
    data = {"survey": text}
    answer = http.post("/api/encode", data=data, files={"file": png()})
    assert answer.status_code == 422
    text = quote(text, safe="")
    for path in (f"/page/{text}", f"/page/..%2f..%2f{text}"):
        assert http.get(path).status_code in (404, 405, 400)


def test_a_survey_name_does_not_read_a_file(http, tmp_path):
    toml = tmp_path / "mine.toml"
    toml.write_text("name = 'mine'")
    answer = http.post("/api/encode", data={"survey": str(toml)}, files={"file": png()})
    assert answer.status_code == 422 and "unknown survey" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "condition",
    [
        "__class__ = 1",
        "flags = 0 or 1 = 1",
        "flags = __import__('os')",
        "flags = 0; DROP TABLE jobs",
        "kind = '",
        "kind in ",
        "= =",
        "flags",
        " ",
        "magnitude > nan",
        "magnitude = 1e999",
        "ra = " + "9" * 1000,
        "kind = " + "x" * 2000,
        "variance = 1",
        "kind = \x00",
    ],
)
def test_conditions_are_not_evaluated(http, condition):
    answer = http.get("/api/similar", params={"id": "sdss:sdss-0001", "where": condition})
    assert answer.status_code in (200, 404, 422)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"like": [[NaN, 1, 2, 3]]}', "application/json"),
        (b'{"like": [[1e400, 1, 2, 3]]}', "application/json"),
        (b'{"like": [[1, 2]]}', "application/json"),
        (b'{"like": [[]]}', "application/json"),
        (b'{"like": []}', "application/json"),
        (b'{"like": "x", "k": 1e9}', "application/json"),
        (b'{"like": ' + b"[" * 20000 + b"]" * 20000 + b"}", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"{", "application/json"),
        (b'{"like": ["sdss:sdss-0001"]}', "text/plain"),
        (b"like=1", "application/x-www-form-urlencoded"),
    ],
)
def test_invalid_json_bodies_are_refused(http, body, kind):
    answer = http.post("/api/similar", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/api/encode", "/api/similar/image", "/api/jobs"])
def test_invalid_forms_are_refused(workspace, tmp_path, path):
    jobs = JobSettings(queue=JobQueue(tmp_path), space="decals")
    http = TestClient(workspace.sharing_app(jobs=jobs))
    kind = "multipart/form-data; boundary=x"
    for content, sent, status in [
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (b"", "multipart/form-data", 400),
        (b"--x\r\n", kind, 422),
        (b"garbage", kind, 400),
        (
            b'--x\r\ncontent-disposition: form-data; name="survey"\r\n\r\n' + b"a" * 100_000,
            kind,
            400,
        ),
        (b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--x--\r\n', kind, 422),
    ]:
        answer = http.post(path, content=content, headers={"Content-Type": sent})
        assert answer.status_code in (status, 422 if status == 400 else status), answer.text
    assert list(tmp_path.glob("*/upload")) == []


def test_bodies_are_bounded_with_and_without_a_length(workspace):
    limits = Limits(body_bytes=1000, image_bytes=1000)
    http = TestClient(workspace.sharing_app(limits=limits))
    for path, room in (("/api/similar", 0), ("/api/encode", 1 << 16)):
        size = 1001 + room
        assert http.post(path, content=bytes(size)).status_code == 413
        parts = (bytes(100) for _ in range(size // 100 + 1))
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert http.post(path, content=parts, headers=kind).status_code in (400, 413, 422)
    for length in ("-1", "1e3", "x"):
        assert http.post("/api/similar", headers={"Content-Length": length}).status_code == 413


def test_other_origins_and_host_names_are_refused(workspace):
    http = TestClient(workspace.sharing_app(hosts=("127.0.0.1",)), base_url="http://127.0.0.1:80")
    body = {"like": ["sdss:sdss-0001"]}
    assert http.post("/api/similar", json=body).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        answer = http.post("/api/similar", json=body, headers={"Origin": origin})
        assert answer.status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert http.post("/api/similar", json=body, headers=own).status_code == 200
    for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example"):
        assert http.get("/api/info", headers={"Host": host}).status_code == 403

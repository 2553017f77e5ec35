"""Tokens: routes that need one, the token file, and jobs of other owners."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from fastapi.testclient import TestClient

from galaxy_da.cli import main
from galaxy_da.errors import TableError
from galaxy_da.service.tokens import Tokens, add_token

GUARDED = [
    ("POST", "/api/encode"),
    ("POST", "/api/similar/image"),
    ("POST", "/api/distances?anchor=decals&target=sdss"),
    ("POST", "/api/jobs"),
    ("GET", "/api/jobs"),
    ("GET", f"/api/jobs/{'0' * 32}"),
    ("DELETE", f"/api/jobs/{'0' * 32}"),
    ("GET", f"/api/jobs/{'0' * 32}/events"),
    ("GET", f"/api/jobs/{'0' * 32}/log"),
    ("GET", f"/api/jobs/{'0' * 32}/results/features.zip"),
]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.json"


def test_guarded_routes_need_a_known_and_valid_token(workspace, file):
    good, other = add_token(file, "alice", 1), add_token(file, "bob", None)
    clock = [datetime.now(UTC)]
    tokens = Tokens(file, lambda: clock[0])
    http = TestClient(workspace.sharing_app(tokens=tokens))
    for method, path in GUARDED:
        bad = [{}, bearer("nonsense"), bearer(""), bearer(good[:-1]), bearer(good + "x")]
        for headers in [*bad, {"Authorization": f"Basic {good}"}, {"Authorization": good}]:
            answer = http.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert http.request(method, path, headers=bearer(good)).status_code not in (401, 403)
    assert http.get("/api/similar?id=sdss:sdss-0001").status_code == 200
    assert http.get("/api/info").json()["writes_need_token"]
    clock[0] += timedelta(days=2)
    answer = http.post("/api/encode", headers=bearer(good))
    assert answer.status_code == 401 and "expired" in answer.json()["error"]["message"]
    assert http.post("/api/encode", headers=bearer(other)).status_code == 415
    content = json.loads(file.read_text())
    file.write_text(json.dumps({"tokens": content["tokens"][:1]}))
    assert http.post("/api/encode", headers=bearer(other)).status_code == 401


def test_the_file_holds_no_token_and_only_its_owner_reads_it(file, capsys):
    assert main(["token", "alice", "--file", str(file), "--days", "30"]) == 0
    token = re.search(r"token\s+(\S+)", capsys.readouterr().out)[1]
    assert token not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    assert Tokens(file).owner(f"bearer {token}") == "alice"


@pytest.mark.parametrize("content", ["", "[]", '{"tokens": [{"name": "a", "sha256": "x"}]}'])
def test_a_broken_file_is_reported(file, content):
    with pytest.raises(TableError, match="no token file"):
        Tokens(file)
    file.write_text(content)
    with pytest.raises(TableError, match="not a token file"):
        Tokens(file)


def test_a_job_is_hidden_from_other_owners(workspace, file, tmp_path):
    from galaxy_da.service.jobs.queue import JobQueue
    from galaxy_da.service.parts import JobSettings

    alice, bob = add_token(file, "alice", 1), add_token(file, "bob", 1)
    queue = JobQueue(tmp_path / "jobs")
    app = workspace.app(tokens=Tokens(file), jobs=JobSettings(queue=queue, space="decals"))
    http = TestClient(app)  # no lifespan: nothing runs
    job = queue.new_id()
    queue.path(job).mkdir()
    queue.add(job, "alice", "extract", {})
    for method, path in (("GET", f"/api/jobs/{job}"), ("DELETE", f"/api/jobs/{job}")):
        assert http.request(method, path, headers=bearer(bob)).status_code == 404
    assert http.get("/api/jobs", headers=bearer(bob)).json() == []
    assert [j["id"] for j in http.get("/api/jobs", headers=bearer(alice)).json()] == [job]
    assert http.delete(f"/api/jobs/{job}", headers=bearer(alice)).status_code == 204
    assert http.get(f"/api/jobs/{job}", headers=bearer(alice)).json()["state"] == "cancelled"
    assert http.delete(f"/api/jobs/{job}", headers=bearer(alice)).status_code == 204
    assert http.get(f"/api/jobs/{job}", headers=bearer(alice)).status_code == 404
    assert not queue.path(job).exists()


def test_tokens_added_at_once_are_all_kept(tmp_path):
    file = tmp_path / "tokens.json"
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(partial(add_token, file, days=None), map(str, range(12))))
    tokens = Tokens(file)
    assert [tokens.owner(f"Bearer {text}") for text in texts] == [str(i) for i in range(12)]
    assert file.stat().st_mode & 0o777 == 0o600

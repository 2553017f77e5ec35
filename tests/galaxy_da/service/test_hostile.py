"""Hostile requests: refused with the right status, without a crash or high memory use."""

import bz2
import gzip
import io
import os
import socket
import struct
import time
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from fastapi.testclient import TestClient
from service_helpers import running

from galaxy_da.service.errors import RequestError
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import JobSettings
from galaxy_da.service.uploads.samples import check_sample, unpack_sample

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\etc\\passwd",
    "sdss:../../../etc/passwd",
    "\x00",
]


def memory_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def png(width, height):
    """PNG of zero pixels whose header states this size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(min(width * height * 3 + height, 1 << 22)), 9)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def fits_of(*shape, compressed=False):
    out = io.BytesIO()
    pixels = np.zeros(shape, np.float32)
    hdu = fits.CompImageHDU(pixels) if compressed else fits.PrimaryHDU(pixels)
    hdu.writeto(out) if not compressed else fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def claiming(*shape):
    """Short FITS file whose header states a large shape."""
    out = io.BytesIO()
    fits.PrimaryHDU(np.zeros((2, 2), np.float32)).writeto(out)
    data = out.getvalue()
    for axis, side in zip((1, 2), reversed(shape), strict=True):
        data = data.replace(
            f"NAXIS{axis}  = {2:>20}".encode(), f"NAXIS{axis}  = {side:>20}".encode()
        )
    return data


def large_tile(side):
    """Tile-compressed FITS file of a small image whose header states a large tile."""
    data = fits_of(64, 64, compressed=True)
    for axis, length in ((1, 64), (2, 1)):
        old = f"ZTILE{axis}  = {length:>20}".encode()
        assert old in data
        data = data.replace(old, f"ZTILE{axis}  = {side:>20}".encode())
    return data


BOMBS = {
    "png bomb": (png(40_000, 40_000), 413),
    "png of one long row": (png(1_000_000, 1), 413),
    "fits compressed bomb": (fits_of(3, 4000, 4000, compressed=True), 413),
    "fits of a large tile": (large_tile(100_000), 413),
    "fits in a gzip bomb": (gzip.compress(b"SIMPLE  =" + bytes(1 << 24)), 415),
    "fits in a bzip2 bomb": (bz2.compress(b"SIMPLE  =" + bytes(1 << 24)), 415),
    "fits claims much": (claiming(100_000, 100_000), 413),
    "fits truncated": (fits_of(3, 64, 64)[:3000], 422),
    "fits of one number": (fits_of(1), 422),
    "png truncated": (png(64, 64)[:60], 422),
    "empty": (b"", 422),
    "text": (b"hello", 415),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), 415),
    "only the magic": (b"\x89PNG\r\n\x1a\n", 422),
    "fits header only": (b"SIMPLE  =                    T", 422),
}


@pytest.mark.parametrize("name", BOMBS)
def test_oversized_and_broken_images_are_refused(http, name):
    data, status = BOMBS[name]
    before = memory_mb()
    for path in ("/api/encode", "/api/similar/image"):
        answer = http.post(path, data={"survey": "decals"}, files={"file": data})
        assert answer.status_code == status, answer.text
    assert memory_mb() - before < 200
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "card",
    [
        {"CD1_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": 1e-30, "CD2_2": 1e-30},
        {"CD1_1": 1e30, "CD2_2": 1e30},
        {"CD1_1": 1e-4, "CD1_2": 1e-4},
    ],
)
def test_invalid_fits_headers(http, card):
    out = io.BytesIO()
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "BANDS": "g,r,z", **card})
    fits.PrimaryHDU(np.ones((3, 64, 64), np.float32), header).writeto(out)
    files = {"file": out.getvalue()}
    answer = http.post("/api/encode", data={"survey": "decals"}, files=files)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert answer.json()["status"] != "ok" or np.isfinite(answer.json()["latents"]).all()


@pytest.mark.parametrize("text", PATHS)
def test_names_are_not_used_as_paths(http, text):
    for path in ("/api/objects", "/api/images/cutout.png", "/api/latents", "/api/same"):
        answer = http.get(path, params={"id": text})
        assert answer.status_code == 404 and "root:" not in answer.text
    data = {"survey": text}
    answer = http.post("/api/encode", data=data, files={"file": png(64, 64)})
    assert answer.status_code == 422
    text = quote(text, safe="")
    for path in (f"/page/{text}", f"/page/..%2f..%2f{text}"):
        assert http.get(path).status_code in (404, 405, 400)


def test_a_survey_name_does_not_read_a_file(http, tmp_path):
    toml = tmp_path / "mine.toml"
    toml.write_text("name = 'mine'")
    answer = http.post("/api/encode", data={"survey": str(toml)}, files={"file": png(64, 64)})
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
    http = TestClient(workspace.app(jobs=jobs))
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


def parquet(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def test_oversized_and_broken_tables_are_refused(http):
    # a few kilobytes that expand to six gigabytes of text
    ids = pa.DictionaryArray.from_arrays(np.zeros(3_000_000, np.int32), ["x" * 1000])
    n = len(ids)
    bomb = parquet(
        pa.table({"anchor_id": ids, "target_id": ids}), compression="zstd", row_group_size=n
    )
    assert len(bomb) < 5e6
    asked = {"anchor": "decals", "target": "sdss"}
    before = memory_mb()
    assert http.post("/api/distances", params=asked, content=bomb).status_code == 413
    assert memory_mb() - before < 300
    for content, status in [(b"", 415), (b"PAR1", 422), (b"PAR1" + bytes(1000) + b"PAR1", 422),
                            (parquet(pa.table({"a": [1]})), 422)]:  # fmt: skip
        assert http.post("/api/distances", params=asked, content=content).status_code == status


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def sample(**columns):
    n = len(next(iter(columns.values())))
    known = {"object_id": [f"{i}" for i in range(n)], "survey": ["decals"] * n}
    return parquet(pa.table({**known, "ra": [1.0] * n, "dec": [2.0] * n, **columns}))


def npy(shape, dtype=np.float32):
    out = io.BytesIO()
    np.save(out, np.zeros(shape, dtype))
    return out.getvalue()


LIMITS = Limits(unpacked_bytes=30_000_000, unpacked_files=100, image_pixels=1 << 22)
NESTED = [[0.0] * 2100] * 2000
ZIPS = {
    "bomb": ({"sample.parquet": bytes(40_000_000)}, 413),
    "many files": ({f"f{i}": b"" for i in range(200)}, 413),
    "absolute": ({"/etc/cron.d/x": b"x"}, 422),
    "climbs": ({"../../x": b"x"}, 422),
    "climbs by backslash": ({"..\\x": b"x"}, 422),
    "drive": ({"c:x": b"x"}, 422),
}


@pytest.mark.parametrize("name", ZIPS)
def test_invalid_zips_are_refused_before_a_job_is_queued(workspace, tmp_path, name):
    members, status = ZIPS[name]
    jobs = JobSettings(queue=JobQueue(tmp_path), space="decals")
    http = TestClient(workspace.app(jobs=jobs, limits=LIMITS))
    answer = http.post("/api/jobs", data={"verb": "extract"}, files={"sample": zipped(**members)})
    assert answer.status_code == status, answer.text
    assert jobs.queue.jobs_of("") == [] and [p for p in tmp_path.iterdir() if p.is_dir()] == []


SAMPLES = {
    "absolute cutout": ({"sample.parquet": sample(cutout=["/etc/passwd"])}, 422),
    "climbing cutout": ({"sample.parquet": sample(cutout=["../../x.fits"])}, 422),
    "climbing by item": ({"sample.parquet": sample(cutout=["a/../../x.npy#0"])}, 422),
    "url": ({"sample.parquet": sample(cutout=["file:///etc/passwd"])}, 422),
    "climbing band": ({"sample.parquet": sample(cutout=["a{band}"], bands=["../x"])}, 422),
    "format string": ({"sample.parquet": sample(cutout=["{band.__class__}"])}, 422),
    "hdf5": ({"sample.parquet": sample(cutout=["a.h5#0"]), "a.h5": b"x"}, 422),
    "image bomb": ({"sample.parquet": sample(cutout=["a.png"]), "a.png": png(40_000, 40_000)}, 413),
    "eps": ({"sample.parquet": sample(cutout=["a.png"]), "a.png": b"%!PS-Adobe-3.0"}, 415),
    "embedded bomb": ({"sample.parquet": sample(image=[png(40_000, 40_000)])}, 413),
    "fits in gzip": (
        {"sample.parquet": sample(cutout=["a.fits"]), "a.fits": gzip.compress(fits_of(9, 9))},
        415,
    ),
    "large array": (
        {"sample.parquet": sample(cutout=["a.npy"]), "a.npy": npy((1, 4, 3000))},
        413,
    ),
    "many planes": (
        {"sample.parquet": sample(cutout=["a.npy#0"]), "a.npy": npy((1, 90, 500, 500), np.uint8)},
        413,
    ),
    "nested bomb": ({"sample.parquet": sample(image=[{"band": ["r"], "flux": [NESTED]}])}, 413),
    "pickle": ({"sample.parquet": sample(cutout=["a.npy#0"]), "a.npy": b"\x93NUMPY\x01\x00"}, 422),
    "no table": ({"a.txt": b"x"}, 422),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_with_outside_or_dangerous_files_are_refused(tmp_path, name):
    members, status = SAMPLES[name]
    (tmp_path / "upload").write_bytes(zipped(**members))
    with pytest.raises(RequestError) as caught:
        check_sample(unpack_sample(tmp_path / "upload", tmp_path / "input", LIMITS), LIMITS)
    assert caught.value.status == status


def test_a_valid_sample_is_accepted(workspace, tmp_path):
    folder = workspace.folder / "sdss"
    members = {p.name: p.read_bytes() for p in folder.iterdir()}
    (tmp_path / "upload").write_bytes(zipped(**members))
    limits = Limits()
    table = unpack_sample(tmp_path / "upload", tmp_path / "input", limits)
    check_sample(table, limits)
    assert table.read_bytes() == (folder / "sample.parquet").read_bytes()


def test_bodies_are_bounded_with_and_without_a_length(workspace):
    limits = Limits(body_bytes=1000, image_bytes=1000)
    http = TestClient(workspace.app(limits=limits))
    for path, room in (("/api/similar", 0), ("/api/encode", 1 << 16)):
        size = 1001 + room
        assert http.post(path, content=bytes(size)).status_code == 413
        parts = (bytes(100) for _ in range(size // 100 + 1))
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert http.post(path, content=parts, headers=kind).status_code in (400, 413, 422)
    for length in ("-1", "1e3", "x"):
        assert http.post("/api/similar", headers={"Content-Length": length}).status_code == 413


def test_other_origins_and_host_names_are_refused(workspace):
    http = TestClient(workspace.app(hosts=("127.0.0.1",)), base_url="http://127.0.0.1:80")
    body = {"like": ["sdss:sdss-0001"]}
    assert http.post("/api/similar", json=body).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        answer = http.post("/api/similar", json=body, headers={"Origin": origin})
        assert answer.status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert http.post("/api/similar", json=body, headers=own).status_code == 200
    for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example"):
        assert http.get("/api/info", headers={"Host": host}).status_code == 403


@pytest.fixture(scope="module")
def address(workspace):
    app = workspace.app(limits=Limits(idle_seconds=1))
    with running(app) as url:
        app.state.service.start()
        yield url


def connected(url):
    parsed = httpx.URL(url)
    return socket.create_connection((parsed.host, parsed.port), timeout=30)


def test_request_heads_are_bounded(address):
    for path, headers in (
        ("/api/info", {"X": "y" * 40_000}),
        (f"/api/objects?id={'x' * 40_000}", {}),
    ):
        answer = httpx.get(f"{address}{path}", headers=headers, timeout=60)
        assert answer.status_code == 431
    with connected(address) as line:
        line.sendall(b"GET / HTTP/1.1\r\n")
        sent = 0
        try:
            while sent < 10_000_000:
                sent += line.send(b"X: " + b"y" * 4000 + b"\r\n")
                time.sleep(0.001)
        except OSError:
            pass
        assert sent < 5_000_000
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_slow_clients_are_disconnected(address, monkeypatch):
    monkeypatch.setattr("galaxy_da.service.middleware.HEAD_SECONDS", 0.5)
    with connected(address) as silent, connected(address) as slow, connected(address) as stalled:
        slow.sendall(b"GET / HT")
        stalled.sendall(
            b"POST /api/similar HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert silent.recv(100) == b"" and slow.recv(100) == b""
        assert stalled.recv(100).startswith(b"HTTP/1.1 408")
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_garbage_is_answered_with_400(address):
    for text in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(99),
        "GET /\u00e9 HTTP/1.1\r\n\r\n".encode(),
    ):
        with connected(address) as line:
            line.sendall(text)
            assert line.recv(100).startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_disconnected_clients_leave_no_open_requests(address, workspace):
    for _ in range(20):
        with connected(address) as line:
            line.sendall(b"GET /api/outliers?method=lof HTTP/1.1\r\nHost: x\r\n\r\n")
    deadline = time.monotonic() + 30
    while "galaxy_da_requests_open 1.0" not in httpx.get(f"{address}/metrics", timeout=60).text:
        assert time.monotonic() < deadline
    assert httpx.get(f"{address}/api/similar?id=sdss:sdss-0001", timeout=60).status_code == 200

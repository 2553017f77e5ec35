"""Hostile images, tables and samples: refused with the right status, without high memory use."""

import bz2
import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from fastapi.testclient import TestClient

from galaxy_da.service.errors import RequestError
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.lanes import Lane
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import JobSettings
from galaxy_da.service.uploads.samples import check_sample, unpack_sample


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


def test_a_file_that_takes_long_to_read_is_given_up(http, monkeypatch):
    service = http.app.state.service
    monkeypatch.setattr(service, "uploads", Lane(service.uploads.crew, 1, 9, seconds=2))
    header = fits.Header({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "BANDS": "g,r,z"})
    header.update({"CRVAL1": 150.0, "CRVAL2": 2.0, "CD1_1": -7e-5, "CD2_2": 7e-5})
    header.update({"A_ORDER": 9999, "B_ORDER": 9999})  # astropy asks the header for each power
    out = io.BytesIO()
    fits.PrimaryHDU(np.ones((3, 64, 64), np.float32), header).writeto(out)
    files = {"file": out.getvalue()}
    assert http.post("/api/encode", data={"survey": "decals"}, files=files).status_code == 504


def test_uploads_are_read_in_processes_that_no_other_question_needs(http, tmp_path, monkeypatch):
    service = http.app.state.service
    jobs = JobSettings(queue=JobQueue(tmp_path), space="decals")
    for name, value in {"jobs": jobs, "quick": None, "slow": None}.items():
        monkeypatch.setattr(service, name, value)
    images = {"file": png(64, 64)}
    answer = http.post("/api/encode", data={"survey": "decals", "draw": True}, files=images)
    assert answer.status_code == 200, answer.text
    files = {"sample": zipped(sample__parquet=sample(cutout=["a.png"]))}
    answer = http.post("/api/jobs", data={"verb": "extract"}, files=files)
    assert answer.status_code == 202, answer.text


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
    http = TestClient(workspace.sharing_app(jobs=jobs, limits=LIMITS))
    answer = http.post("/api/jobs", data={"verb": "extract"}, files={"sample": zipped(**members)})
    assert answer.status_code == status, answer.text
    assert jobs.queue.jobs_of("") == [] and [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_the_directory_of_a_zip_is_read_in_a_bounded_process(workspace, tmp_path, monkeypatch):
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *[0] * 9, 1, *[0] * 6) + b"x"
    entries = entry * 600_000  # 28 MB, which become over 300 MB of names, dates and sizes
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, len(entries), 4, 0)
    limits = Limits(question_memory_bytes=1 << 30)
    jobs = JobSettings(queue=JobQueue(tmp_path), space="decals")
    app = workspace.app(jobs=jobs, limits=limits)
    app.state.service.start()
    monkeypatch.delattr("zipfile.ZipFile")  # of this process, which is the service's own
    files = {"sample": b"PK\x03\x04" + entries + end}
    answer = TestClient(app).post("/api/jobs", data={"verb": "extract"}, files=files)
    assert answer.status_code == 413, answer.text
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

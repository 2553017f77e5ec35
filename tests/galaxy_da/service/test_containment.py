"""No text of a client reaches a file outside its sample's folder, or another machine.

A canary lies beside the folder of each job. Whatever a client writes into the places from which
paths and URLs are made, by whatever route, the canary is not opened and no connection is tried.
"""

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from galaxy_da.errors import CutoutError, GalaxyDAError
from galaxy_da.io.containment import Box
from galaxy_da.service.limits import Limits
from galaxy_da.service.uploads.samples import check_sample, unpack_sample
from galaxy_da.surveys import Band, Survey

PARTS = st.sampled_from(
    ["..", ".", "", "/", "canary.fits", "a.fits", "{band}", "~", "link", "file:", "http:", "s3:",
     "127.0.0.1", "\\", "%2e%2e", "canary", ".fits", "#0", "::", "\0", "x.npy", "memory:"]
)  # fmt: skip
PATHS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=7).map("/".join),
    st.lists(PARTS, min_size=1, max_size=7).map("".join),
    st.text(max_size=30),
)
SURVEY = {
    "name": "evil",
    "title": "x",
    "pixel_scale_arcsec": 0.262,
    "flux_unit": "nanomaggy",
    "bands": [{"name": "r", "wavelength_nm": 642, "psf_fwhm_arcsec": 1, "depth_mag": 24}],
}
JOB = """
import json, sys
from pathlib import Path
opened = []
sys.addaudithook(
    lambda event, args: opened.append([event, str(args[0])])
    if event in ("open", "socket.connect", "socket.getaddrinfo") else None
)
from galaxy_da.errors import GalaxyDAError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.loading import read_batches
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.containment import seal
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import Survey
seal()
for line in sys.stdin:
    table, definition = json.loads(line)
    opened.clear()
    found = []
    try:
        survey = Survey.model_validate(definition)
        for _, cutouts in read_batches(Sample(table), {"evil": survey}):
            found += [type(cutout).__name__ for cutout in cutouts]
    except (GalaxyDAError, ValueError) as error:
        found.append(type(error).__name__)
    print(json.dumps([found, opened]), flush=True)
"""


def image(value=1.0):
    out = io.BytesIO()
    fits.PrimaryHDU(np.full((40, 40), value, np.float32)).writeto(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A job's input folder beside a canary, with a link to it."""
    root = tmp_path_factory.mktemp("jobs")
    (root / "canary.fits").write_bytes(image())
    (root / "input").mkdir()
    (root / "input" / "a.fits").write_bytes(image())
    (root / "input" / "link").symlink_to(root / "canary.fits")
    (root / "input" / "up").symlink_to(root)
    return root / "input"


@pytest.fixture(scope="module")
def sealed():
    """A sealed process that reads samples and lists what it opened."""
    child = subprocess.Popen(
        [sys.executable, "-c", JOB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield child
    child.stdin.close()
    child.stdout.close()
    child.wait()


def table_of(**columns):
    known = {"object_id": ["1"], "survey": ["evil"], "ra": [1.0], "dec": [2.0]}
    sink = io.BytesIO()
    pq.write_table(pa.table({**known, **{k: [v] for k, v in columns.items()}}), sink)
    return sink.getvalue()


def encodable(text):
    """Return text that UTF-8 and file names can hold."""
    return text.encode("utf-8", "ignore").decode("utf-8")


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cutout=PATHS, bands=st.one_of(st.none(), PATHS), band=st.one_of(st.just("r"), PATHS))
@example(cutout="../canary.fits", bands=None, band="r")
@example(cutout="link", bands=None, band="r")
@example(cutout="up/canary.fits", bands=None, band="r")
@example(cutout="{band}.fits", bands="../canary", band="r")
@example(cutout="{band}.fits", bands=None, band="../canary")
@example(cutout="{band}", bands=None, band="link")
@example(cutout="http://127.0.0.1:9/x.fits", bands=None, band="r")
def test_a_job_opens_nothing_outside_its_folder(folder, sealed, cutout, bands, band):
    cutout, band = encodable(cutout), encodable(band)
    columns = {"cutout": cutout} | ({} if bands is None else {"bands": encodable(bands)})
    (folder / "sample.parquet").write_bytes(table_of(**columns))
    definition = {**SURVEY, "bands": [{**SURVEY["bands"][0], "name": band}]}
    sealed.stdin.write(json.dumps([str(folder / "sample.parquet"), definition]) + "\n")
    sealed.stdin.flush()
    found, opened = json.loads(sealed.stdout.readline())
    names = {name for event, name in opened if event == "open"}
    assert os.path.realpath(folder.parent / "canary.fits") not in map(os.path.realpath, names)
    assert [event for event, _ in opened if event != "open"] == []
    if "Cutout" in found:
        assert any(Path(name).name == "a.fits" for name in names)


@settings(max_examples=400, deadline=None)
@given(path=PATHS)
def test_a_box_gives_only_paths_inside_it(folder, path):
    try:
        inside = Box(folder).path(encodable(path))
    except (CutoutError, OSError):
        return
    assert inside == folder.resolve() or folder.resolve() in inside.parents
    assert os.path.realpath(inside) == str(inside)


@settings(max_examples=200, deadline=None)
@given(name=PATHS)
def test_unzipping_writes_only_inside_its_folder(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("zip")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("sample.parquet", table_of(cutout="a.fits"))
        try:
            archive.writestr(encodable(name), b"x")
        except (ValueError, IndexError, UserWarning):
            return
    (root / "upload").write_bytes(data.getvalue())
    with suppress(GalaxyDAError, OSError):
        unpack_sample(root / "upload", root / "input", Limits())
    assert {path.name for path in root.iterdir()} <= {"upload", "input"}


@settings(max_examples=200, deadline=None)
@given(name=PATHS)
def test_bands_and_surveys_have_names_that_are_no_paths(name):
    for make in (
        lambda: Band(**{**SURVEY["bands"][0], "name": name}).name,
        lambda: Survey.model_validate({**SURVEY, "name": name}).name,
    ):
        try:
            accepted = make()
        except ValidationError:
            continue
        assert Path(accepted).name == accepted and accepted[0] not in ".~"
        assert not set(accepted) & set('/\\:#{}\0"')


@pytest.mark.parametrize(
    "survey",
    ["../x.toml", "/etc/hosts", "http://127.0.0.1/x.toml", "s3://b/x.toml", "a\n", "", "A"],
)
def test_a_survey_column_holds_names_only(folder, survey):
    (folder / "sample.parquet").write_bytes(table_of(cutout="a.fits", survey=survey))
    with pytest.raises(GalaxyDAError, match="name of a survey"):
        check_sample(folder / "sample.parquet", Limits())


def test_a_symlink_in_a_sample_is_refused(folder):
    for cutout in ("link", "up/canary.fits", "lin{band}"):
        (folder / "sample.parquet").write_bytes(table_of(cutout=cutout))
        with pytest.raises(GalaxyDAError, match="does not lie in the folder"):
            check_sample(folder / "sample.parquet", Limits())


def test_a_sealed_process_reaches_no_host_but_local_sockets():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = f"""
import socket, urllib.request
from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.containment import seal
from galaxy_da.surveys import load_survey
seal()
for call in (
    lambda: socket.create_connection(("127.0.0.1", {port})),
    lambda: socket.create_connection(("localhost", {port})),
    lambda: urllib.request.urlopen("http://127.0.0.1:{port}/"),
    lambda: load_survey("http://127.0.0.1:{port}/x.toml"),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port})),
):
    try:
        call()
    except (OSError, GalaxyDAError):
        continue
    raise AssertionError
one, other = socket.socketpair()
one.send(b"x")
"""
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()

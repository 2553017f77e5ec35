import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from archives_sky import DEC, RA, fits_bytes, sky, tan_wcs
from astropy.io import fits
from mocpy import MOC
from server import ArchiveServer, Reply

from catalogs.archives import footprints
from galaxy_da.cli import main
from galaxy_da.io.samples import Sample


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Call the verb with words, as a shell would; return status, stdout, stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*words):
        status = main(["fetch", *map(str, words), "--cache", str(tmp_path / "cache.sqlite")])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def viewer(request):
    """The Legacy viewer's cutout.fits, of the requested size."""
    side = int(request.params["size"])
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    hdu = fits.PrimaryHDU(rng.normal(size=(3, side, side)).astype(np.float32))
    hdu.header["BANDS"] = "grz"
    hdu.writeto(buffer)
    return Reply(buffer.getvalue())


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,RAJ2000,DEJ2000,z\na,150.0,2.0,0.1\nb,151.0,2.5,0.2\nc,10.0,20.0,0.3\n")
    return path


@pytest.fixture
def moc(tmp_path):
    """Five degrees around the first two rows."""
    import astropy.units as u

    path = tmp_path / "footprint.fits"
    MOC.from_cone(150 * u.deg, 2 * u.deg, radius=5 * u.deg, max_depth=8).save(path, format="fits")
    return path


def test_fetch_writes_a_sample_table(run, catalog, moc, tmp_path):
    with ArchiveServer(viewer) as server:
        words = ["decals", "--catalog", catalog, "--out", tmp_path / "out", "--moc", moc]
        words += ["--size-arcsec", 13.1, "--set", f"url={server.url}", "--json"]
        status, out, err = run(*words)
        assert status == 0, err
        result = json.loads(out)
        assert (result["ok"], result["outside_footprint"], result["requested"]) == (2, 1, 2)
        _, *images = server.log  # the first asks whether the newest release is served
        assert {entry.request.params["size"] for entry in images} == {"50"}
        assert {entry.request.params["layer"] for entry in images} == {"ls-dr11-south"}
        assert result["layer"] == "ls-dr11-south"
        sample = Sample(result["sample"])
        assert sample.catalog["object_id"].to_pylist() == ["a", "b", "c"]
        assert sample.catalog["z"].to_pylist() == [0.1, 0.2, 0.3]
        assert "fetch" in err  # the progress bar
        assert "mine.csv: object_id from name, ra from RAJ2000, dec from DEJ2000 [deg]; fr" in err
        assert json.loads(run(*words)[1])["resumed"] == 2
        assert len(server.log) == 3


def test_positions_in_any_unit_and_frame_are_requested_in_icrs_degrees(run, moc, tmp_path):
    from astropy.coordinates import SkyCoord

    sky = SkyCoord([150.0, 151.0], [2.0, 2.5], unit="deg")
    galactic = sky.galactic
    for name, (lon, lat) in {
        "hours": (sky.ra.hour, sky.dec.deg),
        "galactic": (galactic.l.deg, galactic.b.deg),
    }.items():
        rows = [f"{i},{lon[i]:.12f},{lat[i]:.12f}" for i in range(2)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["id,ra,dec", *rows]))
    for name, option in {"hours": ("unit", "hourangle"), "galactic": ("frame", "galactic")}.items():
        with ArchiveServer(viewer) as server:
            status, _, err = run(
                *("decals", "--catalog", tmp_path / f"{name}.csv", "--out", tmp_path / name),
                *("--moc", moc, "--set", f"url={server.url}", f"--{option[0]}", option[1]),
            )
            assert status == 0, err
            places = {(e.request.params["ra"], e.request.params["dec"]) for e in server.log}
        np.testing.assert_allclose(
            sorted([float(x), float(y)] for x, y in places),
            [[150.0, 2.0], [151.0, 2.5]],
            rtol=1e-9,
        )


def test_the_surveys_own_footprint_is_requested_once(run, catalog, moc, tmp_path, monkeypatch):
    def answer(request):
        if request.path == "/moc":
            return Reply(MOC.load(moc, format="fits").to_string(format="ascii").encode())
        return viewer(request)

    with ArchiveServer(answer) as server:
        monkeypatch.setattr(footprints, "MOC_SERVER", f"{server.url}/moc")
        for name in ("one", "two"):
            status, _, err = run(
                *("decals", "--catalog", catalog, "--out", tmp_path / name),
                *("--set", f"url={server.url}"),
            )
            assert status == 0, err
        requests = [entry.request for entry in server.log if entry.request.path == "/moc"]
    assert len(requests) == 1
    assert "CDS/P/DESI-Legacy-Surveys/DR10/color" in str(requests[0].params)
    status = pq.read_table(tmp_path / "two" / "sample.parquet")["status"].to_pylist()
    assert status == ["ok", "ok", "outside_footprint"]


def test_own_coadds_are_cut_without_a_footprint(run, tmp_path, monkeypatch):
    monkeypatch.setattr(footprints, "MOC_SERVER", "http://127.0.0.1:9/nothing")
    wcs = tan_wcs(RA, DEC, 0.2, 300, 280)
    tile = fits_bytes(1e-9 * sky(wcs, 300, 280, "r"), wcs)
    (tmp_path / "tile_r.fits").write_bytes(tile)
    (tmp_path / "mine.csv").write_text(f"name,ra,dec\na,{RA},{DEC}\nb,{RA + 9},{DEC}\n")
    words = ["kids", "--catalog", tmp_path / "mine.csv", "--out", tmp_path / "out"]
    status, _, err = run(*words, "--mosaic", tmp_path / "tile_{band}.fits")
    assert status == 0, err
    table = pq.read_table(tmp_path / "out" / "sample.parquet")
    assert table["status"].to_pylist() == ["ok", "outside_footprint"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "unknown survey 'nosuch'"),
        (["sdss", "--service", "nosuch"], "service 'nosuch' has no cutouts of it"),
        (["decals", "--set", "layer=ls-dr9"], "name the half explicitly"),
        (["decals", "--set", "layer"], "--set takes NAME=VALUE, not 'layer'"),
        (["decals", "--set", "colour=red"], "does not take these options"),
        (["decals", "--moc", "nosuch.fits"], "nosuch.fits: cannot be read as a MOC"),
        (["decals", "--mosaic", "a.fits", "--service", "sia"], "cuts local files"),
        (["decals", "--size-arcsec", "inf"], "inf is not a finite number"),
        (["decals", "--moc", "none", "--ra", "x"], "there is no column 'x' for ra"),
    ],
)
def test_mistakes_are_one_line_and_status_2(run, catalog, tmp_path, words, message):
    status, out, err = run(*words, "--catalog", catalog, "--out", tmp_path / "out")
    assert status == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not out
    assert not (tmp_path / "out").exists()

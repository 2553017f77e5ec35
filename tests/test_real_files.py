"""Real images: every cutout has features or a status, and one galaxy has similar latents."""

import io
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from conftest import pair_table
from PIL import Image

from catalogs.simulation.sky import SkySettings, sky_chunks
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey, load_survey

GAMA_SDSS = """
name = "sdss-gama"
title = "SDSS r, resampled for GAMA"
pixel_scale_arcsec = 0.339
flux_unit = "maggy"
[[bands]]
name = "r"
wavelength_nm = 617
psf_fwhm_arcsec = 1.4
depth_mag = 22.2
"""


@pytest.fixture(scope="module")
def decals():
    return LatentSpace.load("decals")


def sample(folder, rows):
    pq.write_table(pa.Table.from_pylist(rows), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


BLACK = (3249, 3251)


@pytest.mark.slow
def test_every_spiral_is_extracted_once_after_a_kill(data, tmp_path):
    table = data / "sdss_spirals.parquet"
    n = pq.read_metadata(table).num_rows
    words = [
        sys.executable, "-m", "galaxy_da", "extract", "--space", "decals", "--sample", str(table),
        "--out", str(tmp_path / "f"),
    ]  # fmt: skip
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while first.poll() is None and not (tmp_path / "f/part-00000.parquet").exists():
        time.sleep(0.01)
    assert first.poll() is None, first.stderr.read()
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    assert not (tmp_path / "f/features.json").exists()
    second = subprocess.run(words, capture_output=True, text=True, check=True)
    assert f"{n}/{n}" in second.stderr
    got = Features.open(tmp_path / "f").table
    assert got["object_id"].to_pylist() == pq.read_table(table)["object_id"].to_pylist()
    counts = {v["values"]: v["counts"] for v in got["status"].value_counts().to_pylist()}
    assert counts == {"ok": n - len(BLACK), "no_data": len(BLACK)}
    assert np.isfinite(vectors(got.filter(got["embedding"].is_valid()))).all()


def test_decals_cubes_have_features_or_a_status(data, decals, tmp_path):
    rows = []
    for path in sorted((data / "decals_fits").glob("*.fits")):
        header = fits.Header.fromfile(path)
        rows.append(
            {"object_id": path.stem, "survey": "decals", "ra": header["CRVAL1"],
             "dec": header["CRVAL2"], "cutout": str(path)}
        )  # fmt: skip
    table = extract(decals, sample(tmp_path, rows)).table.to_pandas().set_index("object_id")
    bad = table[table["status"] != "ok"]
    assert (table["status"] == "ok").sum() == 10
    assert dict(bad["status"]) == {
        "example_bad_pix__09782dd": "failed_quality",  # g and r are zero over the galaxy
        "example_incomplete__83e22c8": "unreadable",
        "example_incomplete_backup__83e22c8": "unreadable",
    }
    assert bad["message"].str.len().min() > 20
    same = LatentIndex.build([extract(decals, Sample(tmp_path / "sample.parquet"))])
    # one galaxy served at 0.262" and at 0.1"
    near = same.similar("decals:temp_small__d331021", k=1)
    assert near["object_id"].to_pylist() == ["example_a__ba79bb8"]


def test_kids_and_sdss_latents_of_gama_galaxies_match(data, decals, tmp_path):
    (tmp_path / "sdss-gama.toml").write_text(GAMA_SDSS)
    mine = load_survey(tmp_path / "sdss-gama.toml")
    names = sorted(p.name[:7] for p in (data / "kids_sdss_fits/KiDS").glob("*fitim.fits"))
    assert len(names) == 10
    features = []
    for survey, folder in (("kids", "KiDS"), ("sdss-gama", "SDSS")):
        (tmp_path / survey).mkdir()
        rows = [
            {"object_id": name, "survey": survey, "ra": 180.0 + i, "dec": 0.0, "bands": "r",
             "cutout": str(data / "kids_sdss_fits" / folder / f"{name}fitim.fits")}
            for i, name in enumerate(names)
        ]  # fmt: skip
        settings = ExtractSettings(surveys=[mine])
        extracted = extract(decals, sample(tmp_path / survey, rows), settings=settings)
        assert set(extracted.table["status"].to_pylist()) == {"ok"}
        features.append(extracted)
    distances = LatentIndex.build(features).distances(
        pair_table(names, names), anchor="kids", target="sdss-gama"
    )
    report = read_metadata(distances.schema)
    assert report["n_pairs"] == 10
    assert report["ratio"] < 0.7 and report["auc"] > 0.8


def test_one_spiral_has_similar_latents_in_three_surveys(data, decals, tmp_path):
    """Use r alone: the WCS of the SDSS stamps is 5 arcmin off, and differs by 4 arcsec per band."""
    latents = {}
    for survey, (ra, dec) in {
        "des": (27.952, 0.2635),
        "ps1": (27.952, 0.2635),
        "sdss": (27.8693, 0.2147),
    }.items():
        (tmp_path / survey).mkdir()
        uri = str(data / "des_ps1_sdss_fits" / (survey.upper() + "_{band}.fits"))
        row = {"object_id": "spiral", "survey": survey, "ra": ra, "dec": dec, "cutout": uri}
        row["bands"] = "r"
        table = extract(decals, sample(tmp_path / survey, [row])).table
        assert table["status"].to_pylist() == ["ok"], table["message"].to_pylist()
        latents[survey] = vectors(table)[0]
    others = _simulated(decals)
    for one, two in (("des", "ps1"), ("des", "sdss"), ("ps1", "sdss")):
        distance = np.linalg.norm(latents[one] - latents[two])
        assert distance < np.quantile(np.linalg.norm(others - latents[one], axis=1), 0.01)


def test_fits_and_jpeg_of_one_cutout_have_similar_latents(data, decals, tmp_path):
    stretch = get_survey("decals").stretch
    rows = []
    for path in sorted((data / "decals_fits").glob("*.fits")):
        if "incomplete" in path.name or "bad_pix" in path.name:
            continue
        with fits.open(path) as hdus:
            header, flux = hdus[0].header, torch.tensor(hdus[0].data.astype(np.float32))
        colour = np.moveaxis(apply_stretch(flux[[2, 1, 0]], stretch).numpy(), 0, -1)
        Image.fromarray(colour[::-1]).save(tmp_path / f"{path.stem}.jpg", quality=95)
        place = {"survey": "decals", "ra": header["CRVAL1"], "dec": header["CRVAL2"],
                 "pixel_scale_arcsec": abs(header["CD1_1"]) * 3600}  # fmt: skip
        rows.append({"object_id": f"{path.stem}-fits", "cutout": str(path), **place})
        rows.append({"object_id": f"{path.stem}-jpg", "cutout": f"{path.stem}.jpg", **place})
    points = vectors(extract(decals, sample(tmp_path, rows)).table)
    others = _simulated(decals)
    for from_fits, from_jpeg in zip(points[::2], points[1::2], strict=True):
        random = np.linalg.norm(others - from_fits, axis=1)
        assert np.linalg.norm(from_fits - from_jpeg) < np.quantile(random, 0.01)


def _simulated(space):
    """Return galaxy latents (320, latents) of a simulated sky."""
    survey = get_survey("decals")
    cutouts = []
    for chunk in sky_chunks([survey], SkySettings(seed=77, repeat_anchor=False), 320):
        flux = chunk.observations["decals"].flux.numpy()
        middle = (flux.shape[-1] - 1) / 2
        cutouts += [
            Cutout(pixels=p, bands=("g", "r", "z"), pixel_scale_arcsec=0.262,
                   centre_xy=(middle, middle))
            for p in flux
        ]  # fmt: skip
    own = space.encoder("decals")
    latents = space.encode(own.prepare(cutouts, space.frame).inputs, own).mean
    return latents[:, : space.galaxy_latents].numpy()


def test_jpeg_needs_a_stretch(data, decals, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(buffer, "PNG")
    row = {"object_id": "a", "survey": "kids", "ra": 1.0, "dec": 1.0, "image": buffer.getvalue()}
    table = extract(decals, sample(tmp_path, [row])).table
    assert table["status"].to_pylist() == ["unreadable"]
    assert "kids: colour images" in table["message"][0].as_py()

"""The commands of the pages of *Start*, run as a person would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex

START = Path(__file__).resolve().parents[2] / "docs" / "start"
PIXEL_ARCSEC = 0.33
CAMERA = f"""
name = "camera"
title = "A camera whose seeing is worse than its owner says"
pixel_scale_arcsec = {PIXEL_ARCSEC}
flux_unit = "nanomaggy"
""" + "".join(
    f'[[bands]]\nname = "{band}"\nwavelength_nm = {nm}\npsf_fwhm_arcsec = 1.4\ndepth_mag = 24\n'
    for band, nm in (("g", 480), ("r", 625), ("i", 760))
)


def script_commands():
    lines = (START / "path.sh").read_text(encoding="utf-8").splitlines()
    return [re.sub(r"^\[.*?\|\| ", "", line) for line in lines if "galaxy-da " in line]


def page_commands():
    """Yield the commands of the two pages, but for installing and serving."""
    for page in ("ten-minutes.md", "thirty-minutes.md"):
        text = (START / page).read_text(encoding="utf-8")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            yield from (
                line
                for line in block.splitlines()
                if not line.startswith(("pip install", "galaxy-da serve"))
            )


def test_the_script_has_the_commands_of_the_pages():
    assert script_commands() == list(page_commands())


def write_cutouts(sky, folder):
    """Write the cutouts of a simulated survey as FITS files with a WCS; return their ids."""
    rows = pq.read_table(sky / "camera/sample.parquet").to_pylist()
    paired = set(pq.read_table(sky / "pairs-decals-camera.parquet")["target_id"].to_pylist())
    images = np.load(sky / "camera/cutouts.npy", mmap_mode="r")
    rows.sort(key=lambda row: row["object_id"] not in paired)
    folder.mkdir()
    for number, row in enumerate(rows):
        image = np.asarray(images[int(row["cutout"].partition("#")[2])])
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [row["ra"], row["dec"]]
        wcs.wcs.crpix = [(image.shape[2] + 1) / 2, (image.shape[1] + 1) / 2]
        wcs.wcs.cdelt = [-PIXEL_ARCSEC / 3600, PIXEL_ARCSEC / 3600]
        header = wcs.to_header()
        header.update({"BUNIT": "nanomaggy", "BANDS": row["bands"]})
        name = row["object_id"] if number else "first"
        fits.writeto(folder / f"{name}.fits", image, header)
    return len(rows)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_fits_cutouts_to_an_adapted_survey(tmp_path):
    binaries = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}

    def run(*words):
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "camera.toml").write_text(CAMERA)
    run("galaxy-da", "simulate", "--surveys", "decals,camera", "--survey-file", "camera.toml",
        "--n", "160", "--seed", "7", "--out", "sky")  # fmt: skip
    cutouts = write_cutouts(tmp_path / "sky", tmp_path / "cutouts")
    shutil.copytree(tmp_path / "sky/decals", tmp_path / "decals")  # what `fetch` would bring
    printed = run("bash", str(START / "path.sh"))

    assert f"rows             {cutouts}" in printed
    assert (tmp_path / "report/report.html").stat().st_size > 10_000
    catalogue = Table.read(tmp_path / "catalogue.fits")
    assert len(catalogue) == cutouts
    assert "morph_r_mag" in catalogue.colnames

    index = LatentIndex.open(tmp_path / "both")
    pairs = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    usable = set(Features.open(tmp_path / "features/mine").ok()["object_id"].to_pylist())
    ranks = []
    for pair in (pair for pair in pairs if pair["target_id"] in usable):
        near = index.similar(f"mine:{pair['target_id']}", k=10, survey="decals").to_pandas()
        places = np.flatnonzero(near["object_id"] == pair["anchor_id"])
        ranks.append(places[0] + 1 if len(places) else 99)
    assert len(ranks) > 0.8 * cutouts  # the others are blank or outside the survey
    assert np.median(ranks) <= 2  # chance is 80

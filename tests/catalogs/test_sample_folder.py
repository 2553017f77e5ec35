"""A folder of image files becomes a sample table."""

import bz2
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from folder_helpers import (
    DEC,
    DECALS,
    FLUX,
    IDS,
    RA,
    SCALE,
    N,
    assert_right,
    header,
    planes,
    read_back,
    write,
)
from fsspec.implementations.memory import MemoryFile
from PIL import Image

from catalogs.datasets import write_sample
from galaxy_da.cli import main
from galaxy_da.errors import SurveyError
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey


def test_files_named_by_id_become_rows_of_the_catalogue(tmp_path, catalogue):
    for i in range(N):
        path = tmp_path / "images" / f"part{i % 2}" / f"decals_{IDS[i]}_v2.fits"
        write(path, planes(seed=i), header(i, DECALS))
    out = tmp_path / "deep" / "er" / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=catalogue)
    assert (report["rows"], report["match"]) == (N, "name")
    assert report["unmatched_rows"] == ["lost"] and report["unmatched_files"] == []
    assert report["matches"] == {
        "name": {"images": N}, "header": {"images": 0}, "position": {"images": N}
    }  # fmt: skip
    assert report["bands"] == {"g,r,z (header)": {"images": N}}
    assert report["pixel_scales_arcsec"]["images with WCS"]["median"] == pytest.approx(SCALE)
    expected = -2.5 * np.log10(FLUX["g"] / FLUX["r"])
    assert report["colours"]["g-r"]["median"] == pytest.approx(expected, abs=0.02)
    catalog = assert_right(out)
    assert catalog["mag"].to_pylist() == [IDS.index(v) for v in catalog["object_id"].to_pylist()]
    assert set(catalog["survey_input"].to_pylist()) == {"other"}
    assert set(catalog["bands_input"].to_pylist()) == {"nonsense"}
    assert set(catalog["survey"].to_pylist()) == {"decals"}


@pytest.mark.parametrize("layout", ["{id}_{band}.fits", "{band}/{id}.fits", "HSC-{band}-{id}.fits"])
def test_one_file_per_band_becomes_one_row(layout, tmp_path, catalogue):
    for i in range(N):
        for k, band in enumerate(DECALS):
            if (i, band) == (0, "z"):
                continue
            spelled = band.upper() if "HSC" in layout else band
            path = tmp_path / "images" / layout.format(id=IDS[i], band=spelled)
            write(path, planes(seed=i)[k], header(i))
    write(tmp_path / "images" / f"{IDS[1]}_g_wht.fits", planes()[0], header(1))
    out = tmp_path / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=catalogue)
    assert report["rows"] == N and report["match"] == "name"
    assert report["bands"] == {
        "g,r,z (file names)": {"images": N - 1}, "g,r (file names)": {"images": 1}
    }  # fmt: skip
    assert report["unmatched_files"] == [f"{IDS[1]}_g_wht.fits"]
    assert "mask, weight, noise or PSF" in next(iter(report["refused"]))
    catalog, cutouts = read_back(out)
    for name, cutout in zip(catalog["object_id"].to_pylist(), cutouts, strict=True):
        i = IDS.index(name)
        assert cutout.bands == (("g", "r") if i == 0 else DECALS)
        np.testing.assert_allclose(cutout.pixels, planes(seed=i)[: len(cutout.bands)], rtol=1e-6)


def test_a_name_of_another_band_than_the_header_is_refused(tmp_path):
    for i in range(N):
        for k, band in enumerate(DECALS):
            wrong = "z" if (i, band) == (0, "r") else band
            path = tmp_path / "images" / f"{IDS[i]}_{band}.fits"
            write(path, planes(seed=i)[k], header(i, FILTER=wrong))
    report = write_sample(tmp_path / "images", tmp_path / "sample.parquet", "decals")
    assert report["rows"] == N - 1
    assert report["unmatched_files"] == [f"{IDS[0]}_{band}.fits" for band in DECALS]
    assert "the name says band r but the header says z" in next(iter(report["refused"]))


def test_compressed_files_are_read_as_plain_ones(tmp_path, catalogue):
    pack = {"fits.gz": gzip.compress, "fits.bz2": bz2.compress}
    for i in range(N):
        plain = write(tmp_path / "plain" / f"{i}.fits", planes(seed=i), header(i, DECALS))
        ending = ("fits.gz", "fits.bz2", "fits.fz")[i % 3]
        path = tmp_path / "images" / f"{IDS[i]}.{ending}"
        path.parent.mkdir(exist_ok=True)
        if ending in pack:
            path.write_bytes(pack[ending](plain.read_bytes()))
        else:
            hdu = fits.CompImageHDU(
                planes(seed=i), header(i, DECALS), compression_type="GZIP_2", quantize_level=0
            )
            hdu.writeto(path)
    out = tmp_path / "sample.parquet"
    assert write_sample(tmp_path / "images", out, "decals", catalog=catalogue)["rows"] == N
    assert_right(out)


def test_planes_without_names_need_a_declaration(tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i))
        np.save(tmp_path / "images" / f"extra{i}.npy", planes(seed=i))
    images, out = tmp_path / "images", tmp_path / "sample.parquet"
    report = write_sample(images, out, "decals", catalog=catalogue)
    assert (report["rows"], report["sample"]) == (0, None)
    assert not out.exists()
    (reason,) = report["refused"]
    assert "declare them in order by --bands" in reason
    assert report["refused"][reason]["files"] == 2 * N
    report = write_sample(images, out, "decals", catalog=catalogue, bands=DECALS)
    assert report["rows"] == N and report["bands"] == {"g,r,z (declared)": {"images": N}}
    assert_right(out)


def test_bands_that_a_survey_lacks_are_left_out(tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes("griz", seed=i), header(i))
    out = tmp_path / "sample.parquet"
    report = write_sample(
        tmp_path / "images", out, "decals", catalog=catalogue, bands=tuple("griz")
    )
    assert report["bands"] == {"g,r,(i),z (declared)": {"images": N}}
    catalog, cutouts = read_back(out)
    i = IDS.index(catalog["object_id"][0].as_py())
    np.testing.assert_allclose(cutouts[0].pixels, planes("griz", seed=i)[[0, 1, 3]], rtol=1e-6)


def test_units_of_headers_are_shown_and_contradictions_refused(tmp_path):
    for i in range(N):
        cards = {"BUNIT": "nJy"} if i else {"BUNIT": "kelvin"}
        pixels = planes(seed=i) * np.float32(10 ** ((31.4 - 22.5) / 2.5))
        write(tmp_path / "images" / f"{IDS[i]}.fits", pixels, header(i, DECALS, **cards))
    out = tmp_path / "s.parquet"
    report = write_sample(tmp_path / "images", out, "decals")
    assert report["units"]["nJy (BUNIT)"]["zeropoint_median"] == pytest.approx(31.4, abs=1e-3)
    assert report["rows"] == N - 1 and "kelvin" in next(iter(report["refused"]))
    _, cutouts = read_back(out)
    np.testing.assert_allclose(cutouts[0].pixels, planes(seed=1), rtol=1e-3, atol=1e-5)


def test_the_verb_tells_counted_reasons_and_exits_1_where_no_file_can_be_used(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i}.fits").write_bytes(b"" if i % 3 else b"SIMPLE  = nonsense")
    command = ["sample", str(folder), "--survey", "decals", "--out", str(tmp_path / "s.parquet")]
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "unmatched_files  12: 0.fits, 1.fits" in shown and "(2 more: --json)" in shown
    assert main([*command, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert len(report["unmatched_files"]) == 12
    assert sum(row["files"] for row in report["refused"].values()) == 12
    assert main([*command, "--match", "guess", "--catalog", str(folder / "none.csv")]) == 2
    assert main([*command, "--match", "name"]) == 2
    assert main([*command, "--stretch", "galaxy-zoo", "--survey", "des"]) == 2
    assert main([*command, "--positions", str(folder)]) == 2


def test_names_in_any_script_are_read_and_empty_files_told(tmp_path, capsys):
    names = ["NGC 1234 Übersicht", "β Pic; it's", "銀河 7", "Größe_ñ"]
    for i, name in enumerate(names):
        write(tmp_path / "images" / f"{name}.fits", planes(seed=i), header(i, DECALS))
    (tmp_path / "images" / "none.fits").touch()
    report = write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")
    assert report["refused"] == {"the file is empty": {"files": 1, "first": "none.fits"}}
    assert set(Sample(tmp_path / "s.parquet").catalog["object_id"].to_pylist()) == set(names)
    for place, said in (("nowhere", "no such file or folder"), (".", "give a folder of FITS")):
        assert (
            main(["sample", str(tmp_path / "e" / place), "--survey", "decals", "--out", "x"]) == 2
        )
        assert said in capsys.readouterr().err
        (tmp_path / "e").mkdir(exist_ok=True)


def test_a_survey_file_gives_the_name_in_the_table(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'name = "mine"\ntitle = "Mine"\npixel_scale_arcsec = 0.3\nflux_unit = "nanomaggy"\n'
        + "".join(
            f'[[bands]]\nname = "{name}"\nwavelength_nm = {nm}\npsf_fwhm_arcsec = 1\n'
            "depth_mag = 24\n"
            for name, nm in (("g", 481), ("r", 642), ("z", 925))
        )
    )
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    out = tmp_path / "s.parquet"
    write_sample(tmp_path / "images", out, str(mine))
    assert set(Sample(out).catalog["survey"].to_pylist()) == {"mine"}


def test_pictures_become_rows_with_their_stretch(tmp_path, data):
    images = data / "galaxy10_decals_samples"
    source = sorted(images.glob("*.jpg"))
    n = len(source)
    table = pa.table({"id": [path.stem for path in source], "ra": np.arange(n), "dec": [0.0] * n})
    csv.write_csv(table, tmp_path / "c.csv")
    out = tmp_path / "sample.parquet"
    report = write_sample(images, out, "decals", catalog=tmp_path / "c.csv")
    assert report["rows"] == n and report["sizes_px"] == {"256 x 256": {"images": n}}
    assert report["colours"]["g-r"]["median"] == pytest.approx(0.7, abs=0.25)
    assert "stretch" not in Sample(out).catalog.column_names
    write_sample(images, out, "decals", catalog=tmp_path / "c.csv", stretch="galaxy-zoo")
    catalog, cutouts = read_back(out)
    assert set(catalog["stretch"].to_pylist()) == {"galaxy-zoo"}
    assert all(c.stretch == get_survey("decals").stretches["galaxy-zoo"] for c in cutouts)
    report = write_sample(images, out, "decals", catalog=tmp_path / "c.csv", bands=DECALS)
    assert "bands of its stretch (z, r, g)" in next(iter(report["refused"]))
    with pytest.raises(SurveyError, match="no stretch named 'viewer'"):
        write_sample(images, out, "decals", catalog=tmp_path / "c.csv", stretch="viewer")


def test_image_sets_take_a_stretch_too(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (N, 12, 12, 3), dtype=np.uint8)
    encoded = []
    for i in range(N):
        Image.fromarray(colour[i]).save(tmp_path / "one.png")
        encoded.append({"bytes": (tmp_path / "one.png").read_bytes(), "path": f"{i}.png"})
    table = pa.table({"id": IDS, "ra": RA, "dec": DEC, "stretch": ["mine"] * N, "image": encoded})
    pq.write_table(table, tmp_path / "shard.parquet")
    out = tmp_path / "s.parquet"
    write_sample(tmp_path / "shard.parquet", out, "decals", stretch="galaxy-zoo")
    catalog, cutouts = read_back(out)
    assert catalog["stretch_input"].to_pylist() == ["mine"] * N
    assert cutouts[0].stretch == get_survey("decals").stretches["galaxy-zoo"]
    flux = [{"band": list("grz"), "flux": planes(seed=i).tolist()} for i in range(N)]
    pq.write_table(table.set_column(4, "image", pa.array(flux)), tmp_path / "flux.parquet")
    with pytest.raises(ValueError, match="stretch is for colour images"):
        write_sample(tmp_path / "flux.parquet", out, "decals", stretch="galaxy-zoo")


def test_real_files_of_one_band_each(tmp_path, data):
    report = write_sample(
        data / "des_ps1_sdss_fits", tmp_path / "s.parquet", "des", catalog=None, bands=()
    )
    assert "g,r,i,z (file names)" in report["bands"]


def test_files_of_one_band_an_extension_name_their_bands(tmp_path):
    for i in range(N):
        images = [
            fits.ImageHDU(plane, header(i), name=f"SCI_{band}")
            for plane, band in zip(planes(seed=i), DECALS, strict=True)
        ]
        path = tmp_path / "images" / f"{IDS[i]}.fits"
        path.parent.mkdir(exist_ok=True)
        fits.HDUList([fits.PrimaryHDU(), *images[::-1]]).writeto(path)
    out = tmp_path / "s.parquet"
    report = write_sample(tmp_path / "images", out, "decals")
    assert report["bands"] == {"g,r,z (header)": {"images": N}}
    assert_right(out)


def test_a_folder_in_an_object_store(tmp_path, store):
    for i in range(N):
        path = write(tmp_path / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
        store[f"/images/deep/{IDS[i]}.fits"] = MemoryFile(data=path.read_bytes())
    report = write_sample("memory://images", "memory://sample.parquet", "decals")
    assert report["rows"] == N
    assert_right("memory://sample.parquet")


def test_a_catalogue_and_a_sample_may_lie_among_the_images(tmp_path):
    images = tmp_path / "images"
    for i in range(N):
        write(images / IDS[i] / "image.fits", planes(seed=i), header(None, DECALS))
    columns = [
        fits.Column("id", "16A", array=IDS), fits.Column("ra", "D", array=RA),
        fits.Column("dec", "D", array=DEC),
    ]  # fmt: skip
    fits.BinTableHDU.from_columns(columns).writeto(images / "catalogue.fits")
    for _ in range(2):
        report = write_sample(
            images, images / "s.parquet", "decals", catalog=images / "catalogue.fits"
        )
        assert (report["files"], report["rows"], report["match"]) == (N, N, "name")
    assert_right(images / "s.parquet")
    with pytest.raises(ValueError, match="holds no pictures"):
        write_sample(images, images / "s.parquet", "decals", stretch="galaxy-zoo")


def test_shards_beside_pictures_stay_shards(tmp_path):
    table = pa.table({"id": IDS, "ra": RA, "dec": DEC, "image": [b"x"] * N})
    pq.write_table(table, tmp_path / "train.parquet")
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert write_sample(tmp_path, tmp_path / "o" / "s.parquet", "decals")["layout"] == "Parquet"

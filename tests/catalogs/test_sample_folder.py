import bz2
import gzip
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from fsspec.implementations.memory import MemoryFile
from PIL import Image
from scipy.ndimage import gaussian_filter

from catalogs.datasets import write_sample
from catalogs.datasets.colour_check import check_colours, plausible_range
from catalogs.datasets.file_matching import IdNames
from galaxy_da.cli import main
from galaxy_da.errors import CatalogError, SurveyError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey

N = 6
SIDE, SCALE = 64, 0.262
IDS = [f"J{i}0954+012{i}" for i in range(N)]
RA, DEC = 150 + 0.01 * np.arange(N), 2 - 0.02 * np.arange(N)
FLUX = {"g": 50.0, "r": 100.0, "i": 140.0, "z": 180.0}  # g-r 0.75, r-z 0.64
DECALS = ("g", "r", "z")


def planes(bands=DECALS, seed=0):
    """Return a round galaxy of 1 arcsec with noise, in nanomaggies."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    shape = np.exp(-0.5 * (x**2 + y**2) * (SCALE / 1.0) ** 2)
    noise = np.random.default_rng(seed).normal(0, 0.01, (len(bands), SIDE, SIDE))
    flux = np.array([FLUX[band] for band in bands])
    return (flux[:, None, None] * shape / shape.sum() + noise).astype(np.float32)


def header(i=None, bands=None, **cards):
    made = fits.Header()
    if i is not None:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = RA[i], DEC[i]
        wcs.wcs.crpix = (SIDE + 1) / 2, (SIDE + 1) / 2
        wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
        made = wcs.to_header()
    if bands is not None:
        made["BANDS"] = "".join(bands)
    made.update(cards)
    return made


def write(path, pixels, head=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, head).writeto(path)
    return path


@pytest.fixture
def catalogue(tmp_path):
    """Return a catalogue in another order than the files, with one galaxy more."""
    order = np.random.default_rng(1).permutation(N)
    table = pa.table(
        {
            "id": [IDS[i] for i in order] + ["lost"],
            "ra": [*RA[order], 10.0],
            "dec": [*DEC[order], 10.0],
            "mag": [*order.astype(float), 99.0],
            "survey": ["other"] * (N + 1),
            "bands": ["nonsense"] * (N + 1),
        }
    )
    csv.write_csv(table, tmp_path / "catalogue.csv")
    return tmp_path / "catalogue.csv"


def read_back(out):
    """Return the catalogue and cutouts of a sample, in its order."""
    sample = Sample(out)
    (batch,) = sample.batches(1000)
    survey = get_survey(sample.survey)
    return sample.catalog, read_cutouts(batch, sample.folder, survey)


def assert_right(out, bands=DECALS):
    """Check that each row has the image of its own galaxy: the seed of the noise is its number."""
    catalog, cutouts = read_back(out)
    for row, cutout in zip(catalog.to_pylist(), cutouts, strict=True):
        i = IDS.index(row["object_id"])
        assert (row["ra"], row["dec"]) == pytest.approx((RA[i], DEC[i]))
        assert cutout.bands == tuple(bands)
        np.testing.assert_allclose(cutout.pixels, planes(bands, seed=i), rtol=1e-6)
    return catalog


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


@pytest.mark.parametrize("how", ["name", "header", "position", "auto"])
def test_each_way_to_match_finds_the_same_galaxies(how, tmp_path, catalogue):
    for i in range(N):
        name = IDS[i] if how == "name" else f"{i:04d}"
        place = i if how in ("position", "auto") else None
        cards = {"OBJECT": IDS[i].lower()} if how == "header" else {"OBJECT": "field 7"}
        write(tmp_path / "images" / f"{name}.fits", planes(seed=i), header(place, DECALS, **cards))
    out = tmp_path / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=catalogue, match=how)
    assert report["match"] == ("position" if how == "auto" else how)
    assert report["rows"] == N
    assert_right(out)


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


def test_without_a_catalogue_the_wcs_and_the_names_make_the_rows(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    write(tmp_path / "images" / "nowhere.fits", planes(), header(None, DECALS))
    out = tmp_path / "sample.parquet"
    report = write_sample(tmp_path / "images", out, "decals")
    assert report["rows"] == N
    assert report["unmatched_files"] == ["nowhere.fits"]
    assert next(iter(report["refused"])) == "it has no WCS; give the positions by --catalog"
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


@pytest.mark.parametrize("order", ["zrg", "rgz", "gzr"])
def test_planes_in_another_order_than_declared_are_refused(order, tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(order, seed=i), header(i))
    images, out = tmp_path / "images", tmp_path / "sample.parquet"
    with pytest.raises(CatalogError, match=f"not those of galaxies.*order {','.join(order)};"):
        write_sample(images, out, "decals", catalog=catalogue, bands=DECALS)
    assert not out.exists()
    report = write_sample(images, out, "decals", catalog=catalogue, bands=tuple(order))
    assert report["rows"] == N and "warning" not in report
    assert_right(out, order)
    report = write_sample(
        images, out, "decals", catalog=catalogue, bands=DECALS, accept_colours=True
    )
    assert report["rows"] == N and "implausible" in report["warning"]


def test_bands_in_the_header_in_the_wrong_order_are_refused(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes("zrg"), header(i, DECALS))
    with pytest.raises(CatalogError, match=r"g,r,z \(header\).*order z,r,g;"):
        write_sample(tmp_path / "images", tmp_path / "sample.parquet", "decals")
    report = write_sample(
        tmp_path / "images", tmp_path / "sample.parquet", "decals", bands=("z", "r", "g")
    )
    assert report["rows"] == 0
    assert "header says bands g, r, z but z, r, g are declared" in next(iter(report["refused"]))


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


def test_a_wcs_elsewhere_contradicts_a_name(tmp_path, catalogue):
    for i in range(N):
        place = (i + 1) % N if i < 2 else i
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(place, DECALS))
    report = write_sample(
        tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=catalogue, match="name"
    )
    assert report["rows"] == N - 2
    assert report["unmatched_files"] == [f"{IDS[0]}.fits", f"{IDS[1]}.fits"]
    assert set(report["unmatched_rows"]) == {IDS[0], IDS[1], "lost"}


def test_two_images_of_a_galaxy_are_not_chosen_between(tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(seed=i), header(i, DECALS))
    write(tmp_path / "images" / f"a_{IDS[0]}.fits", planes(), header(0, DECALS))  # not equal: left
    write(tmp_path / "images" / "b" / f"{IDS[1]}.fits", planes(), header(1, DECALS))
    report = write_sample(
        tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=catalogue, match="name"
    )
    assert report["rows"] == N - 1
    assert report["unmatched_rows"] == ["lost", IDS[1]] or set(report["unmatched_rows"]) == {
        "lost", IDS[1]
    }  # fmt: skip
    assert f"a_{IDS[0]}.fits" in report["unmatched_files"]


def test_the_nearest_galaxy_must_be_clearly_the_nearest(tmp_path):
    write(tmp_path / "images" / "one.fits", planes(), header(0, DECALS))
    near, far = 2 / 3600, 3 / 3600
    for second, matched in ((far, 0), (20 / 3600, 1)):
        table = pa.table(
            {"id": ["p", "q"], "ra": [RA[0]] * 2, "dec": [DEC[0] + near, DEC[0] - second]}
        )
        csv.write_csv(table, tmp_path / "pair.csv")
        report = write_sample(
            tmp_path / "images", tmp_path / "s.parquet", "decals", catalog=tmp_path / "pair.csv"
        )
        assert (report["rows"], report["match"]) == (matched, "name" if not matched else "position")


def test_row_numbers_are_no_names(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{N - 1 - i}.fits", planes(seed=i), header(i, DECALS))
    csv.write_csv(pa.table({"ra": RA, "dec": DEC}), tmp_path / "bare.csv")
    out = tmp_path / "s.parquet"
    report = write_sample(tmp_path / "images", out, "decals", catalog=tmp_path / "bare.csv")
    assert report["match"] == "position"
    _, cutouts = read_back(out)
    for i, cutout in enumerate(cutouts):
        np.testing.assert_allclose(cutout.pixels, planes(seed=i), rtol=1e-6)


def test_ids_are_found_as_whole_words():
    names = IdNames(["12", "NGC 12", "J12+05", "J12-05", "007", "a", "A"])
    assert names.equal("J12-05") == 3
    assert names.within("decals_j12+05_g") == 2
    assert names.within("x-J12-05") == 3
    assert names.within("ngc_12.v2") == 1
    assert names.within("cutout_0012_r") == 0
    assert names.within("scale_0.12") is None
    assert names.within("abc12") is None
    assert names.within("12_and_7") is None
    assert names.within("only_a") is None  # a and A are not told apart
    assert names.within("obj7") is None and names.within("obj_7") == 4


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


def test_real_decals_files_are_matched_by_position(tmp_path, data):
    folder = data / "decals_fits"
    places = {}
    for path in sorted(folder.glob("*.fits")):
        if "incomplete" in path.name:
            continue
        head = fits.getheader(path)
        places.setdefault((round(head["CRVAL1"], 4), round(head["CRVAL2"], 4)), []).append(
            path.name
        )
    once = {sky: names[0] for sky, names in places.items() if len(names) == 1}
    (ra, dec) = np.array(list(once)).T
    table = pa.table({"name": [f"galaxy {i}" for i in range(len(once))], "ra": ra, "dec": dec})
    csv.write_csv(table, tmp_path / "c.csv")
    out = tmp_path / "sample.parquet"
    report = write_sample(folder, out, "decals", catalog=tmp_path / "c.csv")
    assert report["match"] == "position"
    catalog, cutouts = read_back(out)
    assert report["rows"] == len(catalog) >= 5
    for row, cutout in zip(catalog.to_pylist(), cutouts, strict=True):
        assert row["cutout"].endswith(once[row["ra"], row["dec"]])
        assert cutout.bands == DECALS
    assert any("truncated" in reason for reason in report["refused"])
    assert 0.4 < report["colours"]["g-r"]["median"] < 1.2


def test_real_files_of_one_band_each(tmp_path, data):
    report = write_sample(
        data / "des_ps1_sdss_fits", tmp_path / "s.parquet", "des", catalog=None, bands=()
    )
    assert "g,r,i,z (file names)" in report["bands"]


def test_plausible_ranges_hold_real_galaxies_in_nine_bands(data):
    """Measure KiDS and VIKING galaxies by photutils, and compare with the ranges."""
    photutils = pytest.importorskip("photutils.aperture")
    folder = data / "kids_viking_field"
    rows = csv.read_csv(folder / "galaxies.csv")
    xy = np.stack([rows["x_px"].to_numpy(), rows["y_px"].to_numpy()], axis=1)
    nm = {"u": 355, "g": 477, "r": 623, "i": 763, "Z": 878, "Y": 1021, "J": 1254, "H": 1646,
          "Ks": 2149}  # fmt: skip
    magnitudes = {}
    for band in nm:
        with fits.open(folder / f"{band}.fits.fz") as hdus:
            pixels = np.asarray(hdus[-1].data, float)
        pixels -= np.median(pixels[np.isfinite(pixels)])
        apertures = photutils.CircularAperture(xy, 2 / 0.339)
        flux = photutils.aperture_photometry(pixels, apertures)["aperture_sum"]
        zeropoint = 0 if band in "ugri" else 30
        magnitudes[band] = zeropoint - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    names = list(nm)
    for blue, red in pairwise(names):
        low, high = plausible_range(nm[blue], nm[red])
        q16, q84 = np.nanpercentile(magnitudes[blue] - magnitudes[red], (16, 84))
        assert low < q16 < q84 < high
    low, high = plausible_range(nm["g"], nm["r"])
    assert low > -np.nanmedian(magnitudes["g"] - magnitudes["r"])  # reversed planes are outside


def test_seeing_and_sky_do_not_make_colours_implausible():
    rng = np.random.default_rng(2)
    cutouts = []
    for i in range(8):
        blurred = [gaussian_filter(p, s) for p, s in zip(planes(seed=i), (2.5, 2, 1), strict=True)]
        sky = rng.uniform(0, 0.5, (3, 1, 1))
        cutouts.append(
            Cutout(pixels=(np.array(blurred) + sky).astype(np.float32), bands=DECALS,
                   pixel_scale_arcsec=SCALE, centre_xy=((SIDE - 1) / 2,) * 2)
        )  # fmt: skip
    check = check_colours(cutouts, get_survey("decals"))
    assert check.is_plausible and check.colours["r-z"].galaxies == 8
    reverse = [Cutout(pixels=c.pixels[::-1], bands=DECALS, pixel_scale_arcsec=SCALE,
                      centre_xy=c.centre_xy) for c in cutouts]  # fmt: skip
    assert check_colours(reverse, get_survey("decals")).better[0] == ("z", "r", "g")


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


def test_real_planes_in_reversed_order_are_refused(tmp_path, data):
    for path in sorted((data / "decals_fits").glob("*.fits")):
        if "incomplete" not in path.name:
            with fits.open(path) as hdus:
                head = hdus[0].header
                for card in ("BANDS", "BAND0", "BAND1", "BAND2"):
                    head.remove(card, ignore_missing=True)
                write(tmp_path / "images" / path.name, hdus[0].data[::-1], head)
    images, out = tmp_path / "images", tmp_path / "s.parquet"
    with pytest.raises(CatalogError, match=r"g-r = -0\.\d+ .*order z,r,g;"):
        write_sample(images, out, "decals", bands=DECALS)
    report = write_sample(images, out, "decals", bands=("z", "r", "g"))
    straight = write_sample(data / "decals_fits", tmp_path / "t.parquet", "decals")
    assert report["colours"] == straight["colours"]


def test_one_galaxy_is_enough_to_find_reversed_planes(tmp_path):
    write(tmp_path / "images" / "one.fits", planes("zrg"), header(0, DECALS))
    with pytest.raises(CatalogError, match="order z,r,g;"):
        write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")


def test_colours_that_no_order_explains_are_told(tmp_path):
    for i in range(N):
        pixels = planes(seed=i) * np.float32([100, 1, 100])[:, None, None]
        write(tmp_path / "images" / f"{i}.fits", pixels, header(i, DECALS))
    report = write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")
    assert report["rows"] == N
    assert "implausible colours, check units and zeropoints: g-r = -4.2" in report["warning"]
    for i in range(N):
        fits.PrimaryHDU(planes(seed=i) * 0, header(i, DECALS)).writeto(
            tmp_path / "images" / f"{i}.fits", overwrite=True
        )
    report = write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")
    assert report["warning"] == f"none of {N} galaxies is bright enough to check colours"


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

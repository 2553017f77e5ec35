import resource
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from conftest import blobs, make_space, write_sample
from threadpoolctl import threadpool_info, threadpool_limits

from galaxy_da.errors import StorageError, SurveyError, TableError
from galaxy_da.extraction import parts
from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.preparation import prepare
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Flag, Sample
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

FP32 = ExtractSettings(precision="fp32")


@pytest.fixture
def sample(tmp_path):
    return Sample(write_sample(tmp_path / "decals", blobs(150, 140, 0.262), votes=list(range(150))))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "_PART_ROWS", 64)


def test_a_sample_of_another_survey_is_refused_in_one_line(space, sample):
    encoder = space.encoder("sdss", ("g", "r", "i"))
    with pytest.raises(TableError, match="holds cutouts of decals but sdss was asked for"):
        load_images(sample, np.arange(3), encoder, space.frame)


def test_features_match_the_encoder(space, sample):
    features = extract(space, sample, settings=FP32)
    table = features.table
    assert table["object_id"].to_pylist() == [f"decals-{i:04d}" for i in range(150)]
    assert table["votes"].to_pylist() == list(range(150))
    assert set(table["status"].to_pylist()) == {"ok"}
    pixels = np.load(sample.folder / "cutouts.npy")
    from galaxy_da.images.cutouts import Cutout

    cutouts = [
        Cutout(pixels=p, bands=("g", "r", "z"), pixel_scale_arcsec=0.262, centre_xy=(69.5, 69.5))
        for p in pixels
    ]
    inputs = prepare(cutouts, get_survey("decals"), space.frame, ("g", "r", "z")).inputs
    with torch.no_grad():
        posterior = space.encoder("decals").network(inputs)
        error = (space.decoder(posterior.mean) - inputs.images).square().mean((1, 2, 3))
    np.testing.assert_allclose(vectors(table), posterior.mean, atol=1e-4)
    np.testing.assert_allclose(vectors(table, "variance"), posterior.variance, rtol=1e-3)
    np.testing.assert_allclose(table["reconstruction_error"], error, rtol=1e-3)


def test_parts_on_disk_give_the_same_table(space, sample, tmp_path, small_parts):
    written = extract(space, sample, tmp_path / "f")
    assert len(list((tmp_path / "f").glob("part-*.parquet"))) == 3
    assert written.table.equals(extract(space, sample).table)
    assert Features.open(tmp_path / "f").space_id == space.id


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_do_not_change_the_result_and_are_restored(space, sample, precision):
    settings = ExtractSettings(precision=precision)
    one = extract(space, sample, settings=settings).table
    torch.set_num_threads(2)
    try:
        assert extract(space, sample, settings=settings).table.equals(one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_matrix_products_of_numpy_have_one_thread_each(space, sample, monkeypatch):
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen, encode = [], SampleEncoder.encode
    monkeypatch.setattr(SampleEncoder, "encode", lambda *a: (seen.append(threads()), encode(*a))[1])
    with threadpool_limits(2, user_api="blas"):
        extract(space, sample)
        assert threads() == {2}
    assert seen and all(pools == {1} for pools in seen)


def test_finished_extraction_is_not_repeated(space, sample, tmp_path, monkeypatch):
    first = extract(space, sample, tmp_path / "f")
    monkeypatch.setattr(space, "encode", None)
    assert extract(space, sample, tmp_path / "f").table.equals(first.table)


def test_extraction_resumes_after_the_last_whole_part(
    space, sample, tmp_path, small_parts, monkeypatch
):
    whole = extract(space, sample).table
    real, calls = parts.write_table, []

    def die_in_third(table, path):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(table, path)

    monkeypatch.setattr(parts, "write_table", die_in_third)
    with pytest.raises(KeyboardInterrupt):
        extract(space, sample, tmp_path / "f")
    with pytest.raises(TableError, match="no finished features here"):
        Features.open(tmp_path / "f")
    monkeypatch.setattr(parts, "write_table", real)
    before = (tmp_path / "f" / "part-00000.parquet").stat().st_mtime_ns
    assert extract(space, sample, tmp_path / "f").table.equals(whole)
    assert (tmp_path / "f" / "part-00000.parquet").stat().st_mtime_ns == before


def test_parts_have_their_own_rows_with_row_groups_of_any_size(
    space, sample, tmp_path, small_parts, monkeypatch
):
    pq.write_table(pq.read_table(sample.path), sample.path, row_group_size=50)
    sample = Sample(sample.path)
    whole, real, calls = extract(space, sample).table, parts.write_table, []

    def die_after_each(table, path):
        calls.append(path)
        real(table, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "write_table", die_after_each)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            extract(space, sample, tmp_path / "f")
    assert len(set(calls)) == 3
    assert extract(space, sample, tmp_path / "f").table.equals(whole)


def test_extraction_resumes_in_an_object_store(space, sample, small_parts, monkeypatch):
    whole, real, written = extract(space, sample).table, parts.write_table, []

    def die_in_third(table, path):
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        real(table, path)

    monkeypatch.setattr(parts, "write_table", die_in_third)
    with pytest.raises(KeyboardInterrupt):
        extract(space, sample, "memory://resumed")
    assert extract(space, sample, "memory://resumed").table.equals(whole)
    assert written == [f"part-{number:05d}.parquet" for number in (0, 1, 2, 2)]


def test_full_disk_keeps_the_finished_parts(space, sample, tmp_path, small_parts):
    extract(space, sample, tmp_path / "size")
    limit = max(p.stat().st_size for p in (tmp_path / "size").glob("part-*")) - 1
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        with pytest.raises(StorageError, match=r"part-0000\d\.parquet: could not be written"):
            extract(space, sample, tmp_path / "f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list((tmp_path / "f").glob(".*partial*"))
    assert extract(space, sample, tmp_path / "f").table.num_rows == 150


@pytest.mark.parametrize("band", ["g", "r", "z"])
def test_real_images_of_one_band_of_the_anchor_are_nearest_to_themselves(band, data, tmp_path):
    names = ["a__ba79bb8", "b__5e3c033", "c__4989d6a", "c__737ac39", "d__c9ab79a", "e__a11c605"]
    place = {"ra": [], "dec": []}
    for name in names:
        cube, header = fits.getdata(data / "decals_fits" / f"example_{name}.fits", header=True)
        fits.writeto(tmp_path / f"{name}.fits", cube, header)
        place["ra"].append(header["CRVAL1"])
        place["dec"].append(header["CRVAL2"])
        for card in ("BANDS", "BAND0", "BAND1", "BAND2", "NAXIS3"):
            header.remove(card)
        header["FILTER"] = band
        fits.writeto(tmp_path / f"{name}-one.fits", cube["grz".index(band)], header)
    latents = {}
    for end in ("", "-one"):
        files = [f"{name}{end}.fits" for name in names]
        table = {"object_id": names, "survey": ["decals"] * len(names), "cutout": files, **place}
        pq.write_table(pa.table(table), tmp_path / "s.parquet")
        found = extract(LatentSpace.load("decals"), Sample(tmp_path / "s.parquet")).table
        assert set(found["status"].to_pylist()) == {"ok"}
        latents[end] = vectors(found)
    apart = np.linalg.norm(latents["-one"][:, None] - latents[""][None], axis=-1)
    assert (apart.argmin(1) == np.arange(len(names))).all()


@pytest.mark.parametrize("name", ["{id}.fits", "{id}-{{band}}.fits"])
def test_changed_image_files_are_another_extraction(space, tmp_path, name):
    pixels = blobs(3, 132, 0.262)
    names = [name.format(id=i) for i in range(3)]
    for i, stamp in enumerate(pixels):
        for band, plane in zip("grz", stamp, strict=True):
            if "{band}" in name:
                fits.writeto(tmp_path / f"{i}-{band}.fits", plane)
        if "{band}" not in name:
            fits.writeto(tmp_path / f"{i}.fits", stamp)
    table = pa.table(
        {"object_id": list("abc"), "survey": ["decals"] * 3, "ra": [1.0, 2.0, 3.0],
         "dec": [0.0] * 3, "cutout": names}
    )  # fmt: skip
    pq.write_table(table, tmp_path / "sample.parquet")

    def extracted(out):
        return vectors(extract(space, Sample(tmp_path / "sample.parquet"), tmp_path / out).table)

    first = extracted("f")
    assert np.array_equal(extracted("f"), first)
    for path in tmp_path.glob("*.fits"):  # a header that is mended: nanomaggy, not microjansky
        fits.setval(path, "BUNIT", value="uJy")
    with pytest.raises(TableError, match=r"another extraction \(cutouts differ\)"):
        extracted("f")
    assert np.abs(extracted("g") - first).max() > 0.01


def test_folder_of_another_extraction_is_refused(space, sample, tmp_path):
    extract(space, sample, tmp_path / "f")
    with pytest.raises(TableError, match=r"another extraction \(encoders, space_id differ\)"):
        extract(make_space(seed=3), sample, tmp_path / "f")
    with pytest.raises(TableError, match=r"another extraction \(precision differ"):
        extract(space, sample, tmp_path / "f", settings=FP32)


def test_features_of_an_old_format_are_refused(space, sample, tmp_path):
    extract(space, sample, tmp_path / "f")
    manifest = tmp_path / "f" / "features.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(TableError, match="of format 1 but this version reads format 2"):
        Features.open(tmp_path / "f")


def test_bad_rows_have_a_status_and_the_rest_features(space, tmp_path):
    images = blobs(6, 140, 0.262)
    images[1] = 0
    images[2] = np.nan
    images[3, 0] = 0
    path = write_sample(
        tmp_path / "d", images, status=["ok", "ok", "ok", "ok", "fetch_failed", "ok"]
    )
    table = extract(space, Sample(path)).table
    assert table["status"].to_pylist() == [
        "ok", "no_data", "no_data", "failed_quality", "fetch_failed", "ok",
    ]  # fmt: skip
    assert table["embedding"].is_valid().to_pylist() == [True, False, False, False, False, True]
    assert table["message"][3].as_py() == "band g is blank (constant or not finite)"
    assert table.filter(table["embedding"].is_valid())["embedding"].null_count == 0


def test_a_survey_without_an_adaptation_is_read_by_its_definition(wide_space, tmp_path):
    images = blobs(4, 100, 0.396)
    path = write_sample(tmp_path / "s", images, survey="sdss", bands=["g,r,z"] * 4)
    extract(wide_space, Sample(path), tmp_path / "f", FP32)
    features = Features.open(tmp_path / "f")
    assert features.readings == {"sdss": "by definition"}
    assert set(features.table["status"].to_pylist()) == {"ok"}
    path = write_sample(tmp_path / "two", images[:, :2], survey="sdss", bands=["g,r"] * 4)
    two = extract(wide_space, Sample(path), settings=FP32).table
    assert set(two["status"].to_pylist()) == {"ok"}
    assert all(flag & Flag.SUBSTITUTED_BAND for flag in two["flags"].to_pylist())
    assert not np.allclose(vectors(two), vectors(features.table))
    path = write_sample(tmp_path / "x", images, survey="nosuch")
    with pytest.raises(SurveyError, match="unknown survey 'nosuch'"):
        extract(wide_space, Sample(path))


def test_the_psf_of_a_row_reaches_the_network(wide_space, tmp_path):
    images = np.repeat(blobs(1, 140, 0.262), 4, 0)
    widths = [None, 0.8, get_survey("decals").band("r").psf_fwhm_arcsec, -1.0]
    path = write_sample(tmp_path / "d", images, psf_fwhm_arcsec=widths)
    table = extract(wide_space, Sample(path), settings=FP32).table
    assert table["status"].to_pylist() == ["ok", "ok", "ok", "unreadable"]
    assert "psf_fwhm_arcsec must be positive but is -1.0" in table["message"][3].as_py()
    median, sharp, same = vectors(table.slice(0, 3))
    np.testing.assert_allclose(same, median, atol=1e-5)
    assert np.abs(sharp - median).max() > 1e-3


def test_mixed_surveys_keep_their_order(space, tmp_path):
    images = blobs(8, 140, 0.262)
    names = ["decals", "bass-mzls"] * 4
    path = write_sample(tmp_path / "m", images)
    table = pq.read_table(path)
    table = table.set_column(1, "survey", pa.array(names))
    pq.write_table(table, path)
    mixed = extract(space, Sample(path), settings=FP32)
    assert mixed.table["survey"].to_pylist() == names
    assert set(mixed.encoders) == {"decals", "bass-mzls"}


def test_empty_sample_gives_empty_features(space, tmp_path):
    path = write_sample(tmp_path / "e", blobs(1, 140, 0.262))
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert extract(space, Sample(path), tmp_path / "f").table.num_rows == 0


def test_features_are_refused_as_a_sample(space, sample, tmp_path):
    extract(space, sample, tmp_path / "f")
    with pytest.raises(TableError, match="is one that extraction writes"):
        extract(space, Sample(tmp_path / "f" / "part-00000.parquet"))


def test_colour_images_without_a_stretch_refuse_their_rows(space, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
    path = write_sample(tmp_path / "h", images, survey="hsc")
    table = extract(space, Sample(path)).table
    assert table["status"].to_pylist() == ["unreadable"] * 3
    assert "its definition has no stretch" in table["message"][0].as_py()

import io
import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from catalogs.commands.sample import sample as sample_verb
from catalogs.datasets import write_sample
from catalogs.datasets.galaxy10 import GALAXY10_CLASSES
from galaxy_da.errors import CatalogError, SurveyError, TableError
from galaxy_da.images.cutouts import read_cutouts
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.surveys import get_survey

RNG = np.random.default_rng(3)
N = 7
RA, DEC = np.linspace(10, 350, N), np.linspace(-20, 30, N)
FLUX = RNG.normal(size=(N, 3, 12, 12)).astype(np.float32)
COLOUR = RNG.integers(0, 255, (N, 12, 12, 3), dtype=np.uint8)


def read_all(path, survey):
    opened = Sample(path)
    (batch,) = opened.batches(100)
    return opened, read_cutouts(batch, opened.folder, get_survey(survey))


def galaxy10(path, **columns):
    with h5py.File(path, "w") as file:
        file["images"] = COLOUR
        file["ans"] = np.arange(N) % 10
        for name, values in columns.items():
            file[name] = values
    return path


def test_galaxy10_decals_points_into_its_file_with_its_own_pixel_scales(tmp_path):
    scales = np.where(np.arange(N) % 2, 0.262, 0.524)
    source = galaxy10(tmp_path / "g.h5", ra=RA, dec=DEC, redshift=RA / 1e3, pxscale=scales)
    result = write_sample(source, tmp_path / "deep" / "sample.parquet", "decals")
    assert result["rows"] == N and result["layout"] == "Galaxy10"
    opened, cutouts = read_all(tmp_path / "deep" / "sample.parquet", "decals")
    assert opened.survey == "decals"
    np.testing.assert_allclose(opened.catalog["ra"], RA)
    np.testing.assert_allclose(opened.catalog["redshift"], RA / 1e3)
    for i, cutout in enumerate(cutouts):
        assert cutout.pixel_scale_arcsec == scales[i]
        np.testing.assert_array_equal(np.moveaxis(cutout.pixels[:, ::-1], 0, -1), COLOUR[i])
    classes = opened.catalog["galaxy10_class"].to_pylist()
    assert classes == list(GALAXY10_CLASSES["decals"][:N])
    assert not list((tmp_path / "deep").glob("*.h5"))


def test_galaxy10_sdss_needs_positions_and_scales_from_a_catalogue(tmp_path):
    source, out = galaxy10(tmp_path / "g.h5"), tmp_path / "sample.parquet"
    with pytest.raises(CatalogError, match="pixel scale of some images is unknown"):
        write_sample(source, out, "sdss")
    with pytest.raises(CatalogError, match=r"has no positions.*positions="):
        write_sample(source, out, "sdss", pixel_scale_arcsec=0.4)
    ids = [f"58773{i}" for i in range(N)]
    table = pa.table({"objid": ids, "ra": RA, "dec": DEC, "pixel_scale_arcsec": RA / 1e3})
    pq.write_table(table, tmp_path / "where.parquet")
    write_sample(source, out, "sdss", positions=tmp_path / "where.parquet")
    opened, cutouts = read_all(out, "sdss")
    assert opened.catalog["object_id"].to_pylist() == ids
    assert [c.pixel_scale_arcsec for c in cutouts] == pytest.approx(list(RA / 1e3))
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    with pytest.raises(CatalogError, match=f"has {N - 1} rows but .* holds {N} images"):
        write_sample(source, out, "sdss", positions=tmp_path / "short.parquet")


def nested(flux=FLUX, **more):
    """The Multimodal Universe's ``image``: lists by field."""
    n = len(flux)
    fields = {
        "band": pa.array([["des-g", "des-r", "des-z"]] * n),
        "flux": pa.array(flux.tolist(), pa.list_(pa.list_(pa.list_(pa.float32())))),
        "mask": pa.array(np.ones_like(flux, bool).tolist()),
        "ivar": pa.array(flux.tolist(), pa.list_(pa.list_(pa.list_(pa.float32())))),
        "psf_fwhm": pa.array([[1.5, 1.3, 1.2]] * n),
        "scale": pa.array([[0.3] * 3] * n),
        **more,
    }
    kept = {name: values for name, values in fields.items() if values is not None}
    return pa.StructArray.from_arrays(list(kept.values()), list(kept))


def shard(rows, image=None, **columns):
    return pa.table(
        {
            "object_id": [f"mmu{i}" for i in range(N)],
            "ra": RA,
            "dec": DEC,
            "ebv": RA / 1e4,
            "image": nested() if image is None else image,
            **columns,
        }
    ).slice(rows.start, rows.stop - rows.start)


def write_shards(folder, **columns):
    folder.mkdir(parents=True)
    for number, rows in enumerate((slice(0, 3), slice(3, N))):
        pq.write_table(shard(rows, **columns), folder / f"train-{number:05d}-of-00002.parquet")
    return folder


def assert_nested(path, scale=0.3):
    opened, cutouts = read_all(path, "decals")
    assert opened.catalog["object_id"].to_pylist() == [f"mmu{i}" for i in range(N)]
    for i, cutout in enumerate(cutouts):
        assert cutout.bands == ("g", "r", "z")
        assert cutout.pixel_scale_arcsec == pytest.approx(scale)
        np.testing.assert_array_equal(cutout.pixels, FLUX[i])
    return opened


def test_multimodal_universe_shards_become_one_table_that_carries_the_images(tmp_path):
    write_shards(tmp_path / "mmu" / "dr10_south_21")
    out = tmp_path / "sample.parquet"
    result = write_sample(tmp_path / "mmu", out, "decals")
    assert result == {"sample": str(out), "rows": N, "layout": "Parquet"}
    opened = assert_nested(out)
    np.testing.assert_allclose(opened.catalog["ebv"], RA / 1e4)
    schema = pq.read_schema(out)
    kept = [field.name for field in schema.field("image").type]
    assert kept == ["band", "flux", "psf_fwhm", "scale"]
    assert read_metadata(schema) == {"source": "mmu", "layout": "Parquet"}


def test_sequences_of_structs_are_kept_as_they_are(tmp_path):
    kind = pa.struct({"band": pa.string(), "flux": pa.list_(pa.list_(pa.float32()))})
    rows = [
        [{"band": b, "flux": FLUX[i, k].tolist()} for k, b in enumerate("grz")] for i in range(N)
    ]
    write_shards(tmp_path / "set", image=pa.array(rows, pa.list_(kind)))
    write_sample(tmp_path / "set", tmp_path / "sample.parquet", "decals", pixel_scale_arcsec=0.5)
    assert_nested(tmp_path / "sample.parquet", scale=0.5)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_hugging_face_images_are_carried_as_bytes(tmp_path):
    images = [{"bytes": png(pixels), "path": f"{i}.png"} for i, pixels in enumerate(COLOUR)]
    write_shards(tmp_path / "hf", image=pa.array(images), survey=["gz"] * N)
    write_sample(tmp_path / "hf", tmp_path / "sample.parquet", "sdss", pixel_scale_arcsec=0.2)
    opened, cutouts = read_all(tmp_path / "sample.parquet", "sdss")
    assert opened.catalog["survey_input"].to_pylist() == ["gz"] * N
    for i, cutout in enumerate(cutouts):
        assert cutout.pixel_scale_arcsec == 0.2
        np.testing.assert_array_equal(np.moveaxis(cutout.pixels[:, ::-1], 0, -1), COLOUR[i])


@pytest.mark.parametrize("how", ["catalogue", "dataset folder", "collection", "leaf folders"])
def test_hats_with_nested_images(how, tmp_path):
    root = tmp_path / "hats"
    top = root / "main" if how == "collection" else root
    data = top / "dataset" if how != "catalogue" else top
    for number, rows in enumerate((slice(0, 3), slice(3, N))):
        leaf = data / "Norder=1" / "Dir=0" / f"Npix={number}.parquet"
        if how == "leaf folders":
            leaf = leaf.with_suffix("") / "part0.parquet"
        leaf.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(shard(rows), leaf)
    pq.write_metadata(shard(slice(0, 1)).schema, data / "_common_metadata")
    (top / "hats.properties").write_text("hats_col_ra=ra\nhats_col_dec=dec\n")
    pq.write_table(pa.table({"thumbnail": [1]}), data / "data_thumbnail.parquet")
    if how == "collection":
        (root / "collection.properties").write_text("#HATS\nhats_primary_table_url = main\n")
        margin = root / "margin" / "dataset" / "Norder=1" / "Dir=0"
        margin.mkdir(parents=True)
        pq.write_table(shard(slice(0, 2)), margin / "Npix=9.parquet")
    result = write_sample(root, tmp_path / "sample.parquet", "decals")
    assert (result["rows"], result["layout"]) == (N, "HATS")
    assert_nested(tmp_path / "sample.parquet")
    assert "Npix" not in pq.read_schema(tmp_path / "sample.parquet").names


def test_sets_of_two_surveys_need_the_column(tmp_path):
    bare = nested(band=None, mask=None, ivar=None, psf_fwhm=None)
    write_shards(tmp_path / "pair", image=None, hsc_image=bare)
    out = tmp_path / "sample.parquet"
    with pytest.raises(CatalogError, match=r"2 columns hold images.*image, hsc_image; say which"):
        write_sample(tmp_path / "pair", out, "decals")
    with pytest.raises(CatalogError, match="'ebv' holds no images"):
        write_sample(tmp_path / "pair", out, "decals", image="ebv")
    with pytest.raises(CatalogError, match="do not name their bands; give bands="):
        write_sample(tmp_path / "pair", out, "hsc", image="hsc_image")
    assert not out.exists()
    write_sample(tmp_path / "pair", out, "hsc", image="hsc_image", bands=("g", "r", "i"))
    _, cutouts = read_all(out, "hsc")
    assert cutouts[0].bands == ("g", "r", "i")
    np.testing.assert_array_equal(cutouts[N - 1].pixels, FLUX[N - 1])
    assert "image_input" not in pq.read_schema(out).names
    with pytest.raises(SurveyError, match="'u' is not in this survey"):
        write_sample(tmp_path / "pair", out, "hsc", image="hsc_image", bands=("u",))


def test_missing_images_stay_missing(tmp_path):
    mask = np.arange(N) == 2
    whole = nested()
    fields = [whole.field(i) for i in range(whole.type.num_fields)]
    names = [field.name for field in whole.type]
    image = pa.StructArray.from_arrays(fields, names, mask=pa.array(mask))
    write_shards(tmp_path / "set", image=image)
    write_sample(tmp_path / "set", tmp_path / "sample.parquet", "decals")
    _, cutouts = read_all(tmp_path / "sample.parquet", "decals")
    assert [getattr(c, "status", "ok") for c in cutouts] == ["ok"] * 2 + ["no_data"] + ["ok"] * 4


def test_bad_image_sets_are_one_clear_line(tmp_path):
    out = tmp_path / "sample.parquet"
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(CatalogError, match="not a Galaxy10 HDF5 file"):
        write_sample(tmp_path / "text.h5", out, "decals")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="no image set there"):
        write_sample(tmp_path / "empty", out, "decals")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(CatalogError, match="not a Parquet file"):
        write_sample(tmp_path / "text.parquet", out, "decals")
    write_shards(tmp_path / "odd")
    other = shard(slice(0, 2)).drop_columns(["ebv"])
    pq.write_table(other, tmp_path / "odd" / "z.parquet")
    with pytest.raises(CatalogError, match=r"z\.parquet: its columns differ"):
        write_sample(tmp_path / "odd", out, "decals")
    write_shards(tmp_path / "twice", object_id=["same"] * N)
    with pytest.raises(TableError, match="appear more than once"):
        write_sample(tmp_path / "twice", out, "decals")
    write_shards(tmp_path / "swapped", dec=RA)
    with pytest.raises(CatalogError, match=r"swapped: dec reaches .* look swapped"):
        write_sample(tmp_path / "swapped", out, "decals")
    with pytest.raises(SurveyError, match="unknown survey"):
        write_sample(tmp_path / "swapped", out, "nowhere")
    assert not out.exists()


def test_the_verb_prints_its_result(tmp_path, capsys):
    write_shards(tmp_path / "set")
    sample_verb(tmp_path / "set", tmp_path / "sample.parquet", "decals", json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == N
    with pytest.raises(typer.BadParameter, match="takes image, bands and stretch, not positions"):
        sample_verb(tmp_path / "set", tmp_path / "o.parquet", "decals", positions=tmp_path)

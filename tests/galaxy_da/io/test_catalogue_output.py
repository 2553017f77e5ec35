import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from conftest import blobs, make_space, write_sample

from galaxy_da.commands.export import export
from galaxy_da.errors import StorageError, TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.extraction.summary import summarise
from galaxy_da.io.catalogue_output import write_catalogue
from galaxy_da.io.described_tables import COLUMN_NOTES, add_descriptions, to_astropy
from galaxy_da.io.features import vectors
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import Probe


@pytest.fixture
def table():
    n = 6
    latents = pa.FixedSizeListArray.from_arrays(
        pa.array(np.arange(3 * n, dtype=np.float32)), 3, mask=pa.array([False] * 5 + [True])
    )
    size = pa.field(
        "morph_size",
        pa.float32(),
        metadata={"unit": "arcsec", "ucd": "phys.angSize", "description": "Half-light radius"},
    )
    columns = {
        "object_id": [f"g{i}" for i in range(n)],
        "survey": ["decals"] * n,
        "ra": np.linspace(10, 40, n),
        "dec": np.linspace(-5, 5, n),
        "flags": np.arange(n, dtype=np.int32),
        "message": pa.array([None] * 5 + ["blank"], pa.string()),
        "embedding": latents,
    }
    values = pa.array([0.5, 1, 1.5, 2, 2.5, None], pa.float32())
    return pa.table(columns).append_column(size, values)


def check_astropy(read, table):
    assert list(read["object_id"].astype(str)) == table["object_id"].to_pylist()
    np.testing.assert_allclose(read["ra"], table["ra"])
    assert str(read["morph_size"].unit) == "arcsec" and str(read["ra"].unit) == "deg"
    got = np.ma.filled(np.ma.asarray(read["morph_size"].data), np.nan)
    np.testing.assert_allclose(got, [0.5, 1, 1.5, 2, 2.5, np.nan])
    np.testing.assert_allclose(read["embedding"][1], [3, 4, 5])
    assert np.isnan(np.ma.filled(read["embedding"][5], np.nan)).all()


def test_fits(table, tmp_path):
    assert write_catalogue(table, tmp_path / "t.fits") == "FITS"
    check_astropy(Table.read(tmp_path / "t.fits", character_as_bytes=False), table)
    header = fits.getheader(tmp_path / "t.fits", 1)
    number = next(i for i in range(1, 20) if header[f"TTYPE{i}"] == "morph_size")
    assert header[f"TUNIT{number}"] == "arcsec" and header[f"TUCD{number}"] == "phys.angSize"
    assert header[f"TCOMM{number}"] == "Half-light radius"


def test_votable(table, tmp_path):
    assert write_catalogue(table, tmp_path / "t.vot") == "VOTable"
    votable = parse_single_table(tmp_path / "t.vot", verify="exception")
    check_astropy(votable.to_table(), table)
    field = votable.get_field_by_id_or_name("morph_size")
    assert (field.ucd, field.description) == ("phys.angSize", "Half-light radius")
    assert votable.get_field_by_id_or_name("ra").ucd == "pos.eq.ra;meta.main"


def test_parquet_keeps_and_describes_the_table(table, tmp_path):
    assert write_catalogue(table, tmp_path / "t.parquet") == "Parquet"
    read = pq.read_table(tmp_path / "t.parquet")
    assert read.equals(table)
    assert read.schema.field("ra").metadata[b"unit"] == b"deg"
    header = io.BytesIO(read.schema.metadata[b"IVOA.VOTable-Parquet.content"])
    fields = parse_single_table(header).fields
    assert [f.name for f in fields] == table.column_names
    assert {f.name: f.ucd for f in fields}["morph_size"] == "phys.angSize"


def test_hats(table, tmp_path):
    with using_lsdb():
        lsdb = pytest.importorskip("lsdb")
    assert write_catalogue(table, tmp_path / "cat") == "HATS"
    with using_lsdb():
        found = lsdb.open_catalog(tmp_path / "cat").compute(progress_bar=False)
    assert sorted(found["object_id"]) == table["object_id"].to_pylist()
    sizes = dict(zip(found["object_id"], found["morph_size"], strict=True))
    assert sizes["g1"] == pytest.approx(1.0)
    schema = pq.read_schema(tmp_path / "cat" / "dataset" / "_common_metadata")
    assert schema.field("morph_size").metadata[b"ucd"] == b"phys.angSize"
    with pytest.raises(StorageError, match="is there already"):
        write_catalogue(table, tmp_path / "cat")


def test_ucds_are_in_the_controlled_vocabulary():
    for unit, ucd, text in COLUMN_NOTES.values():
        assert check_ucd(ucd, check_controlled_vocabulary=True) and text
        assert unit in ("", "deg", "arcsec")


def test_metadata_of_a_column_is_kept(table):
    own = pa.field("ra", pa.float64(), metadata={"description": "mine"})
    table = table.set_column(2, own, table["ra"])
    metadata = add_descriptions(table).schema.field("ra").metadata
    assert metadata[b"description"] == b"mine" and metadata[b"unit"] == b"deg"


def test_export_verb_writes_extracted_features(tmp_path, capsys):
    space = make_space(nuisance_latents=2)
    sample = Sample(write_sample(tmp_path / "decals", blobs(5, 132, 0.262)))
    inputs, _ = load_images(sample, np.arange(5), space.encoder("decals"), space.frame)
    width = summarise(space, inputs, space.encode(inputs, "decals")).values.shape[1]
    ones = np.ones(width, np.float32)
    probe = Probe(
        name="size",
        description="Sum of the summary",
        unit="arcsec",
        ucd="phys.angSize",
        centre=0 * ones,
        spread=ones,
        weights=(np.stack([ones, 0 * ones], 1)[None],),
        biases=(np.zeros((1, 2), np.float32),),
    )
    found = extract(space.with_probes([probe]), sample, tmp_path / "features").table
    export([tmp_path / "features"], tmp_path / "f.fits", json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 5
    read = Table.read(tmp_path / "f.fits")
    np.testing.assert_allclose(read["morph_size"], found["morph_size"], rtol=1e-6)
    np.testing.assert_allclose(read["nuisance"], vectors(found, "nuisance"), rtol=1e-6)
    assert str(read["morph_size"].unit) == "arcsec"
    assert fits.getheader(tmp_path / "f.fits", 1)["TUCD1"] == "meta.id;meta.main"
    export([tmp_path / "features"], tmp_path / "f.parquet", latents=False, json=True)
    light = pq.read_table(tmp_path / "f.parquet")
    assert not {"embedding", "variance", "nuisance"} & set(light.column_names)
    assert light["morph_size"].equals(found["morph_size"])


def test_an_empty_table_and_a_wrong_ending(table, tmp_path):
    assert len(to_astropy(table.slice(0, 0))) == 0
    with pytest.raises(TableError, match=r"no catalogue format ends in '\.csv'"):
        write_catalogue(table, tmp_path / "t.csv")

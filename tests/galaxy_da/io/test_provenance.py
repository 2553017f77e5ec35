import json

import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from conftest import blobs, make_space, write_sample

from galaxy_da.commands.export import export
from galaxy_da.errors import TableError
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.provenance import join_features, provenance, read_provenance
from galaxy_da.io.samples import Flag, Sample


@pytest.fixture
def folders(tmp_path):
    for name, seed in (("decals", 0), ("sdss", 1)):
        bands = {} if name == "decals" else {"bands": ["g,r,z"] * 4}
        path = write_sample(tmp_path / name, blobs(4, 140, 0.262, seed), name, **bands)
        extract(make_space(), Sample(path), tmp_path / "f" / name)
    return [tmp_path / "f" / name for name in ("decals", "sdss")]


def test_every_format_says_what_made_it(folders, tmp_path):
    expected = provenance(join_features([Features.open(path) for path in folders])[0])
    assert expected["space"] == make_space().id
    assert expected["read_sdss"] == "by definition" and "encoder_decals" in expected
    assert {f"flag_{flag.value}" for flag in Flag} <= expected.keys()
    for name in ("c.fits", "c.vot", "c.parquet", "c"):
        export(folders, tmp_path / name, json=True)
    history = "".join(str(line) for line in fits.getheader(tmp_path / "c.fits", 1)["HISTORY"])
    infos = {info.name: info.value for info in parse(tmp_path / "c.vot").resources[0].infos}
    stored = read_provenance(pq.read_schema(tmp_path / "c.parquet"))
    with using_lsdb():
        import lsdb

        properties = lsdb.open_catalog(tmp_path / "c").hc_structure.catalog_info.__pydantic_extra__
    for name, words in expected.items():
        assert words in history and infos[name] == words and stored[name] == words
        assert properties[f"galaxy_da_{name}"] == words
    assert pq.read_table(tmp_path / "c.parquet").num_rows == 8


def test_other_spaces_are_refused_and_mixed_readings_warned_of(folders, tmp_path, capsys):
    sample = Sample(tmp_path / "sdss" / "sample.parquet")
    extract(make_space(seed=3), sample, tmp_path / "other")
    with pytest.raises(TableError, match=r"of two latent spaces .* extract both with one space"):
        export([folders[0], tmp_path / "other"], tmp_path / "c.fits")
    manifest = json.loads((folders[1] / "features.json").read_text())
    manifest["readings"], manifest["encoders"] = {"sdss": "adapted with 90 pairs"}, {"sdss": "x"}
    (folders[1] / "features.json").write_text(json.dumps(manifest))
    again = tmp_path / "again"
    extract(make_space(), sample, again)
    export([*folders, again], tmp_path / "c.fits", json=True)
    warned = capsys.readouterr().err
    assert "sdss was read in two ways (adapted with 90 pairs; by definition)" in warned

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from conftest import blobs, make_space, write_sample

from galaxy_da.errors import TableError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.measurements import measure
from galaxy_da.io.samples import Sample

MEASURED = ExtractSettings(measured=True)


def test_measurements_are_written_row_by_row(tmp_path):
    images = blobs(130, 140, 0.262)
    images[[1, 70]] = 0
    sample = Sample(write_sample(tmp_path / "d", images))
    space = make_space()
    table = extract(space, sample, settings=MEASURED).table
    good = np.array(table["status"].to_pylist()) == "ok"
    assert good.sum() == 128
    inputs, _ = load_images(sample, np.flatnonzero(good), space.encoder("decals"), space.frame)
    found = measure(inputs, space.frame)
    mag = table["measured_r_mag"].to_numpy()
    np.testing.assert_allclose(
        mag[good], 22.5 - 2.5 * np.log10(found.petrosian_flux[:, 1]), rtol=1e-5
    )
    np.testing.assert_allclose(
        table["measured_axis_ratio"].to_numpy()[good], found.axis_ratio, rtol=1e-4
    )
    for name in table.column_names:
        if name.startswith("measured_"):
            assert table[name].null_count == 2
            metadata = table.schema.field(name).metadata
            assert check_ucd(metadata[b"ucd"].decode(), check_controlled_vocabulary=True)
            assert len(metadata[b"description"]) > 10


def test_measurements_change_neither_the_latents_nor_the_other_columns(tmp_path):
    sample = Sample(write_sample(tmp_path / "d", blobs(5, 140, 0.262)))
    plain = extract(make_space(), sample).table
    both = extract(make_space(), sample, settings=MEASURED).table
    assert both.select(plain.column_names).equals(plain)
    with pytest.raises(TableError, match="measured differ"):
        extract(make_space(), sample, tmp_path / "f")
        extract(make_space(), sample, tmp_path / "f", settings=MEASURED)

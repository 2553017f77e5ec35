import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.real.guide_images import read_guide
from benchmarks.real.guide_sample import main
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace


@pytest.mark.slow
def test_the_table_holds_the_images_and_classes_of_the_guide(data, tmp_path, monkeypatch, capsys):
    path = data / "galaxy_zoo_guide.parquet"
    words = [str(path), "--survey", "decals", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["guide_sample", *words])
    main()
    assert str(tmp_path / "labels.parquet") in capsys.readouterr().out
    sample, guide = Sample(tmp_path / "sample.parquet"), read_guide(path, "decals")
    assert len(sample) == len(guide.cutouts) > 100
    space = LatentSpace.load("decals")
    encoder, rows = space.encoder("decals"), np.arange(5)
    images, ok = load_images(sample, rows, encoder, space.frame)
    expected = encoder.prepare(guide.cutouts[:5], space.frame).images
    assert ok.all()
    np.testing.assert_allclose(images, expected, atol=1e-5)
    labels = pq.read_table(tmp_path / "labels.parquet")["smooth-or-featured"].to_pylist()
    assert labels == ["featured" if f else "smooth" for f in guide.featured]

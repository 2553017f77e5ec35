import sys

import numpy as np
import pyarrow.parquet as pq

from benchmarks.real.guide_sample import main
from benchmarks.real.probes import read_guide
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace


def test_the_table_gives_the_images_that_the_guide_gives(data, tmp_path, monkeypatch, capsys):
    path = data / "galaxy_zoo_guide.parquet"
    given = [str(path), "--survey", "decals", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["guide_sample", *given])
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

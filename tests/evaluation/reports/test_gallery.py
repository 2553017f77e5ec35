import numpy as np
import pyarrow as pa
from conftest import blobs, make_space, write_sample
from PIL import Image

from evaluation.reports.gallery import write_neighbour_gallery
from galaxy_da import LatentIndex, Sample, extract
from galaxy_da.surveys import get_survey


def test_the_same_galaxy_is_framed_in_green(tmp_path):
    pixels = blobs(6, 140, 0.262)
    sample = Sample(write_sample(tmp_path / "decals", pixels))
    bands = {"bands": pa.array(["g,r,z"] * 6)}
    other = Sample(write_sample(tmp_path / "bass", pixels, "bass-mzls", **bands))
    space = make_space()
    space = space.with_survey(space.by_definition(get_survey("bass-mzls"), ("g", "r", "z")))
    index = LatentIndex.build([extract(space, sample), extract(space, other)])
    ids = [Sample(s.path).catalog["object_id"].to_pylist()[:4] for s in (other, sample)]
    path = tmp_path / "picture.png"
    write_neighbour_gallery(
        path, space, index, (other, sample), dict(zip(*ids, strict=True)), neighbours=2
    )
    with Image.open(path) as picture:
        shown = np.asarray(picture).astype(int)
    side = shown.shape[1] // 4
    assert shown.shape[0] // side == 3
    green = (shown == (80, 200, 120)).all(-1)
    for column in range(4):
        framed = [
            green[row * side : (row + 1) * side, column * side : (column + 1) * side].any()
            for row in range(3)
        ]
        nearest = index.similar(f"bass-mzls:{ids[0][column]}", 2, "decals")["object_id"].to_pylist()
        assert framed == [False, *(key == ids[1][column] for key in nearest)]

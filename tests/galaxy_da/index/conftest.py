import pytest
from index_helpers import make, random_vectors

from galaxy_da.latent_index import LatentIndex


@pytest.fixture
def index():
    return LatentIndex.build(
        [
            make("sdss", list(random_vectors(5, seed=1)), ids=["b", "a:1", "ü ", "a", ":"]),
            make("decals", [*random_vectors(4, seed=2), None], ids=["b", "c", "d", "e", "dead"]),
        ]
    )


@pytest.fixture
def saved(index, tmp_path):
    index.save(tmp_path / "index")
    return tmp_path / "index"

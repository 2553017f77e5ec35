"""Maps of the latent space in the plane."""

import json

import numpy as np
import pytest
from index_helpers import make, random_vectors
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.cli import main
from galaxy_da.errors import LatentIndexError
from galaxy_da.index.latent_map import MAP_FILE, draw_map, read_map, write_map
from galaxy_da.latent_index import LatentIndex


def clouds(n=60):
    """Two clouds far apart in ten dimensions."""
    points = random_vectors(n, 10)
    points[::2] += 20
    return points


def built(points):
    return LatentIndex.build(
        [make("decals", points.tolist(), ids=[f"{i:04d}" for i in range(len(points))])]
    )


def test_principal_components_are_those_of_the_covariance():
    points = clouds()
    drawn = draw_map(built(points), "pca")
    centred = points - points.mean(0)
    _, _, axes = np.linalg.svd(centred.astype(float), full_matrices=False)
    expected = centred @ axes[:2].T
    signs = np.sign((expected * drawn.points).sum(0))
    assert_allclose(drawn.points, expected * signs, atol=1e-3)
    assert drawn.points.dtype == np.float32 and drawn.fitted_on == 60


def test_umap_separates_clouds_and_transforms_unfitted_points(monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)  # compiling takes longer than 50 points
    index = built(clouds(50))
    drawn = draw_map(index, "umap", sample=40)
    assert drawn.fitted_on == 40 and np.isfinite(drawn.points).all()
    one, other = drawn.points[::2], drawn.points[1::2]
    apart = np.linalg.norm(one.mean(0) - other.mean(0))
    assert apart > 2 * max(one.std(0).max(), other.std(0).max())
    assert_array_equal(drawn.points, draw_map(index, "umap", sample=40).points)


def test_a_map_is_of_one_generation(tmp_path):
    index = built(clouds())
    index.save(tmp_path)
    opened = LatentIndex.open(tmp_path)
    assert read_map(tmp_path, opened) is None
    drawn = draw_map(opened, "pca", sample=30)
    write_map(drawn, opened, tmp_path)
    found = read_map(tmp_path, opened)
    assert_array_equal(found.points, drawn.points)
    assert (found.method, found.generation, found.fitted_on) == ("pca", 1, 30)
    index.save(tmp_path)
    assert (tmp_path / MAP_FILE).exists()
    assert read_map(tmp_path, LatentIndex.open(tmp_path)) is None
    (tmp_path / MAP_FILE).write_bytes(b"nonsense")
    with pytest.raises(LatentIndexError, match="not a map"):
        read_map(tmp_path, opened)


def test_the_verb(tmp_path, capsys):
    built(clouds()).save(tmp_path)
    assert main(["map", str(tmp_path), "--method", "pca", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["method"], said["objects"]) == ("pca", 60)
    assert read_map(tmp_path, LatentIndex.open(tmp_path)).method == "pca"
    assert main(["map", str(tmp_path), "--method", "tsne"]) == 2


def test_too_few_objects():
    with pytest.raises(LatentIndexError, match="at least 16"):
        draw_map(built(random_vectors(10, 5)))

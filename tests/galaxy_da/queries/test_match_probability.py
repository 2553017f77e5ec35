"""`distances` with a space: the same numbers as its parts, pair by pair."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_space, pair_table
from index_helpers import make, write_features
from numpy.testing import assert_allclose

from galaxy_da.cli import main
from galaxy_da.errors import LatentIndexError, SpaceError
from galaxy_da.index import create
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.latent_index import LatentIndex
from galaxy_da.models.match_probability import posterior_distance, probability

MODEL = {
    "population": {"mean": [0.0] * 6, "variance": [1.0] * 6},
    "intercept": 1.0,
    "weights": [-1.0, -0.5, 0.1],
    "floor": 0.01,
    "most": 8.0,
}


@pytest.fixture
def space():
    plain = make_space()
    encoder = plain.encoder("sdss")
    return plain.with_survey(replace(encoder, record={"match_probability": {"model": MODEL}}))


@pytest.fixture
def features(space):
    rng = np.random.default_rng(0)
    result = []
    for name in ("decals", "sdss"):
        mean = rng.normal(size=(12, 6)).astype(np.float32)
        made = make(name, list(mean), space_id=space.id, encoder=space.encoder(name).hash)
        variance = pa.array(list(rng.uniform(0.1, 1, (12, 6)).astype(np.float32)))
        place = made.table.column_names.index("variance")
        kind = made.table.schema.field("variance").type
        table = made.table.set_column(place, "variance", variance.cast(kind))
        result.append(replace(made, table=table))
    return result


def observations(features):
    return [
        np.array(side.table[name].to_pylist())
        for side in features
        for name in ("embedding", "variance")
    ]


def pairs():
    ids = [f"id {k}" for k in range(12)]
    return pair_table([*ids, "gone"], [*ids, "id 0"])


def test_columns_are_those_of_the_model(space, features):
    table = LatentIndex.build(features).distances(
        pairs(), anchor="decals", target="sdss", space=space, prior=0.2
    )
    own = observations(features)
    assert_allclose(
        table["posterior_distance"].to_numpy()[:12], posterior_distance(*own), rtol=1e-5
    )
    expected = probability(space.match_probability("decals", "sdss").log_ratio(*own), 0.2)
    assert_allclose(table["match_probability"].to_numpy()[:12], expected, rtol=1e-5)
    assert table["match_probability"][12].as_py() is table["posterior_distance"][12].as_py() is None


def test_prior_comes_from_the_crossmatch(space, features):
    index = LatentIndex.build(features)
    known = with_metadata(pairs(), {"expected_false_share": 0.25})
    for table, prior in ((known, 0.75), (pairs(), 0.5)):
        answer = index.distances(table, anchor="decals", target="sdss", space=space)
        assert read_metadata(answer.schema)["prior"] == prior
        again = index.distances(table, anchor="decals", target="sdss", space=space, prior=prior)
        assert answer["match_probability"] == again["match_probability"]


def test_without_a_space_only_distances(features):
    table = LatentIndex.build(features).distances(pairs(), anchor="decals", target="sdss")
    assert "match_probability" not in table.column_names
    assert_allclose(
        table["posterior_distance"].to_numpy()[:12],
        posterior_distance(*observations(features)),
        rtol=1e-5,
    )


def test_vectors_of_another_encoder_have_no_probability(space, features):
    other = replace(features[1], encoders={"sdss": "another"})
    index = LatentIndex.build([features[0], other])
    with pytest.raises(LatentIndexError, match="sdss: the index holds vectors of another encoder"):
        index.distances(pairs(), anchor="decals", target="sdss", space=space)
    plain = make_space()
    bare = plain.with_survey(plain.encoder("sdss"))
    with pytest.raises(SpaceError, match="decals and sdss: this space has no probability"):
        LatentIndex.build(features).distances(pairs(), anchor="decals", target="sdss", space=bare)


def test_the_command_gives_the_same(space, features, tmp_path, capsys):
    space.save(tmp_path / "space")
    create(
        tmp_path / "index",
        [write_features(tmp_path / f"f{k}", side) for k, side in enumerate(features)],
    )
    pq.write_table(pairs(), tmp_path / "pairs.parquet")
    command = ["distances", str(tmp_path / "index"), "--pairs", str(tmp_path / "pairs.parquet")]
    command += ["--anchor", "decals", "--target", "sdss", "--space", str(tmp_path / "space")]
    assert main([*command, "--json", "--out", str(tmp_path / "d.parquet"), "--prior", "0.3"]) == 0
    assert json.loads(capsys.readouterr().out)["prior"] == 0.3
    expected = LatentIndex.build(features).distances(
        pairs(), anchor="decals", target="sdss", space=space, prior=0.3
    )
    assert (
        pq.read_table(tmp_path / "d.parquet")["match_probability"] == expected["match_probability"]
    )
    assert main([*command, "--prior", "2"]) == 2
    assert "prior must lie between 0 and 1" in capsys.readouterr().err

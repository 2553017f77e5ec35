from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_space
from index_helpers import make, write_features
from numpy.testing import assert_allclose

from catalogs.matching import crossmatch, one_to_one
from catalogs.matching.appearance import appearance_ratios, position_ratios, resolve
from catalogs.matching.one_to_one import assign, match_probabilities
from galaxy_da.cli import main
from galaxy_da.errors import CatalogError, SpaceError
from galaxy_da.io.tables import read_metadata, read_pairs
from galaxy_da.models.match_probability import Population, gaussian_log_ratio

ARCSEC = 1 / 3600


def every_matching(i, j):
    """Each set of candidates that share no source, as a mask."""
    for mask in product((False, True), repeat=len(i)):
        mask = np.array(mask)
        if len(set(i[mask])) == len(set(j[mask])) == mask.sum():
            yield mask


def small_field(seed, edges=8, sources=4):
    rng = np.random.default_rng(seed)
    pairs = sorted({tuple(pair) for pair in rng.integers(0, sources, (edges, 2))})
    i, j = np.array(pairs).T
    return i, j, rng.normal(0, 2, len(i))


@pytest.mark.parametrize("seed", range(20))
def test_assignment_is_the_most_probable_of_all(seed):
    i, j, log_odds = small_field(seed)
    best = max(every_matching(i, j), key=lambda mask: log_odds[mask].sum())
    assert_allclose(log_odds[assign(i, j, log_odds)].sum(), log_odds[best].sum())
    assert_allclose(assign(i, j, log_odds), np.flatnonzero(best))


def test_groups_are_assigned_independently(monkeypatch):
    fields = [small_field(seed) for seed in range(60)]
    i, j, log_odds = (np.concatenate(part) for part in zip(*fields, strict=True))
    shift = 4 * np.repeat(np.arange(60), [len(field[0]) for field in fields])
    first = np.cumsum([0, *(len(field[0]) for field in fields)])
    alone = [start + assign(*field) for start, field in zip(first, fields, strict=False)]
    for at_once in (7, 1000):
        monkeypatch.setattr(one_to_one, "_EDGES_AT_ONCE", at_once)
        assert_allclose(assign(i + shift, j + shift, log_odds), np.concatenate(alone))


@pytest.mark.parametrize("seed", range(20))
def test_probabilities_are_close_to_exact_sums(seed):
    i, j, log_odds = small_field(seed)
    masks = np.array(list(every_matching(i, j)))
    weight = np.exp(masks @ log_odds)
    exact = weight @ masks / weight.sum()
    assert np.abs(match_probabilities(i, j, log_odds) - exact).max() < 0.06


def test_probabilities_are_exact_without_loops():
    i, j = np.array([0, 1, 1, 2, 2, 3]), np.array([0, 0, 1, 1, 2, 2])  # a chain
    log_odds = np.array([1.0, 2.0, -1.0, 0.5, 3.0, 0.0])
    masks = np.array(list(every_matching(i, j)))
    weight = np.exp(masks @ log_odds)
    exact = weight @ masks / weight.sum()
    assert_allclose(match_probabilities(i, j, log_odds), exact, atol=1e-8)


def test_certain_odds_and_no_candidates_are_handled():
    sure = match_probabilities(np.array([0, 0]), np.array([0, 1]), np.array([1000.0, -1000.0]))
    assert_allclose(sure, [1, 0], atol=1e-12)
    none = np.zeros(0, int)
    assert not len(match_probabilities(none, none, np.zeros(0)))
    assert not len(assign(none, none, np.zeros(0)))
    assert not len(assign(np.array([0]), np.array([0]), np.array([-1.0])))


def crowded(n=400, side=120.0, error=0.7, seed=0, missing=0.2):
    """A field where many sources have several candidates within 3 arcsec.

    Latents and their variances are Gaussian, so the best possible ratio is known.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, side, (2, n)) * ARCSEC
    latents = rng.normal(size=(n, 4))
    tables, features = [], []
    for survey in ("decals", "sdss"):
        here = rng.permutation(np.flatnonzero(rng.random(n) > missing))
        offset = rng.normal(0, error / np.sqrt(2), (2, len(here))) * ARCSEC
        variance = rng.uniform(0.1, 0.6, (len(here), 4))
        ids = [f"{survey} {k}" for k in here]
        ra, dec = 180 + x[here] + offset[0], y[here] + offset[1]
        observations = latents[here] + np.sqrt(variance) * rng.normal(size=variance.shape)
        tables.append(pa.table({"object_id": ids, "ra": ra, "dec": dec}))
        features.append((observations, variance))
    return tables, features


def gaussian_ratios(candidates, tables, features):
    sides = []
    for side, table, (mean, variance) in zip(("anchor", "target"), tables, features, strict=True):
        place = {name: k for k, name in enumerate(table["object_id"].to_pylist())}
        rows = [place[name] for name in candidates[f"{side}_id"].to_pylist()]
        sides += [mean[rows], variance[rows]]
    population = Population(mean=(0.0,) * 4, variance=(1.0,) * 4)
    return gaussian_log_ratio(population, *sides)


def is_true(pairs):
    ids = zip(pairs["anchor_id"].to_pylist(), pairs["target_id"].to_pylist(), strict=True)
    return np.array([a.split()[1] == b.split()[1] for a, b in ids])


def test_appearance_improves_a_crowded_field():
    right = {"nearest": 0, "position": 0, "both": 0}
    stated, true, counterparts = [], [], 0
    for seed in range(4):
        tables, features = crowded(seed=seed, side=80.0, error=1.0)
        candidates = crossmatch(*tables, radius_arcsec=4.0, mode="all")
        ambiguous = candidates["ambiguous"].to_numpy(zero_copy_only=False)
        counterparts += (is_true(candidates) & ambiguous).sum()
        ratios = gaussian_ratios(candidates, tables, features)
        answers = {
            "nearest": crossmatch(*tables, radius_arcsec=4.0),
            "position": resolve(candidates, *tables),
            "both": resolve(candidates, *tables, ratios),
        }
        for name, pairs in answers.items():
            right[name] += (
                is_true(pairs) & pairs["ambiguous"].to_numpy(zero_copy_only=False)
            ).sum()
        stated.append(answers["both"]["match_probability"].to_numpy())
        true.append(is_true(answers["both"]))
    share = {name: count / counterparts for name, count in right.items()}
    assert counterparts > 500
    assert share["nearest"] < 0.7
    assert share["both"] > share["position"] + 0.1
    assert share["both"] > 0.9
    stated, true = np.concatenate(stated), np.concatenate(true)
    error = np.sqrt((stated * (1 - stated)).sum())
    assert abs(stated.sum() - true.sum()) < 4 * error


def test_probabilities_by_position_are_calibrated():
    stated, true = [], []
    for seed in range(6):
        tables, _ = crowded(seed=10 + seed)
        candidates = crossmatch(*tables, radius_arcsec=3.0, mode="all")
        i, j = (
            np.unique(candidates[f"{side}_id"].to_numpy(), return_inverse=True)[1]
            for side in ("anchor", "target")
        )
        stated.append(match_probabilities(i, j, position_ratios(candidates, *tables)[0]))
        true.append(is_true(candidates))
    stated, true = np.concatenate(stated), np.concatenate(true)
    for low in np.arange(0, 1, 0.2):
        chosen = (stated >= low) & (stated < low + 0.2)
        error = np.sqrt((stated * (1 - stated))[chosen].sum()) / chosen.sum()
        assert abs(stated[chosen].mean() - true[chosen].mean()) < 4 * error + 0.04


def test_errors_and_share_are_found_from_the_separations():
    tables, _ = crowded(n=2000, side=1000.0, error=0.5, missing=0.3)
    candidates = crossmatch(*tables, radius_arcsec=3.0, mode="all")
    measured = position_ratios(candidates, *tables)[1]
    assert measured["position_sigma_arcsec"] == pytest.approx(0.5, rel=0.05)
    assert measured["share_with_counterpart"] == pytest.approx(0.7, abs=0.04)


def test_stated_position_errors_are_used():
    tables, _ = crowded(n=300, side=600.0)
    wrong = np.full(len(tables[0]), 3.0), np.full(len(tables[1]), 4.0)
    with_errors = [
        t.append_column("position_error_arcsec", pa.array(e))
        for t, e in zip(tables, wrong, strict=True)
    ]
    candidates = crossmatch(*with_errors, radius_arcsec=3.0, mode="all")
    assert position_ratios(candidates, *with_errors)[1]["position_sigma_arcsec"] == 5.0


def test_the_result_is_a_pair_table_with_metadata():
    tables, features = crowded()
    candidates = crossmatch(*tables, radius_arcsec=3.0, mode="all")
    ratios = gaussian_ratios(candidates, tables, features)
    pairs = resolve(candidates, *tables, ratios)
    for name in ("anchor_id", "target_id"):
        assert len(set(pairs[name].to_pylist())) == len(pairs)
    metadata = read_metadata(pairs.schema)
    assert metadata["n_pairs"] == len(pairs)
    assert metadata["n_candidates"] == len(candidates)
    assert metadata["expected_false_pairs"] == pytest.approx(
        (1 - pairs["match_probability"].to_numpy()).sum()
    )
    alone = resolve(candidates, *tables)
    assert_allclose(alone["match_probability"].to_numpy(), alone["p_position"].to_numpy())


def test_unusable_candidates_are_refused():
    tables, _ = crowded(n=50)
    candidates = crossmatch(*tables, radius_arcsec=3.0, mode="all")
    with pytest.raises(ValueError, match=r"mode 'all'.*'mutual'"):
        resolve(crossmatch(*tables, radius_arcsec=3.0), *tables)
    with pytest.raises(ValueError, match=rf"{len(candidates)} candidates.*\(2,\)"):
        resolve(candidates, *tables, np.zeros(2))


def space_with_model(width=6):
    space = make_space(latents=width)
    plain = space.encoder("sdss")
    model = {
        "population": {"mean": [0.0] * width, "variance": [1.0] * width},
        "intercept": 0.0,
        "weights": [0.0, 0.0, 1.0],
        "floor": 1e-6,
        "most": 50.0,
    }
    return space.with_survey(replace(plain, record={"match_probability": {"model": model}}))


@pytest.fixture
def matched():
    """Two anchors beside each of 30 targets; the farther one looks like the target."""
    space = space_with_model()
    rng = np.random.default_rng(0)
    n = 30
    own, other = rng.normal(0, 1, (2, n, 6)).astype(np.float32)
    dec = np.linspace(0, 10, n)
    common = {"space_id": space.id}
    anchor = make(
        "decals", [*own, *other], ids=[f"{k}" for k in range(2 * n)],
        ra=np.concatenate([np.full(n, 180 + 0.5 * ARCSEC), np.full(n, 180 - 0.3 * ARCSEC)]),
        dec=np.tile(dec, 2), encoder=space.encoder("decals").hash, **common,
    )  # fmt: skip
    observations = own + rng.normal(0, 0.1, own.shape).astype(np.float32)
    target = make(
        "sdss", list(observations), ids=[f"t{k}" for k in range(n)], ra=np.full(n, 180.0), dec=dec,
        encoder=space.encoder("sdss").hash, **common,
    )  # fmt: skip
    return space, with_variance(anchor, 0.01), with_variance(target, 0.01)


def with_variance(features, value):
    table = features.table
    kind = table.schema.field("variance").type
    column = pa.array([[value] * kind.list_size] * len(table), kind)
    place = table.column_names.index("variance")
    return replace(features, table=table.set_column(place, "variance", column))


def catalogue(features):
    return features.table.select(["object_id", "ra", "dec"])


def test_the_pair_of_similar_latents_wins(matched):
    space, *features = matched
    tables = [catalogue(side) for side in features]
    candidates = crossmatch(*tables, radius_arcsec=1.0, mode="all")
    ratios = appearance_ratios(candidates, space, *features)
    pairs = resolve(candidates, *tables, ratios)
    assert pairs["anchor_id"].to_pylist() == [str(k) for k in range(30)]
    assert (pairs["match_probability"].to_numpy() > 0.99).all()
    assert (pairs["p_position"].to_numpy() < 0.9).all()


def test_images_without_features_have_a_zero_ratio(matched):
    space, anchor, target = matched
    tables = [catalogue(anchor), catalogue(target)]
    candidates = crossmatch(*tables, radius_arcsec=1.0, mode="all")
    ratios = appearance_ratios(candidates, space, anchor, target)
    fewer = appearance_ratios(
        candidates, space, replace(anchor, table=anchor.table.slice(0, 30)), target
    )
    seen = np.array([int(name) < 30 for name in candidates["anchor_id"].to_pylist()])
    assert_allclose(fewer, np.where(seen, ratios, 0))


def test_features_of_another_encoder_are_refused(matched):
    space, anchor, target = matched
    candidates = crossmatch(catalogue(anchor), catalogue(target), radius_arcsec=1.0, mode="all")
    other = replace(target, encoders={"sdss": "x"})
    with pytest.raises(SpaceError, match="target: features of sdss were not extracted with this"):
        appearance_ratios(candidates, space, anchor, other)
    with pytest.raises(SpaceError, match="must be of one survey but are of decals, sdss"):
        both = {**anchor.encoders, **target.encoders}
        appearance_ratios(candidates, space, replace(anchor, encoders=both), target)
    with pytest.raises(CatalogError, match="none of the 60 candidates has features on both sides"):
        appearance_ratios(
            candidates, space, replace(anchor, table=anchor.table.slice(0, 0)), target
        )
    with pytest.raises(SpaceError, match="has no probability that they show the same galaxy"):
        appearance_ratios(candidates, space, anchor, anchor)


def test_the_command_resolves(matched, tmp_path, capsys):
    space, *features = matched
    space.save(tmp_path / "space")
    paths = []
    for name, side in zip(("anchor", "target"), features, strict=True):
        pq.write_table(catalogue(side), tmp_path / f"{name}.parquet")
        paths += [f"--{name}-features", str(write_features(tmp_path / name, side))]
    sides = [str(tmp_path / "anchor.parquet"), str(tmp_path / "target.parquet")]
    command = ["crossmatch", *sides, "--out", str(tmp_path / "pairs.parquet")]
    assert main([*command, "--space", str(tmp_path / "space"), *paths, "--json"]) == 0
    pairs = read_pairs(tmp_path / "pairs.parquet")
    assert pairs["anchor_id"].to_pylist() == [str(k) for k in range(30)]
    assert "share_with_counterpart" in capsys.readouterr().out
    assert main([*command, *paths]) == 2
    assert "--anchor-features, --target-features cannot be used with no --space" in (
        capsys.readouterr().err
    )
    assert main([*command, "--space", str(tmp_path / "space"), "--mode", "nearest"]) == 2
    assert "--mode cannot be used with --space" in capsys.readouterr().err

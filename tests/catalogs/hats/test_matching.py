import re

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

from astropy import units as u
from astropy.coordinates import offset_by
from astropy_healpix import lonlat_to_healpix

from catalogs.hats.matching import crossmatch_hats, margins_arcsec
from catalogs.matching import crossmatch
from galaxy_da.cluster import scheduling
from galaxy_da.errors import CatalogError, ClusterError
from galaxy_da.io.hats.catalogues import to_hats
from galaxy_da.io.tables import read_metadata, read_pairs

MODES = ("mutual", "nearest", "all")
MERIDIANS = (0.0, 10.0, 20.0, 33.0, 45.0)
RADIUS = 515.0  # wide, so that a sky of small partitions needs few rows; as an order 8 margin


def _table(ra, dec, prefix, **columns):
    ids = [f"{prefix}{row:05d}" for row in range(len(ra))]
    return pa.table({"object_id": ids, "ra": np.asarray(ra), "dec": np.asarray(dec), **columns})


def _sky(seed, n=1_000):
    """Anchors all over the sky, crowded at the poles, the RA wrap and a corner of base pixels."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[:150], dec[:150] = rng.uniform(-1, 1, 150) % 360, rng.uniform(-2, 2, 150)
    dec[150:250] = np.sign(rng.uniform(-1, 1, 100)) * (90 - rng.uniform(0, 1, 100))
    ra[250:400], dec[250:400] = rng.uniform(43, 47, 150), rng.uniform(-2, 2, 150)
    some = rng.permutation(n)[: n // 2]
    length = np.radians(rng.uniform(0, 1.2 * RADIUS, len(some)) / 3600)
    angle = rng.uniform(0, 2 * np.pi, len(some))
    near = offset_by(np.radians(ra[some]), np.radians(dec[some]), angle, length)
    again = rng.permutation(n)[:100]
    target_ra = np.concatenate([near[0].deg % 360, ra[again], rng.uniform(0, 360, 150)])
    target_dec = np.concatenate([near[1].deg, dec[again], rng.uniform(-80, 80, 150)])
    return _table(ra, dec, "a"), _table(target_ra, target_dec, "t")


def _patch(rng, n, prefix, width_deg=4.0):
    ra, dec = rng.uniform(-width_deg / 2, width_deg / 2, (2, n))
    return _table(ra % 360, dec, prefix)


def _write(folder, tables, margin_arcsec, partition_rows):
    names = ("anchor", "target")
    return [
        to_hats(table, folder / name, margin_arcsec=margin_arcsec, partition_rows=rows)
        for table, name, rows in zip(tables, names, partition_rows, strict=True)
    ]


def _match(paths, out, scheduler="synchronous", **options):
    metadata = crossmatch_hats(*paths, out, scheduler=scheduler, **options)
    return read_pairs(out), metadata


def _rows(pairs):
    columns = ("anchor_id", "target_id", "separation_arcsec", "n_candidates", "ambiguous")
    return sorted(zip(*(pairs[name].to_pylist() for name in columns), strict=True))


@pytest.fixture(scope="module")
def skies(tmp_path_factory):
    """Two skies in partitions of different sizes, as tables and as catalogues."""
    tables = _sky(1)
    return tables, _write(tmp_path_factory.mktemp("hats"), tables, 4 * RADIUS, (60, 200))


@pytest.mark.parametrize("mode", MODES)
def test_pairs_equal_those_of_the_local_engine(skies, tmp_path, mode):
    tables, paths = skies
    pairs, metadata = _match(paths, tmp_path / "pairs.parquet", radius_arcsec=RADIUS, mode=mode)
    local = crossmatch(*tables, radius_arcsec=RADIUS, mode=mode)
    assert metadata["n_partitions"] > 25
    assert _rows(pairs) == _rows(local)
    assert pairs.schema.names == local.schema.names
    assert read_metadata(pairs.schema) == metadata
    names = ["n_anchor", "n_target", "n_pairs", "n_anchor_unmatched"]
    names += ["n_target_unmatched"] if mode == "mutual" else []
    fixed = {name: read_metadata(local.schema)[name] for name in names}
    assert fixed.items() <= metadata.items()


def test_sides_can_be_exchanged(skies, tmp_path):
    tables, paths = skies
    pairs, _ = _match(paths[::-1], tmp_path / "pairs.parquet", radius_arcsec=RADIUS)
    assert _rows(pairs) == _rows(crossmatch(*tables[::-1], radius_arcsec=RADIUS))


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """Chains of equal separations, exact in binary, that cross the borders of partitions."""
    step = 2.0**-4
    ra, dec = (side.ravel() for side in np.meshgrid(MERIDIANS, np.arange(-48, 48) * step))
    twins = np.random.default_rng(3).integers(0, len(ra), 60)
    sides = [(ra, dec), (ra, dec + step / 2)]
    tables = []
    for (lon, lat), prefix in zip(sides, "at", strict=True):
        lon, lat = np.append(lon, lon[twins]), np.append(lat, lat[twins])
        cell = lonlat_to_healpix(lon * u.deg, lat * u.deg, nside=2**29, order="nested")
        table = _table(lon, lat, prefix).append_column("cell", pa.array(cell))
        tables.append(table.sort_by([("cell", "ascending"), ("object_id", "ascending")]))
    radius = 0.57 * step * 3600  # just within an order 10 margin
    margin = margins_arcsec(radius, "mutual")[0]
    return tables, _write(tmp_path_factory.mktemp("chains"), tables, margin, (40, 40)), radius


@pytest.mark.parametrize("mode", MODES)
def test_equal_separations_pair_alike_on_both_sides_of_a_border(chains, tmp_path, mode):
    tables, paths, radius = chains
    pairs, metadata = _match(paths, tmp_path / "pairs.parquet", radius_arcsec=radius, mode=mode)
    assert metadata["n_partitions"] > 10
    assert _rows(pairs) == _rows(crossmatch(*tables, radius_arcsec=radius, mode=mode))


@pytest.mark.parametrize("n_workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_workers_writes_the_pairs_of_the_local_engine(tmp_path, n_workers):
    rng = np.random.default_rng(4)
    tables = [_patch(rng, 1_000, prefix) for prefix in "at"]
    paths = _write(tmp_path, tables, 400.0, (200, 300))
    one, metadata = _match(paths, tmp_path / "one.parquet", radius_arcsec=100.0)
    with scheduling.workers_here(n_workers) as cluster:
        address = cluster.scheduler_address
        many, again = _match(paths, tmp_path / "many.parquet", address, radius_arcsec=100.0)
    assert many.equals(one, check_metadata=True)
    assert again == metadata
    assert _rows(many) == _rows(crossmatch(*tables, radius_arcsec=100.0))


def test_chance_matches_of_a_uniform_field(tmp_path):
    rng = np.random.default_rng(5)
    n, width, radius = 20_000, 4.0, 4.0
    tables = [_patch(rng, n, prefix, width) for prefix in "at"]
    paths = _write(tmp_path, tables, 4 * radius, (6_000, 6_000))
    pairs, metadata = _match(
        paths, tmp_path / "pairs.parquet", radius_arcsec=radius, mode="nearest"
    )
    assert metadata["n_partitions"] > 3
    expected = 1 - np.exp(-n / width**2 * np.pi * (radius / 3600) ** 2)
    assert metadata["false_match_rate"] == pytest.approx(expected, rel=0.1)
    assert metadata["false_match_rate_error"] < 0.1 * expected
    noise = 3 / np.sqrt(len(pairs))
    assert metadata["expected_false_share"] == pytest.approx(1, abs=0.1 + noise)


def test_small_catalogues_need_no_second_partition(tmp_path):
    tables = _table([10.0, 359.9999], [89.0, 0.0], "a"), _table([10.0, 0.0001], [89.0, 0.0], "t")
    paths = _write(tmp_path, tables, 600.0, (100, 100))
    pairs, _ = _match(paths, tmp_path / "pairs.parquet")
    assert _rows(pairs) == _rows(crossmatch(*tables))


def test_the_command_in_the_message_writes_the_margin(tmp_path):
    rng = np.random.default_rng(6)
    tables = [_patch(rng, 400, prefix) for prefix in "at"]
    paths = _write(tmp_path, tables, 100.0, (100, 100))
    for side, width in (("anchor", 400), ("target", 300)):
        with pytest.raises(CatalogError) as error:
            _match(paths, tmp_path / "pairs.parquet", radius_arcsec=100.0)
        expected = (
            f"{tmp_path / side}: needs a margin of {width} arcsec but has 100 arcsec; make one by"
        )
        assert str(error.value).startswith(expected)
        exec(re.search('python -c "(.*)"', str(error.value))[1])
    pairs, _ = _match(paths, tmp_path / "pairs.parquet", radius_arcsec=100.0)
    assert _rows(pairs) == _rows(crossmatch(*tables, radius_arcsec=100.0))


# Refusals


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two surveys' rows at the same place, and one far away."""
    folder = tmp_path_factory.mktemp("small")
    tables = {
        "a": _table([10.0, 11.0], [0.0, 0.0], "x", survey=["decals"] * 2),
        "same": _table([10.0, 11.0], [0.0, 0.0], "y", survey=["decals"] * 2),
        "ids": _table([10.0, 11.0], [0.0, 0.0], "x", survey=["sdss"] * 2),
        "near": _table([10.01], [0.0], "z"),
        "far": _table([200.0], [0.0], "z"),
        "nameless": pa.table({"ra": [10.0], "dec": [0.0], "g": [20.0]}),
    }
    return {
        name: to_hats(table, folder / name, margin_arcsec=600) for name, table in tables.items()
    }


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("same", "anchor and target are both of survey 'decals'"),
        ("ids", "2 of 2 pairs join rows of the same object_id"),
        ("near", "no pairs within 1 arcsec"),
        ("far", "a and .*far: no partitions overlap"),
        ("nameless", "nameless: there is no column of ids; it has ra, dec, g; say which to use"),
    ],
)
def test_catalogues_that_cannot_be_paired_are_one_line(small, tmp_path, target, message):
    out = tmp_path / "pairs.parquet"
    with pytest.raises(CatalogError, match=message) as error:
        _match((small["a"], small[target]), out)
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


def test_one_survey_can_be_allowed(small, tmp_path):
    out = tmp_path / "pairs.parquet"
    assert len(_match((small["a"], small["ids"]), out, allow_same_survey=True)[0]) == 2


def test_a_scheduler_that_does_not_answer_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduling, "_TIMEOUT_S", 0.2)
    address = "tcp://127.0.0.1:9"
    with pytest.raises(ClusterError, match=f"{address}: no Dask scheduler answers there"):
        _match((small["a"], small["ids"]), tmp_path / "pairs.parquet", address)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode must be one of mutual, nearest, all but is 'best'"),
        ({"radius_arcsec": 0}, r"radius_arcsec must be in \(0, 3600\] but is 0"),
        ({"how": "left"}, "partitions are matched without .* and with how='inner'"),
    ],
)
def test_bad_arguments_are_named(small, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _match((small["a"], small["ids"]), tmp_path / "pairs.parquet", **options)

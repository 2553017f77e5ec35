"""Matches and tables that make no sense are refused or noted."""

import re

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from match_helpers import all_sky, make_table, offset

from catalogs.matching import crossmatch
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.tables import read_metadata, with_metadata


def test_a_match_without_pairs_is_explained():
    anchor = make_table([359.9, 0.2], [1.0, 2.0], "a")
    target = make_table([0.2, 5.0], [2.001, 2.0], "t")
    with pytest.raises(CatalogError) as error:
        crossmatch(anchor, target)
    assert str(error.value) == (
        "no pairs within 1 arcsec: anchor covers RA 359.9000 to 0.2000, Dec 1.0000 to 2.0000, "
        "target covers RA 0.2000 to 5.0000, Dec 2.0000 to 2.0010, and they come no closer than "
        "3.6 arcsec; check the radius, that both are ICRS degrees, and that both cover the same "
        "field"
    )


def test_one_survey_against_itself_is_refused_unless_allowed():
    sky = [10.0, 11.0], [0.0, 0.0]
    anchor, target = (make_table(*sky, prefix, survey=["sdss"] * 2) for prefix in "at")
    with pytest.raises(CatalogError, match="both of survey 'sdss'"):
        crossmatch(anchor, target)
    assert len(crossmatch(anchor, target, allow_same_survey=True)) == 2


def test_equal_ids_are_refused_unless_allowed():
    rng = np.random.default_rng(0)
    anchor = make_table(*all_sky(rng, 100), "g", survey=["decals"] * 100)
    target = anchor.set_column(3, "survey", pa.array(["sdss"] * 100))
    with pytest.raises(CatalogError, match="100 of 100 pairs join rows of the same object_id"):
        crossmatch(anchor, target)
    assert len(crossmatch(anchor, target, allow_same_survey=True)) == 100


def test_one_survey_is_refused_by_its_headers():
    rng = np.random.default_rng(0)
    sky = all_sky(rng, 10)
    tables = [
        with_metadata(
            make_table(*sky, prefix, survey=[name] * 10),
            {"catalog": {"surveys": ["DECaLS DR8-south"]}},
        )
        for prefix, name in (("a", "decals"), ("t", "bass"))
    ]
    with pytest.raises(CatalogError, match="both of survey 'DECaLS DR8-south' by their headers"):
        crossmatch(*tables)
    assert len(crossmatch(*tables, allow_same_survey=True)) == 10


@pytest.mark.parametrize(
    ("shift", "jitter", "radius", "note"),
    [
        (
            (3.0, 4.0),
            0.1,
            10.0,
            r"lie (5|4\.9\d|5\.0\d) arcsec from .* angle 37 deg, with a scatter",
        ),
        ((0.0, 0.0), 0.0, 1.0, "300 of 300 pairs have one position on both sides: the lists are"),
        ((0.0, 0.0), 6.0, 12.0, "pairs keep a distance: half are more than 8 arcsec"),
        ((0.05, 0.05), 0.2, 2.0, None),
    ],
)
def test_the_offset_of_the_sides_is_measured_and_noted(shift, jitter, radius, note):
    rng = np.random.default_rng(1)
    ra, dec = all_sky(rng, 300)
    length = np.radians((8 if jitter == 6 else rng.rayleigh(jitter, 300)) / 3600)
    angle = rng.uniform(0, 2 * np.pi, 300)
    seen = offset((ra, dec), angle, length)
    seen = offset(seen, np.arctan2(*shift), np.radians(np.hypot(*shift) / 3600))
    pairs = crossmatch(make_table(ra, dec, "a"), make_table(*seen, "t"), radius_arcsec=radius)
    measured = read_metadata(pairs.schema)
    if jitter < 1:
        assert measured["offset_east_arcsec"] == pytest.approx(shift[0], abs=0.05)
        assert measured["offset_north_arcsec"] == pytest.approx(shift[1], abs=0.05)
        assert measured["offset_scatter_arcsec"] == pytest.approx(jitter, rel=0.2)
    assert len(measured["notes"]) == (note is not None)
    assert note is None or re.search(note, measured["notes"][0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: (c.ra.hour, c.dec.deg), "100 of 100 target rows .* ra were hours"),
        (lambda c: (c.dec.deg % 360, c.ra.deg), "target rows .* its ra and dec were swapped"),
        (lambda c: (c.ra.rad, c.dec.rad), "target rows .* positions were radians"),
        (lambda c: (c.galactic.l.deg, c.galactic.b.deg), "target rows .*frame=galactic"),
        (
            lambda c: (c.barycentricmeanecliptic.lon.deg, c.barycentricmeanecliptic.lat.deg),
            "target rows .*frame=ecliptic",
        ),
        (lambda c: (c.fk4.ra.deg, c.fk4.dec.deg), "target rows .* B1950"),
    ],
)
def test_wrong_units_frames_and_columns_are_recognised(spoil, message):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(40, 60, 100), rng.uniform(20, 40, 100)
    spoilt = make_table(*spoil(SkyCoord(ra, dec, unit="deg")), "t")
    with pytest.raises(CatalogError, match=message) as error:
        crossmatch(make_table(ra, dec, "a"), spoilt)
    assert "\n" not in str(error.value)


GOOD = make_table([10.0], [0.0], "t")


@pytest.mark.parametrize(
    ("anchor", "error", "message"),
    [
        (GOOD.slice(0, 0), CatalogError, "anchor: has no rows"),
        (GOOD.drop_columns(["dec"]), CatalogError, "anchor: column 'dec' is missing; it has obj"),
        (
            make_table([10.0, 1.0], [-91, 999], "a"),
            CatalogError,
            "anchor: none of 2 .*: dec is -91",
        ),
        (make_table([np.nan], [0.0], "a"), CatalogError, "anchor: none of 1 rows .*: ra is nan"),
        (GOOD.set_column(0, "object_id", pa.array([7])), CatalogError, "string .* holds int64"),
        (
            GOOD.set_column(0, "object_id", pa.array([None], pa.string())),
            CatalogError,
            "string for every row but holds string with 1 empty",
        ),
        (pa.concat_tables([GOOD, GOOD]), TableError, r"anchor: .*example t0 \(2 times\)"),
    ],
)
def test_bad_tables_are_refused_in_one_line(anchor, error, message):
    with pytest.raises(error, match=message) as caught:
        crossmatch(anchor, GOOD)
    assert "\n" not in str(caught.value)


def test_the_bad_side_is_named():
    with pytest.raises(CatalogError, match="target: has no rows"):
        crossmatch(GOOD, GOOD.slice(0, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius_arcsec": 0}, r"radius_arcsec must be in \(0, 3600\] but is 0"),
        ({"radius_arcsec": np.nan}, "but is nan"),
        ({"radius_arcsec": 3601}, "but is 3601"),
        ({"mode": "best"}, "mode must be one of mutual, nearest, all but is 'best'"),
        ({"how": "right"}, "how must be one of inner, left, outer but is 'right'"),
        ({"min_radius_arcsec": 1.0}, r"min_radius_arcsec must be in \[0, 1\), below the radius"),
        ({"sigmas": 0}, "sigmas must be positive but is 0"),
        ({"n_offsets": 1}, "n_offsets must be at least 2 but is 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossmatch(GOOD, GOOD, **arguments)


def test_sigmas_need_errors_that_are_numbers():
    with pytest.raises(CatalogError, match="sigmas needs a column 'position_error_arcsec'"):
        crossmatch(GOOD, GOOD, sigmas=3, allow_same_survey=True)
    bad = make_table([10.0], [0.0], "a", position_error_arcsec=[-99.0])
    with pytest.raises(
        CatalogError, match=r"anchor: position_error_arcsec of row 0 is -99; .* all"
    ):
        crossmatch(bad, GOOD, sigmas=3)


def test_rows_without_a_usable_position_or_error_match_nothing():
    ra = np.array([10.0, np.nan, 20.0, 400.0, 30.0, 40.0])
    dec = np.array([0.0, 0.0, -95.0, 0.0, 1.0, np.inf])
    errors = [0.1, 0.1, 0.1, 0.1, -99.0, 0.1]
    anchor = make_table(ra, dec, "a", position_error_arcsec=errors)
    target = make_table([10.0, 30.0, np.nan], [0.0, 1.0, np.nan], "t")
    pairs = crossmatch(anchor, target, how="outer")
    found = zip(pairs["anchor_id"].to_pylist(), pairs["target_id"].to_pylist(), strict=True)
    assert list(found) == [
        ("a0", "t0"), ("a1", None), ("a2", None), ("a3", None), ("a4", "t1"), ("a5", None),
        (None, "t2"),
    ]  # fmt: skip
    counts = read_metadata(pairs.schema)
    assert counts["n_anchor_without_position"] == 4 and counts["n_target_without_position"] == 1
    assert counts["n_anchor_unmatched"] == 4 and counts["n_pairs"] == 2
    assert crossmatch(anchor, target, sigmas=5)["anchor_id"].to_pylist() == ["a0"]

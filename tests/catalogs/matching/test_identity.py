"""Detect one survey that is given as two: the same exposures cut again, 4 to 11 arcsec off."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import offset_by
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.matching import crossmatch
from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata, write_table

N = 300
DR8 = {"SURVEY": "DECaLS", "VERSION": "DR8-south"}


def moved(sky, length_arcsec, rng):
    angle = rng.uniform(0, 2 * np.pi, len(length_arcsec))
    ra, dec = offset_by(*np.radians(sky), angle, np.radians(length_arcsec / 3600))
    return ra.deg % 360, dec.deg


def field(rng, n=N):
    """Positions over some square degrees across RA 0."""
    return rng.uniform(-3, 3, n) % 360, rng.uniform(30, 33, n)


def table(sky, prefix, **columns):
    ids = [f"{prefix}{row}" for row in range(len(sky[0]))]
    return pa.table({"object_id": ids, "ra": sky[0], "dec": sky[1], **columns})


def cut_again(rng):
    """A survey, and itself re-cut as the published pairs were."""
    sky = field(rng)
    return sky, moved(sky, rng.uniform(4, 11, N), rng)


def write_sample(folder, name, sky, survey, cards):
    """A sample table whose first cutouts are FITS images with these cards."""
    for row, (ra, dec) in enumerate(zip(*sky, strict=True)):
        if row == 5:
            break
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, dec]
        wcs.wcs.cdelt, wcs.wcs.crpix = [-0.262 / 3600, 0.262 / 3600], [4.5, 4.5]
        header = wcs.to_header()
        header.update(cards)
        fits.writeto(folder / f"{name}{row}.fits", np.ones((8, 8), "f4"), header)
    cutouts = [f"{name}{row}.fits" for row in range(N)]
    write_table(table(sky, name, survey=[survey] * N, cutout=cutouts), folder / f"{name}.parquet")
    return read_catalog(folder / f"{name}.parquet")


@pytest.mark.parametrize("more", [{}, {"EXTRA": 1}])
def test_a_recut_survey_is_recognised_by_its_headers(tmp_path, more):
    decals, bass = cut_again(np.random.default_rng(1))
    anchor = write_sample(tmp_path, "a", decals, "decals", DR8)
    target = write_sample(tmp_path, "t", bass, "bass-mzls", DR8 | more)
    for radius in (1.0, 15.0):
        with pytest.raises(CatalogError, match="both of survey 'DECaLS DR8-south' by their head"):
            crossmatch(anchor, target, radius_arcsec=radius)
    other = write_sample(tmp_path, "b", bass, "bass-mzls", {"SURVEY": "BASS", "VERSION": "DR8"})
    assert len(crossmatch(anchor, other, radius_arcsec=15.0)) > 0.9 * N


@pytest.mark.parametrize("radius", [12.0, 15.0, 20.0, 30.0])
def test_a_recut_survey_is_recognised_by_its_separations(radius):
    anchor, target = cut_again(np.random.default_rng(2))
    pairs = crossmatch(table(anchor, "a"), table(target, "t"), radius_arcsec=radius)
    assert len(pairs) > 0.95 * N
    (note,) = read_metadata(pairs.schema)["notes"]
    assert note.startswith("pairs keep a distance") and "0 of" in note


def test_a_recut_survey_has_no_pairs_within_the_usual_radius():
    anchor, target = cut_again(np.random.default_rng(3))
    with pytest.raises(CatalogError, match=r"come no closer than 4\.\d+ arcsec"):
        crossmatch(table(anchor, "a"), table(target, "t"))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sigma=st.floats(0.01, 2.0),
    shift=st.floats(0.0, 1.0),
    strangers=st.sampled_from([0, 3000]),
)
def test_true_counterparts_get_no_note(seed, sigma, shift, strangers):
    rng = np.random.default_rng(seed)
    sky = field(rng, 2000)
    seen = moved(sky, rng.rayleigh(sigma, 2000), rng)
    seen = seen[0], seen[1] + shift * sigma / 3600
    target = np.concatenate([seen, field(rng, strangers)], axis=1)
    pairs = crossmatch(table(sky, "a"), table(target, "t"), radius_arcsec=5 * sigma, n_offsets=2)
    assert not [n for n in read_metadata(pairs.schema)["notes"] if "keep a distance" in n]


def test_chance_pairs_are_recognised():
    rng = np.random.default_rng(4)
    anchor, target = field(rng, 3000), field(rng, 3000)
    pairs = crossmatch(table(anchor, "a"), table(target, "t"), radius_arcsec=30.0)
    (note,) = read_metadata(pairs.schema)["notes"]
    assert "as chance pairs within 30 arcsec are" in note


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (["sdss"], ["sdss"], "'sdss'"),
        (["sdss"], ["sdss", "hsc"], "'sdss'"),
        (["hsc", "sdss", "kids"], ["sdss", "hsc"], "'hsc', 'sdss'"),
        (["sdss"], ["hsc"], None),
        (["sdss", "kids"], ["sdss", "hsc"], None),
        ([None], [None], None),
        (["sdss"], [None], None),
    ],
)
def test_a_side_whose_surveys_are_all_on_the_other_is_refused(first, second, same):
    rng = np.random.default_rng(5)
    sky = field(rng)
    tables = [
        table(sky, prefix, survey=pa.array((names * N)[:N], pa.string()))
        for prefix, names in (("a", first), ("t", second))
    ]
    if same:
        with pytest.raises(CatalogError, match=f"both of survey {same} by their column survey"):
            crossmatch(*tables)
    assert len(crossmatch(*tables, allow_same_survey=True)) == N
    if not same:
        assert len(crossmatch(*tables)) == N

"""Place, scale, north and parity against astropy alone, over projections, frames and angles."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_da.errors import CutoutError
from galaxy_da.images.placement import locate, regrid
from galaxy_da.images.wcs import celestial_wcs, pixels_of, sky_of

SHAPE = (110, 120)
FRAMES = {
    "ICRS": ("RA---", "DEC--", {"RADESYS": "ICRS"}, "icrs"),
    "no frame": ("RA---", "DEC--", {}, "icrs"),
    "FK5": ("RA---", "DEC--", {"RADESYS": "FK5", "EQUINOX": 2000.0}, FK5(equinox="J2000")),
    "FK5 of 1975": ("RA---", "DEC--", {"EQUINOX": 1990.0}, FK5(equinox="J1990")),
    "FK4": ("RA---", "DEC--", {"RADESYS": "FK4", "EQUINOX": 1950.0}, FK4(equinox="B1950")),
    "J2000": ("RA---", "DEC--", {"RADESYS": "J2000", "EQUINOX": "J2000"}, FK5(equinox="J2000")),
    "B1950": ("RA---", "DEC--", {"EQUINOX": "B1950"}, FK4(equinox="B1950")),
    "FK5 J1975": ("RA---", "DEC--", {"RADESYS": "fk5/J1975"}, FK5(equinox="J1975")),
    "galactic": ("GLON-", "GLAT-", {}, Galactic()),
    "ecliptic": ("ELON-", "ELAT-", {}, BarycentricMeanEcliptic()),
}
PROJECTIONS = {
    "TAN": {},
    "SIN": {},
    "CAR": {},
    "ZPN": {"PV2_1": 1.0, "PV2_3": 42.0},  # of WFCAM
    "TPV": {
        "PV1_1": 1.0, "PV1_4": 2e-3, "PV1_7": 1e-3, "PV2_1": 1.0, "PV2_5": -3e-3, "PV2_8": 1e-3
    },
    "TAN-SIP": {
        "A_ORDER": 2, "A_2_0": 2e-6, "A_0_2": -1e-6, "B_ORDER": 2, "B_1_1": 3e-6, "B_2_0": 1e-6
    },
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A header, and the pixel of its galaxy with the true position."""

    header: fits.Header
    frame: str
    x: float
    y: float

    def sky(self, x, y):
        """ICRS coordinates of pixels, by `astropy.wcs` and `SkyCoord`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = WCS(self.header).all_pix2world(x, y, 0)
        is_swapped = self.header["CTYPE1"][:4] in ("DEC-", "GLAT", "ELAT")
        lon, lat = world[::-1] if is_swapped else world
        sky = SkyCoord(lon, lat, unit="deg", frame=FRAMES[self.frame][3]).icrs
        return SkyCoord(sky.ra, sky.dec)

    @property
    def galaxy(self):
        return self.sky(np.array([self.x]), np.array([self.y]))[0]

    @property
    def position(self):
        return self.galaxy.ra.deg, self.galaxy.dec.deg

    def steps(self):
        """Arcsec towards east and north (rows) of a step in x and y, by angles on the sphere."""
        back = self.sky(np.array([self.x - 0.5, self.x]), np.array([self.y, self.y - 0.5]))
        forth = self.sky(np.array([self.x + 0.5, self.x]), np.array([self.y, self.y + 0.5]))
        (east0, north0), (east1, north1) = (self.offsets(places) for places in (back, forth))
        return np.array([east1 - east0, north1 - north0])

    def offsets(self, places):
        """Arcsec towards east and north of the galaxy, along great circles."""
        distance = self.galaxy.separation(places).arcsec
        angle = self.galaxy.position_angle(places).rad
        return distance * np.sin(angle), distance * np.cos(angle)


@st.composite
def fields(draw):
    frame, projection = (
        draw(st.sampled_from(sorted(FRAMES))),
        draw(st.sampled_from(sorted(PROJECTIONS))),
    )
    lon, lat, cards, _ = FRAMES[frame]
    scale, parity = draw(st.floats(0.2, 0.9)), draw(st.sampled_from([-1, 1]))
    oblong, shear = draw(st.sampled_from([1.0, 0.7, 1.6])), draw(st.sampled_from([0.0, 0.0, 0.3]))
    angle = np.radians(draw(st.sampled_from([0.0, 90.0, 0.7]) | st.floats(0, 360)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale / 3600 * turn @ np.array([[parity * oblong, shear], [0, 1 / oblong]])
    from_x, from_y = (draw(st.sampled_from([0.0, 200.0, -6000.0, 8000.0])) for _ in "xy")
    header = fits.Header({
        "CTYPE1": lon + projection, "CTYPE2": lat + projection,
        "CRVAL1": draw(st.sampled_from([0.0, 1e-4, 150.0, 266.4, 359.9999])),
        "CRVAL2": draw(st.sampled_from([-90.0, -89.9, -30.0, 0.0, 45.0, 80.0, 89.99, 90.0])),
        "CRPIX1": 60.0 + from_x, "CRPIX2": 55.0 + from_y,
        "CD1_1": matrix[0, 0], "CD1_2": matrix[0, 1], "CD2_1": matrix[1, 0], "CD2_2": matrix[1, 1],
        **cards, **PROJECTIONS[projection],
    })  # fmt: skip
    if projection == "CAR":
        header["CRVAL2"] = 0.0
    elif (pole := draw(st.sampled_from([None, 180.0, 90.0, 13.0]))) is not None:
        header["LONPOLE"] = pole
    if projection in ("TAN", "SIN", "CAR") and draw(st.booleans()):
        header = swapped(header)
    return Field(header, frame, draw(st.floats(55, 64)), draw(st.floats(50, 59)))


def swapped(header):
    """Return a header whose first axis is the latitude."""
    other = header.copy()
    for mine, yours in ((1, 2), (2, 1)):
        for card in ("CTYPE", "CRVAL"):
            other[f"{card}{mine}"] = header[f"{card}{yours}"]
        for axis in (1, 2):
            other[f"CD{mine}_{axis}"] = header[f"CD{yours}_{axis}"]
    return other


@settings(max_examples=150, deadline=None)
@given(fields())
def test_place_scale_north_and_parity_are_those_of_astropy(field):
    place = locate(field.header, SHAPE, field.position)
    steps = field.steps()
    scale = np.sqrt(abs(np.linalg.det(steps)))
    # J2000 is read as ICRS, up to 0.04 arcsec away
    assert place.centre_xy == pytest.approx((field.x, field.y), abs=2e-3 + 0.05 / scale)
    assert place.pixel_scale_arcsec == pytest.approx(scale, rel=1e-4)
    np.testing.assert_allclose(place.jacobian, steps, atol=1e-4 * scale)
    assert np.sign(np.linalg.det(place.jacobian)) == np.sign(np.linalg.det(steps))


@settings(max_examples=60, deadline=None)
@given(fields(), st.floats(0, 180))
def test_a_gaussian_keeps_its_flux_shape_and_angle_north_up(field, angle):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    east, north = (v.reshape(SHAPE) for v in field.offsets(field.sky(x.ravel(), y.ravel())))
    scale = np.sqrt(abs(np.linalg.det(field.steps())))
    (east_y, east_x), (north_y, north_x) = np.gradient(east), np.gradient(north)
    area = np.abs(east_x * north_y - east_y * north_x)
    sigmas = np.array([5.5, 3.5]) * scale
    drawn = gaussian(east, north, angle, sigmas) * area
    place = locate(field.header, SHAPE, field.position)
    pixels, (cx, cy) = place.north_up(drawn[None].astype(np.float32))
    rows, columns = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    expected = scale**2 * gaussian((cx - columns) * scale, (rows - cy) * scale, angle, sigmas)
    got = np.nan_to_num(pixels[0])
    assert got.sum() == pytest.approx(1, abs=0.01)
    inside = np.isfinite(pixels[0])
    assert expected[inside].sum() > 0.99
    np.testing.assert_allclose(got[inside], expected[inside], atol=0.06 * expected.max())
    assert difference(position_angle(got, columns, rows), angle) < 2


def gaussian(east, north, angle, sigmas):
    """Surface brightness of unit flux at arcsec from the centre, its major axis east of north."""
    t = np.radians(angle)
    major, minor = east * np.sin(t) + north * np.cos(t), east * np.cos(t) - north * np.sin(t)
    exponent = (major / sigmas[0]) ** 2 + (minor / sigmas[1]) ** 2
    return np.exp(-exponent / 2) / (2 * np.pi * sigmas[0] * sigmas[1])


def position_angle(image, columns, rows):
    """Position angle [deg] of the major axis by second moments, north up and east left."""
    total = image.sum()
    x, y = (image * -columns).sum() / total, (image * rows).sum() / total
    xx, yy = ((image * d**2).sum() / total for d in (-columns - x, rows - y))
    xy = (image * (-columns - x) * (rows - y)).sum() / total
    return np.degrees(0.5 * np.arctan2(2 * xy, yy - xx))


def difference(first, second):
    return abs((first - second + 90) % 180 - 90)


@settings(max_examples=40, deadline=None)
@given(fields())
def test_pixels_and_positions_invert_each_other(field):
    wcs = celestial_wcs(field.header)
    x, y = np.array([field.x, 3.0, 100.0]), np.array([field.y, 90.0, 7.0])
    ra, dec = sky_of(wcs, x, y)
    true = field.sky(x, y)
    assert SkyCoord(ra, dec, unit="deg").separation(true).arcsec.max() < 0.05
    back = pixels_of(wcs, true.ra.deg, true.dec.deg)
    np.testing.assert_allclose(back, [x, y], atol=0.3)


def tan(**cards):
    return fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 60.0,
        "CRPIX2": 55.0, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, **cards,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CD1_1": 0.0, "CD2_2": 0.0}, "cannot be read"),
        ({"CD1_1": -1e-4, "CD2_2": 1e-9}, "axes of 0.36 and 3.6e-06 arcsec"),
        ({"CD1_2": 1e-4, "CD2_1": -1e-4}, "wrong header"),
        ({"CTYPE1": "RA--TAN"}, "CTYPE|cannot be read"),
        ({"CTYPE1": "RA", "CTYPE2": "DEC"}, "with a projection, .* says RA, DEC"),
        ({"CTYPE1": "WAVE", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN"}, "first two axes .* WAVE"),
        ({"CTYPE2": "RA---TAN"}, "cannot be read"),
        ({"CTYPE2": "GLAT-TAN"}, "cannot be read"),
        ({"CUNIT1": "furlong"}, "cannot be read"),
        ({"RADESYS": "GAPPT"}, "frame of the WCS .* is unknown"),
        ({"CRVAL1": 330.0, "CRVAL2": -2.0}, "another galaxy's file"),
    ],
)
def test_headers_without_a_usable_place_are_refused(cards, message):
    with pytest.raises(CutoutError, match=message):
        locate(tan(**cards), SHAPE, (150.0, 2.0))


def test_headers_without_sky_axes_have_no_place():
    assert locate(fits.Header({"CRPIX1": 3.0, "CTYPE1": "LINEAR"}), SHAPE, (150.0, 2.0)) is None


def test_cards_beside_the_wcs_do_not_matter():
    plain = locate(tan(), SHAPE, (150.0, 2.0))
    noisy = tan(CTYPE1A="LINEAR", CRVAL3=7.0, AMDX1=3.0, PLTRAH=4, DATE="2026-01-01", CTYPE3="BAND")
    other = locate(noisy, SHAPE, (150.0, 2.0))
    assert other.centre_xy == plain.centre_xy
    np.testing.assert_array_equal(other.jacobian, plain.jacobian)


@pytest.mark.parametrize("ratio", [0.3, 0.8, 1.0, 2.5, 4.2])
def test_regridding_keeps_the_flux_of_noise_and_of_a_star(ratio):
    """A star of 1.2 pixels and white noise, onto coarser and finer pixels."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:90, :90]
    star = np.exp(-0.5 * ((x - 44.3) ** 2 + (y - 45.1) ** 2) / 1.2**2)
    star += rng.normal(0, 0.01, x.shape)
    side = int(70 / ratio)
    middle = (side - 1) / 2
    moved = regrid(star[None], (44.3, 45.1), (side, side), (middle, middle), ratio)[0] * ratio**2
    assert np.isfinite(moved).all()
    half = side * ratio / 2
    inner = (np.abs(x - 44.3) < half) & (np.abs(y - 45.1) < half)
    assert moved.sum() == pytest.approx(star[inner].sum(), rel=0.02)
    offset = np.arange(side) - middle
    centroid = (moved * offset * ratio).sum() / moved.sum()
    true = (star * (x - 44.3))[inner].sum() / star[inner].sum()
    assert centroid == pytest.approx(true, abs=0.5)


def test_tpv_without_parameters_is_tan():
    cards = {"CRVAL1": 30.0, "CRVAL2": 60.0, "CRPIX1": 50.0, "CRPIX2": 60.0, "CD1_1": -1e-4,
             "CD2_2": 1.1e-4, "CD1_2": 1e-5}  # fmt: skip
    tan, tpv = (
        celestial_wcs(fits.Header({**cards, "CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}"}))
        for kind in ("TAN", "TPV")
    )
    np.testing.assert_allclose(sky_of(tpv, [0, 90], [5, 99]), sky_of(tan, [0, 90], [5, 99]))


@pytest.mark.parametrize("cards", [{"EQUINOX": "mean"}, {"RADESYS": "J2000", "EPOCH": "date"}])
def test_an_equinox_that_is_no_year_is_refused(cards):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 1e-4, **cards})
    with pytest.raises(CutoutError, match="which is no equinox"):
        celestial_wcs(header)

"""Damaged and odd input: every row is a cutout, or an error of one line."""

import bz2
import gzip
import io
import re
import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.samples import STATUSES
from galaxy_da.surveys import get_survey

SURVEYS = [get_survey(name) for name in ("decals", "ps1", "sdss", "euclid-vis", "hsc")]
CARDS = {
    "CTYPE1": ["RA---TAN", "DEC--TAN", "RA---TAN-SIP", "RA---ZPN", "GLON-CAR", "RA", "LINEAR", "",
               "x"],
    "CTYPE2": ["DEC--TAN", "RA---TAN", "DEC--TPV", "GLAT-CAR", "DEC", "DEC--STG", 3.0],
    "CTYPE3": ["WAVE", "RA---TAN", "STOKES"],
    "CRVAL1": [150.0, 0.0, 1e30, "150", True], "CRVAL2": [2.0, 90.0, -91.0, 1e30],
    "CRPIX1": [8.0, -1e9, 1e30], "CRPIX2": [8.0, 0.0],
    "CD1_1": [-7e-5, 0.0, 1e-30, 1e30], "CD2_2": [7e-5, 0.0, -7e-5], "CD1_2": [0.0, 7e-5],
    "CDELT1": [0.0, 7e-5], "CDELT2": [7e-5], "CROTA2": [30.0, "x"], "PC1_1": [1.0, 0.0],
    "CUNIT1": ["deg", "arcsec", "furlong", ""], "CUNIT2": ["deg", "m"],
    "RADESYS": ["ICRS", "FK4", "GAPPT", "x", "J2000", "FK5 J"],
    "EQUINOX": [2000.0, 1950.0, -1.0, "J2000", "B1950", "", "x", True],
    "LONPOLE": [180.0, 90.0, 1e9], "LATPOLE": [90.0, 1e9], "WCSAXES": [2, 3, 0, 99],
    "A_ORDER": [2, 0, 99, -1], "B_ORDER": [2], "A_2_0": [1e-6, 1e9], "PV1_1": [1.0], "PV2_1": [0.0],
    "PV2_5": [1.0], "CPDIS1": ["LOOKUP"], "D2IMDIS1": ["LOOKUP"],
    "BUNIT": ["nanomaggy", "uJy", "MJy/sr", "adu", "adu/s", "mag", "Jy/(", "1/0", "\\", " "],
    "MAGZERO": [25.0, 22.5, -99.0, 1e30, "x", False], "FLUXMAG0": [1e9, -1.0, 0.0],
    "MAGZERO0": [25.0, "x"], "MAGZERO1": [25.0, 26.0], "ZP_2": [1, "24"], "GAIN": [2.0, 0, "x"],
    "PHOTFLAM": [1e-19, 0.0, -1.0, "x"], "PHOTPLAM": [8e3, "x"], "PHOTFNU": [1e-7, 1e300],
    "EXPTIME": [30.0, 0.0, -1.0, "x"], "BSOFTEN": [1.0, 0.0, 1e30, "x"], "BOFFSET": [0.0, 1e30],
    "BSCALE": [1.0, 0.0, 1e30], "BZERO": [0.0, 1e30], "BLANK": [0, -1, 32768],
    "BANDS": ["grz", "g,r,z", "ugriz", "VIS", "", "ggg"], "BAND0": ["g", ""], "BAND1": ["r"],
    "FILTER": ["r", "z.MP9901", "", 5], "EXTNAME": ["MASK", "SCI", "INVVAR_G", "é".encode().hex()],
    "INSTRUME": ["WFCAM"], "IMAGETYP": ["INVVAR", "object"], "INHERIT": [True],
}  # fmt: skip
NAMES = [None, "SCI", "MASK", "g", "IMAGE_R", "INVVAR", "DQ", "SIGMA_Z", "PSF", "MASKBITS"]
SHAPES = [(16, 18), (3, 16, 18), (5, 16, 18), (1, 1, 16, 18), (3, 3, 3), (1, 1), (2, 2, 2, 2), (7,),
          (16, 18, 3), (0, 4), (4, 16, 18)]  # fmt: skip
MAGIC = [b"", b"SIMPLE  =", b"\x1f\x8b", b"BZh9", b"\x89PNG"]
TYPES = ["f4", "f8", "i2", "u1", "i4", "u2", "i8"]
PYTHON = re.compile(
    r"\bNone\b|object at|\(\d+,\)|\(\d+, \d+, |\b[A-Z]\w+Error\b|<class|float\d\d|NoneType"
)
FUZZ = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "database": None,
}


PLACED = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 9.0,
    "CRPIX2": 8.0, "CD1_1": -7e-5, "CD2_2": 7e-5,
}  # fmt: skip


def usually(draw, first, others):
    """Draw the first value half of the time, or any of the others."""
    return first if draw(st.booleans()) else draw(st.sampled_from(others))


@st.composite
def headers(draw):
    """Draw a header that is right but for a few cards."""
    header = fits.Header(PLACED if draw(st.booleans()) else {})
    names = draw(st.lists(st.sampled_from(sorted(CARDS)), max_size=5, unique=True))
    for name in names:
        header[name] = draw(st.sampled_from(CARDS[name]))
    return header


@st.composite
def hdus(draw, names=NAMES):
    shape, dtype = usually(draw, (3, 16, 18), SHAPES), usually(draw, "f4", TYPES)
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    values *= usually(draw, 1, [100, 1e-20, 1e30])
    with np.errstate(all="ignore"):
        pixels = values.astype(dtype)
    if pixels.dtype.kind == "f":
        pixels.flat[:: usually(draw, 1000, [1, 3])] = np.nan
    kind = usually(draw, fits.ImageHDU, [fits.CompImageHDU])
    hdu = kind(pixels if pixels.size else None)
    for card in draw(headers()).cards:
        hdu.header[card.keyword] = card.value
    if name := usually(draw, names[0], names):
        hdu.header["EXTNAME"] = name
    return hdu


@st.composite
def fits_files(draw):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extensions = [draw(hdus(["SCI", None, "g"])), *draw(st.lists(hdus(), max_size=2))]
        primary = fits.PrimaryHDU(header=draw(headers()))
        if draw(st.booleans()) and not isinstance(extensions[0], fits.CompImageHDU):
            primary = fits.PrimaryHDU(extensions[0].data, extensions[0].header)
        try:
            fits.HDUList([primary, *extensions]).writeto(buffer, output_verify="ignore")
        except Exception:  # astropy does not write every one of these
            assume(False)
    return buffer.getvalue()


def picture(kind):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 18, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def cube():
    buffer = io.BytesIO()
    header = fits.Header({**PLACED, "BUNIT": "nanomaggy", "BANDS": "grz"})
    images = [fits.PrimaryHDU(np.ones((3, 16, 18), np.float32), header),
            fits.ImageHDU(np.zeros((16, 18), np.int16), name="MASK")]  # fmt: skip
    fits.HDUList(images).writeto(buffer)
    return buffer.getvalue()


GOOD = [cube(), gzip.compress(cube()), bz2.compress(cube()),
        *(picture(kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"))]  # fmt: skip
ARRAYS = [array(np.ones((3, 16, 18), np.float32)), array(np.zeros((16, 18, 3), np.uint8)),
          array(np.zeros(0)), array(np.array("text")), b"\x93NUMPY"]  # fmt: skip


@st.composite
def damaged(draw, files):
    """Cut a file off, flip bits, overwrite or insert bytes."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "early flip", "cut", "write", "insert"]))
        if kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=9))
        elif kind == "write":
            data[place : place + 8] = draw(st.binary(min_size=8, max_size=8))
        elif data:
            data[place % (200 if kind == "early flip" else len(data)) % len(data)] ^= 1 << draw(
                st.integers(0, 7)
            )
    return bytes(data)


def check(results, survey):
    for result in results:
        if isinstance(result, Cutout):
            assert result.pixels.ndim == 3 and len(result.pixels) == len(result.bands)
            assert set(result.bands) <= set(survey.band_names) and 0 not in result.pixels.shape
            assert 0 < result.pixel_scale_arcsec < np.inf and np.isfinite(result.centre_xy).all()
            assert result.noise is None or len(result.noise) == len(result.bands)
            continue
        assert isinstance(result, CutoutError) and result.status in STATUSES
        text = str(result)
        assert text and "\n" not in text and " at 0x" not in text and len(text) < 500
        assert "RuntimeWarning" not in text  # of arithmetic that the reader lets through
        assert not PYTHON.search(text), text


def read(data, survey, position, **columns):
    row = {"image": [data], **{name: [value] for name, value in columns.items()}}
    if position:
        row |= {"ra": [position[0]], "dec": [position[1]]}
    check(read_cutouts(pa.table(row), None, survey), survey)


surveys = st.sampled_from([SURVEYS[0]] * 6 + SURVEYS)
positions = st.sampled_from([None, *[(150.0, 2.0)] * 4, (0.0, -90.0), (np.nan, 1.0), (None, 2.0)])


@settings(max_examples=300, **FUZZ)
@given(fits_files(), surveys, positions)
def test_odd_headers_and_shapes(data, survey, position):
    read(data, survey, position)


@settings(max_examples=500, **FUZZ)
@given(damaged(GOOD), surveys, positions)
def test_damaged_files(data, survey, position):
    read(data, survey, position)


@settings(max_examples=200, **FUZZ)
@given(st.binary(max_size=300), st.sampled_from(MAGIC), surveys)
def test_random_bytes(data, start, survey):
    read(start + data, survey, None)


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".fits", ".jpg"])
@settings(
    max_examples=50,
    **FUZZ,
)
@given(data=damaged(ARRAYS), row=st.sampled_from(["", "#0", "#-1", "#9", "#x", "#²"]))
def test_damaged_arrays(suffix, tmp_path_factory, data, row):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / f"a{suffix}").write_bytes(data)
    survey = SURVEYS[0]
    table = pa.table({"cutout": [f"a{suffix}{row}", "none.fits", "{band}.fits", "{x}.fits"]})
    check(read_cutouts(table, folder, survey), survey)


@settings(max_examples=100, **FUZZ)
@given(
    st.sampled_from(["", ",", "g", "g,r,z", "z,r,g", "q", "g,g", "r,i,z", "é"]),
    st.sampled_from([np.nan, 0.0, -1.0, 0.3, 1e300, 1e-300]),
    st.sampled_from(["", "galaxy-zoo", "none"]), st.sampled_from(GOOD), surveys,
)  # fmt: skip
def test_odd_columns(bands, scale, stretch, data, survey):
    read(data, survey, (150.0, 2.0), bands=bands, pixel_scale_arcsec=scale, stretch=stretch)

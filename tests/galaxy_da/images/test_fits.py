"""FITS files of many layouts: the right image, its bands, its masks and its noise."""

import bz2
import gzip
import io
import re

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_cutout, read_image
from galaxy_da.surveys import get_survey

DECALS, HSC, DES, RUBIN = (get_survey(name) for name in ("decals", "hsc", "des", "rubin"))
RNG = np.random.default_rng(3)
CUBE = RNG.normal(1, 0.1, (3, 40, 44)).astype(np.float32)
MASK = np.zeros((40, 44), np.int32)
MASK[5:9, 20:30] = 1


def image(pixels, name=None, **cards):
    hdu = fits.ImageHDU(pixels, name=name)
    hdu.header.update(cards)
    return hdu


def content(*hdus, primary=None):
    """Return the bytes of a file; without `primary`, of an empty primary HDU."""
    buffer = io.BytesIO()
    fits.HDUList([primary or fits.PrimaryHDU(), *hdus]).writeto(buffer)
    return buffer.getvalue()


def first(hdu):
    return fits.PrimaryHDU(hdu.data, hdu.header)


def tan(scale=0.262, x=22.0, y=20.0, ra=150.0, dec=2.0):
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": x + 1,
        "CRPIX2": y + 1, "CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600,
    }  # fmt: skip


def missing(pixels, where):
    return np.where(where, np.nan, pixels)


@pytest.mark.parametrize("name", ["MASK", "mask", "DQ", "BPM", "FLAGS", "R_MASK", "INVVAR", "WHT"])
def test_a_mask_in_front_of_the_image_is_no_image(name):
    plane = MASK if name.upper() not in ("INVVAR", "WHT") else 1.0 - MASK
    got = read_image(content(image(CUBE, "SCI"), primary=first(image(plane, name))), DECALS)
    where = np.broadcast_to(MASK == 1, CUBE.shape).copy()
    where[[0, 2]] &= name != "R_MASK"  # of the band r alone
    assert_array_equal(got.pixels, missing(CUBE, where))


@pytest.mark.parametrize("name", ["SCI", "sci", "IMAGE", "Science", "FLUX", "COADD_IMAGE"])
def test_the_extension_named_as_science_wins_over_unnamed_images(name):
    other = image(np.zeros((3, 40, 44), np.float32))
    assert_array_equal(read_image(content(other, image(CUBE, name)), DECALS).pixels, CUBE)


@pytest.mark.parametrize("name", ["PSF", "SEG", "MODEL", "SKY", "EXPTIME", "SEGMENTATION_MAP"])
def test_other_extensions_are_left_out_whatever_their_shape(name):
    data = content(image(RNG.normal(size=(9, 9)), name), image(CUBE))
    assert_array_equal(read_image(data, DECALS).pixels, CUBE)


@pytest.mark.parametrize(
    ("names", "cards"),
    [
        (("z", "g", "r"), {}),
        (("Z", "G", "R"), {}),
        (("IMAGE_Z", "IMAGE_G", "IMAGE_R"), {}),
        (("DECam-z", "DECam-g", "DECam-r"), {}),
        ((None, None, None), {"FILTER": ("z DECam SDSS c0004", "g DECam SDSS c0001", "r DECam")}),
        ((None, None, None), {"BAND": "zgr"}),
        (("SCI", "SCI", "SCI"), {"FILTER": "zgr"}),
    ],
)
def test_one_extension_per_band_in_any_order(names, cards):
    hdus = [
        image(CUBE[i], name, **{card: values[i] for card, values in cards.items()})
        for i, name in enumerate(names)
    ]
    got = read_image(content(*hdus), DECALS)
    assert got.bands == ("g", "r", "z")
    assert_array_equal(got.pixels, CUBE[[1, 2, 0]])


def test_bands_beyond_the_survey_are_left_out():
    hdus = [image(CUBE[0] * i, f"IMAGE_{name}") for i, name in enumerate("ugriz")]
    got = read_image(content(*hdus), DECALS)
    assert got.bands == ("g", "r", "z")
    assert_array_equal(got.pixels, CUBE[:1] * np.array([1, 2, 4])[:, None, None])


def test_extensions_of_bands_have_masks_and_noise_of_their_own():
    hdus = []
    for i, name in enumerate("RGZ"):
        weight = np.full(MASK.shape, 1 / (0.1 + i) ** 2, np.float32)
        weight[i] = 0
        hdus += [image(weight, f"INVVAR_{name}"), image(CUBE[i], f"IMAGE_{name}")]
    got = read_image(content(*hdus), DECALS)
    expected = CUBE.copy()
    for i in range(3):
        expected[i, i] = np.nan
    assert_array_equal(got.pixels, expected[[1, 0, 2]])
    assert_allclose(got.noise, [1.1, 0.1, 2.1], rtol=1e-5)


def test_extensions_of_bands_keep_their_own_zeropoints_units_and_pixels():
    y, x = np.mgrid[:40, :44]
    hdus = []
    for name, unit, factor, dx in (
        ("g", {"BUNIT": "nanomaggy"}, 1.0, 0.0),
        ("r", {"MAGZERO": 25.0}, 10.0, 3.0),
        ("z", {"BUNIT": "uJy"}, 3.631, -2.0),
    ):
        blob = np.exp(-0.5 * ((x - 22 - dx) ** 2 + (y - 20) ** 2) / 3**2) * factor
        hdus.append(image(blob.astype(np.float32), name, **unit, **tan(x=22 + dx)))
    row = {"ra": 150.0, "dec": 2.0, "image": None}
    got = read_rows(content(*hdus), row)
    for plane in got.pixels:
        assert_allclose(plane[:, 5:38], got.pixels[0][:, 5:38], atol=4e-3)
    assert got.centre_xy == pytest.approx((22, 20), abs=1e-3)


def read_rows(data, row, survey=DECALS, folder=None):
    import pyarrow as pa

    return read_cutout(row, folder, survey, pa.scalar(data))


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        ([image(CUBE), image(CUBE)], r"holds 2 images and nothing says which .*\(extensions an un"),
        ([image(CUBE, "ONE"), image(CUBE, "TWO")], r"extensions ONE, TWO\); name the extension"),
        ([image(CUBE, "SCI"), image(CUBE, "SCI")], "nothing says which to use"),
        ([image(CUBE[0], "g"), image(CUBE[0], "G")], "nothing says which to use"),
        ([image(MASK, "MASK")], r"holds no science image, only MASK \(mask\)"),
        ([image(CUBE, "IVAR"), image(MASK, "DQ")], "only IVAR .inverse variance., DQ .mask."),
        ([fits.BinTableHDU.from_columns([])], "holds no image"),
        ([image(np.zeros(9, np.float32))], "holds no image"),
        ([image(CUBE, "SCI"), image(MASK[:9], "MASK")], "shape 1 x 9 x 44 but the image has 3 x"),
        ([image(np.stack([CUBE] * 2), "SCI")], "cube of bands but has shape 2 x 3 x 40 x 44"),
        ([image(CUBE, "SCI"), image(MASK * 0 + 1, "MASK")], "MASK masks 100% of the pixels"),
    ],
)
def test_what_nothing_tells_apart_is_refused_by_name(hdus, message):
    with pytest.raises(CutoutError, match=message):
        read_image(content(*hdus), DECALS)


@pytest.mark.parametrize(
    ("cards", "order"),
    [
        ({"BANDS": "griz"}, "griz"), ({"BANDS": "g,r,i,z"}, "griz"), ({"BANDS": "z i r g"}, "zirg"),
        ({"BANDS": "zirg"}, "zirg"), ({"BANDS": "DES-G;DES-R;DES-I;DES-Z"}, "griz"),
        ({f"BAND{i}": name for i, name in enumerate("zrgi")}, "zrgi"),
        ({f"BAND{i + 1}": name for i, name in enumerate("GRIZ")}, "griz"),
    ],
)  # fmt: skip
def test_cubes_of_more_bands_in_any_order(cards, order):
    """The planes of a survey's bands are kept, each under its own name."""
    planes = {name: CUBE[0] * (1 + i) for i, name in enumerate("griz")}
    data = content(image(np.stack([planes[name] for name in order]), "SCI", **cards))
    for survey in (DECALS, DES):
        got = read_image(data, survey)
        assert set(got.bands) == set("griz") & set(survey.band_names)
        for band, plane in zip(got.bands, got.pixels, strict=True):
            assert_array_equal(plane, planes[band])


def test_a_single_band_of_a_long_name_is_not_split():
    got = read_image(content(image(CUBE[0], BANDS="VIS")), get_survey("euclid-vis"))
    assert got.bands == ("VIS",)


@pytest.mark.parametrize(
    ("stated", "cards", "message"),
    [
        ("r,g,z", {"BANDS": "grz"}, r"table or file name says bands r, g, z but the header says g"),
        ("g,r,z", {"BANDS": "zrg"}, "correct one of them"),
    ],
)
def test_bands_that_contradict_the_header_are_refused(stated, cards, message):
    with pytest.raises(CutoutError, match=message):
        read_rows(content(image(CUBE, **cards)), {"bands": stated})
    agreed = read_rows(content(image(CUBE, **cards)), {"bands": ",".join(cards["BANDS"])})
    assert agreed.bands == tuple(cards["BANDS"])


def test_a_file_of_another_band_than_its_name_is_refused(tmp_path):
    for band, stated in (("g", "g"), ("r", "z"), ("z", "r")):
        (tmp_path / f"s_{band}.fits").write_bytes(content(image(CUBE[0], FILTER=stated)))
    with pytest.raises(CutoutError, match="says bands r but the header says z"):
        read_cutout({"cutout": "s_{band}.fits"}, tmp_path, DECALS)


def test_a_cube_without_names_of_another_number_of_planes_is_refused():
    with pytest.raises(CutoutError, match="has 3 planes but des has 5 bands"):
        read_image(content(image(CUBE)), DES)


@pytest.mark.parametrize(
    "shape", [(1, 3, 40, 44), (3, 1, 40, 44), (1, 3, 1, 40, 44), (1, 1, 40, 44)]
)
def test_axes_of_length_one_are_dropped(shape):
    survey = DECALS if 3 in shape else get_survey("euclid-vis")
    planes = CUBE[: int(np.prod(shape[:-2]))]
    assert_array_equal(read_image(content(image(planes.reshape(shape))), survey).pixels, planes)


def compress_tiles(data):
    with fits.open(io.BytesIO(data)) as hdus:
        packed = [
            fits.CompImageHDU(
                hdu.data, hdu.header, name=hdu.name, compression_type="GZIP_2", quantize_level=0
            )
            for hdu in hdus[1:]
        ]
        return content(*packed)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, compress_tiles,
                                  lambda data: gzip.compress(compress_tiles(data))])  # fmt: skip
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz", ".bz2"])
def test_compressed_files_are_read_by_content_not_by_name(tmp_path, pack, suffix):
    plain = content(image(CUBE, "SCI", BUNIT="uJy", **tan(scale=0.3)), image(MASK, "MASK"))
    (tmp_path / f"a{suffix}").write_bytes(pack(plain))
    row = {"ra": 150.0, "dec": 2.0}
    got, expected = (
        read_cutout({**row, "cutout": f"a{suffix}"}, tmp_path, DECALS), read_rows(plain, row)
    )  # fmt: skip
    assert_allclose(got.pixels, expected.pixels, rtol=1e-5)
    assert np.isnan(got.pixels[:, 6, 25]).all()
    assert got.pixel_scale_arcsec == pytest.approx(0.3)
    for cut in (len(pack(plain)) - 2880, 100, 40):
        (tmp_path / f"b{suffix}").write_bytes(pack(plain)[:cut])
        with pytest.raises(CutoutError, match=r"corrupt|not FITS"):
            read_cutout({**row, "cutout": f"b{suffix}"}, tmp_path, DECALS)


def test_mask_planes_of_lsst_mark_only_pixels_without_flux():
    planes = {"BAD": 0, "SAT": 1, "DETECTED": 5, "NO_DATA": 8, "INEXACT_PSF": 12, "SUSPECT": 30}
    cards = {f"HIERARCH MP_{name}": bit for name, bit in planes.items()}
    mask = np.zeros((40, 44), np.int32)
    for row, (name, bit) in enumerate(planes.items()):
        mask[row] = 1 << bit
        if name == "SUSPECT":
            mask[row] |= 1  # the lowest bit beside the highest: more than a float can hold
    variance = np.full((40, 44), 0.25, np.float32)
    hdus = [image(CUBE[0], "IMAGE", BUNIT="nJy"), image(mask, "MASK", **cards),
            image(variance, "VARIANCE")]  # fmt: skip
    got = read_rows(content(*hdus), {"bands": "r"}, RUBIN)
    lost = np.isnan(got.pixels[0]).all(1)
    assert [bool(lost[i]) for i in range(7)] == [True, True, False, True, False, True, False]
    assert got.noise == pytest.approx((0.5,))


@pytest.mark.parametrize("card", ["EXTNAME", "IMAGETYP"])
def test_planes_of_the_legacy_surveys_viewer(card):
    """It writes the image, its inverse variance and its maskbits, told apart by IMAGETYP."""
    bits = np.zeros((40, 44), np.int16)
    bits[:4, 0] = 1 << 0, 1 << 3, 1 << 7, 1 << 11  # not primary, saturated, no data, medium star
    weight = np.full(CUBE.shape, 1 / np.array([0.1, 0.2, 0.4])[:, None, None] ** 2, np.float32)
    weight[1, 10] = 0
    hdus = [image(weight, **{card: "INVVAR"}), image(bits, **{card: "MASKBITS"})]
    got = read_image(
        content(*hdus, primary=first(image(CUBE, BANDS="grz", **{card: "IMAGE"}))), DECALS
    )
    expected = CUBE.copy()
    expected[:, 1:3, 0], expected[1, 10] = np.nan, np.nan
    assert_array_equal(got.pixels, expected)
    assert_allclose(got.noise, (0.1, 0.2, 0.4), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "plane"), [("SIGMA", 0.3), ("RMS", 0.3), ("ERR", 0.3), ("VARIANCE", 0.09),
                        ("IVAR", 1 / 0.09), ("VAR_R", 0.09)]
)  # fmt: skip
def test_stated_noise_is_calibrated_as_the_image(name, plane):
    noise = np.full((40, 44), plane, np.float32)
    noise[0, 0] = np.nan
    data = content(image(CUBE[0], "SCI", BUNIT="uJy"), image(noise, name))
    got = read_rows(data, {"bands": "r"})
    assert got.noise == pytest.approx((0.3 / 3.631,), rel=1e-3)
    assert np.isnan(got.pixels[0, 0, 0]) and np.isfinite(got.pixels[0, 0, 1:]).all()
    assert_allclose(got.pixels[0, 1:], CUBE[0, 1:] / 3.631, rtol=1e-3)


def test_weights_mark_missing_pixels_and_state_no_noise():
    got = read_image(content(image(CUBE, "SCI"), image(1.0 - MASK, "WHT")), DECALS)
    assert got.noise is None
    assert_array_equal(np.isnan(got.pixels[0]), MASK == 1)


def test_noise_of_bands_on_other_pixels_is_that_of_independent_pixels(tmp_path):
    """Aperture noise is σ √(area / pixel area) on either grid."""
    for band, scale, sigma in (("g", 0.4, 1.0), ("r", 0.2, 0.25)):
        hdus = [image(CUBE[0], "SCI", **tan(scale)), image(CUBE[0] * 0 + sigma, "RMS")]
        (tmp_path / f"s_{band}.fits").write_bytes(content(*hdus))
    row = {"ra": 150.0, "dec": 2.0, "cutout": "s_{band}.fits"}
    got = read_cutout(row, tmp_path, HSC)
    assert got.pixel_scale_arcsec == pytest.approx(0.4)
    assert got.noise == pytest.approx((1.0, 0.25 * 2), rel=1e-4)


def test_an_empty_primary_lends_its_cards_and_one_with_pixels_does_not():
    lent = fits.PrimaryHDU(header=fits.Header({"MAGZERO": 25.0, **tan(scale=0.5)}))
    got = read_image(content(image(CUBE, "SCI"), primary=lent), DECALS)
    assert_allclose(got.pixels, CUBE * 0.1, rtol=1e-5)
    assert got.pixel_scale_arcsec == pytest.approx(0.5)
    own = read_image(content(image(CUBE, "SCI", **tan(scale=0.3)), primary=lent), DECALS)
    assert own.pixel_scale_arcsec == pytest.approx(0.3)
    mask = fits.PrimaryHDU(MASK, fits.Header({"EXTNAME": "MASK", "MAGZERO": 25.0, "BUNIT": "bit"}))
    assert_array_equal(
        read_image(content(image(CUBE, "SCI"), primary=mask), DECALS).pixels[0, 20:], CUBE[0, 20:]
    )


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_pixels_of_every_type(dtype):
    values = np.arange(40 * 44).reshape(40, 44).astype(dtype)
    got = read_rows(content(image(values)), {"bands": "r"}, DES)
    assert_array_equal(got.pixels[0], values.astype(np.float32))
    if values.dtype.kind == "f":
        return
    with pytest.raises(CutoutError, match=r"integers without BUNIT .* not flux in nanomaggy"):
        read_rows(content(image(values)), {"bands": "r"})
    for cards in ({"BUNIT": "nanomaggy"}, {"MAGZERO": 22.5}):
        got = read_rows(content(image(values, **cards)), {"bands": "r"})
        assert_array_equal(got.pixels[0], values.astype(np.float32))


def test_files_cut_off_anywhere_are_refused():
    data = content(image(CUBE, "SCI"), image(MASK, "MASK"))
    ends = {*range(1, len(data), 1500)} - {*range(len(data) - 2880, len(data))}
    read = []
    for end in sorted(ends):
        try:
            read.append((end, read_image(data[:end], DECALS)))
        except CutoutError as error:
            assert re.search("corrupt|no image|not a readable", str(error))
    assert not read


def test_bytes_behind_the_file_are_harmless():
    data = content(primary=first(image(CUBE)))
    for other in (data, data + b"\0" * 5000, data + b"\n"):
        assert_array_equal(read_image(other, DECALS).pixels, CUBE)

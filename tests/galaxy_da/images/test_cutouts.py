import io

import h5py
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.images.cutouts import Cutout, read_cutout, read_cutouts, read_image
from galaxy_da.surveys import get_survey

DECALS, SDSS, HSC, PS1 = (get_survey(name) for name in ("decals", "sdss", "hsc", "ps1"))
CUBE = np.random.default_rng(0).normal(size=(3, 20, 24)).astype(np.float32)


def tan_header(ra=150.0, dec=2.0, scale=0.262, x=12.0, y=10.0, angle=0.0, mirror=1, **cards):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [x + 1, y + 1]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-mirror * c, s], [mirror * s, c]]) * scale / 3600
    header = wcs.to_header()
    header.update(cards)
    return header


def fits_bytes(pixels, header=None):
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(buffer)
    return buffer.getvalue()


def jpeg_bytes(pixels, kind="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def row(**values):
    return {"ra": 150.0, "dec": 2.0, **values}


def test_fits_cube_takes_bands_scale_and_centre_from_its_header(tmp_path):
    header = tan_header(scale=0.4, x=3.25, y=7.5, BANDS="grz")
    (tmp_path / "a.fits").write_bytes(fits_bytes(CUBE, header))
    cutout = read_cutout(row(cutout="a.fits", pixel_scale_arcsec=9.0), tmp_path, DECALS)
    assert cutout.bands == ("g", "r", "z")
    assert cutout.pixel_scale_arcsec == pytest.approx(0.4)
    assert cutout.centre_xy == pytest.approx((3.25, 7.5), abs=1e-4)
    np.testing.assert_array_equal(cutout.pixels, CUBE)


def test_pixel_scale_order_is_wcs_then_table_then_survey(tmp_path):
    (tmp_path / "a.fits").write_bytes(fits_bytes(CUBE))
    assert read_cutout(row(cutout="a.fits"), tmp_path, DECALS).pixel_scale_arcsec == 0.262
    cutout = read_cutout(row(cutout="a.fits", pixel_scale_arcsec=0.5), tmp_path, DECALS)
    assert cutout.pixel_scale_arcsec == 0.5
    assert cutout.centre_xy == (11.5, 9.5)


@pytest.mark.parametrize(("angle", "mirror"), [(30.0, 1), (90.0, 1), (0.0, -1), (200.0, -1)])
def test_rotated_and_mirrored_stamps_become_north_up_east_left(tmp_path, angle, mirror):
    header = tan_header(angle=angle, mirror=mirror, x=30.0, y=32.0)
    sky = WCS(header)
    y, x = np.mgrid[:64, :64]
    ra, dec = sky.pixel_to_world_values(x, y)
    east, north = (ra - 150) * np.cos(np.radians(2)) * 3600, (dec - 2) * 3600
    blob = np.exp(-0.5 * ((east - 2) ** 2 + (north - 1) ** 2) / 0.8**2).astype(np.float32)
    (tmp_path / "a.fits").write_bytes(fits_bytes(np.stack([blob] * 3), header))
    cutout = read_cutout(row(cutout="a.fits"), tmp_path, DECALS)
    plane = np.nan_to_num(cutout.pixels[0])
    at_y, at_x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    got_x, got_y = (plane * at_x).sum() / plane.sum(), (plane * at_y).sum() / plane.sum()
    assert got_x == pytest.approx(cutout.centre_xy[0] - 2 / 0.262, abs=0.1)
    assert got_y == pytest.approx(cutout.centre_xy[1] + 1 / 0.262, abs=0.1)
    assert plane.sum() == pytest.approx(blob.sum(), rel=0.01)


def test_band_files_on_shifted_grids_are_aligned(tmp_path):
    grid = np.arange(60)
    for band, shift in (("g", 0.0), ("r", 2.5), ("z", -1.0)):
        x = grid - (30 + shift)
        blob = np.exp(-0.5 * (x[None] ** 2 + (grid - 30.0)[:, None] ** 2) / 4**2)
        header = tan_header(x=30 + shift, y=30)
        (tmp_path / f"s_{band}.fits").write_bytes(fits_bytes(blob.astype(np.float32), header))
    cutout = read_cutout(row(cutout="s_{band}.fits"), tmp_path, DECALS)
    assert cutout.bands == ("g", "r", "z")
    np.testing.assert_allclose(cutout.pixels[1, :, :57], cutout.pixels[0, :, :57], atol=0.01)
    assert np.isnan(cutout.pixels[1, :, 58:]).all()
    np.testing.assert_allclose(cutout.pixels[2, :, 2:], cutout.pixels[0, :, 2:], atol=1e-3)


def test_band_files_that_exist_or_are_named_are_read(tmp_path):
    for band in "gr":
        (tmp_path / f"s_{band}.fits").write_bytes(fits_bytes(CUBE[0]))
    uri = "s_{band}.fits"
    assert read_cutout(row(cutout=uri), tmp_path, DECALS).bands == ("g", "r")
    assert read_cutout(row(cutout=uri, bands="r"), tmp_path, DECALS).bands == ("r",)
    with pytest.raises(CutoutError, match=r"s_z\.fits: No such file"):
        read_cutout(row(cutout=uri, bands="r,z"), tmp_path, DECALS)


def test_counts_are_divided_by_the_exposure_time(tmp_path):
    (tmp_path / "p.fits").write_bytes(fits_bytes(CUBE[0] * 860, fits.Header({"EXPTIME": 860.0})))
    cutout = read_cutout(row(cutout="p.fits", bands="g"), tmp_path, PS1)
    np.testing.assert_allclose(cutout.pixels[0], CUBE[0], rtol=1e-5)
    (tmp_path / "q.fits").write_bytes(fits_bytes(CUBE[0]))
    with pytest.raises(CutoutError, match="exposure time in card EXPTIME but it is missing"):
        read_cutout(row(cutout="q.fits", bands="g"), tmp_path, PS1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_colour_images_keep_their_pixels(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    data = jpeg_bytes(pixels, kind)
    (tmp_path / "a.img").write_bytes(data)
    cutout = read_image(tmp_path / "a.img", SDSS)
    assert cutout.stretch and cutout.bands == ("i", "r", "g")
    picture = np.moveaxis(cutout.pixels, 0, -1)[::-1]
    np.testing.assert_array_equal(picture, Image.open(io.BytesIO(data)))


def test_colour_needs_a_stretch(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(SurveyError, match=r"hsc: colour images .* cannot become fluxes"):
        read_image(tmp_path / "a.jpg", HSC)


@pytest.mark.parametrize("data", [fits_bytes(CUBE), jpeg_bytes(np.zeros((9, 9, 3), np.uint8))])
def test_the_psf_of_each_row_is_that_of_the_table(tmp_path, data):
    widths = [0.9, None, 0.0, float("nan"), float("inf")]
    table = pa.table({"image": [data] * 5, "psf_fwhm_arcsec": widths})
    first, second, *bad = read_cutouts(table, tmp_path, DECALS)
    assert first.psf_fwhm_arcsec == 0.9 and second.psf_fwhm_arcsec is None
    for error, width in zip(bad, widths[2:], strict=True):
        assert str(error).startswith(f"psf_fwhm_arcsec must be positive but is {width}")


def test_numpy_and_hdf5_rows(tmp_path):
    np.save(tmp_path / "c.npy", np.stack([CUBE, CUBE * 2]))
    got = read_cutout(row(cutout="c.npy#1"), tmp_path, DECALS)
    np.testing.assert_array_equal(got.pixels, CUBE * 2)
    images = np.random.default_rng(0).integers(0, 255, (2, 9, 9, 3)).astype(np.uint8)
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as file:
        file["images"] = images
    got = read_cutout(row(cutout="Galaxy10.h5#1"), tmp_path, DECALS)
    assert got.stretch
    np.testing.assert_array_equal(got.pixels, np.moveaxis(images[1, ::-1], -1, 0))
    with pytest.raises(CutoutError, match=r"c\.npy#7"):
        read_cutout(row(cutout="c.npy#7"), tmp_path, DECALS)
    with pytest.raises(CutoutError, match="name a row"):
        read_cutout(row(cutout="c.npy"), tmp_path, DECALS)


def nested(kind):
    bands = ["HSC-G", "HSC-R", "HSC-Z"]
    flux = CUBE.tolist()
    if kind == "struct of lists":
        return pa.array([{"band": bands, "flux": flux, "scale": [0.168] * 3}])
    return pa.array(
        [[{"band": b, "flux": f, "scale": 0.168} for b, f in zip(bands, flux, strict=True)]]
    )


@pytest.mark.parametrize("kind", ["struct of lists", "list of structs"])
def test_nested_bands_as_in_the_multimodal_universe(tmp_path, kind):
    table = pa.table({"ra": [1.0], "dec": [1.0], "image": nested(kind)})
    (got,) = read_cutouts(table, tmp_path, HSC)
    assert isinstance(got, Cutout)
    assert got.bands == ("g", "r", "z") and got.pixel_scale_arcsec == 0.168
    np.testing.assert_allclose(got.pixels, CUBE)


def test_hugging_face_and_plain_bytes(tmp_path):
    data = fits_bytes(CUBE)
    table = pa.table({"ra": [1.0], "dec": [1.0], "image": [{"bytes": data, "path": "x"}]})
    np.testing.assert_array_equal(read_cutouts(table, tmp_path, DECALS)[0].pixels, CUBE)
    table = pa.table({"ra": [1.0] * 3, "dec": [1.0] * 3, "image": [data, None, b""]})
    good, missing, empty = read_cutouts(table, tmp_path, DECALS)
    np.testing.assert_array_equal(good.pixels, CUBE)
    assert missing.status == empty.status == "no_data"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (fits_bytes(CUBE)[:4000], "corrupt or truncated FITS"),
        (fits_bytes(CUBE)[:1500], "corrupt or truncated FITS|holds no image"),
        (b"SIMPLE  = nonsense", "corrupt or truncated FITS|holds no image"),
        (jpeg_bytes(np.zeros((64, 64, 3), np.uint8))[:300], "not a readable"),
        (b"hello", "not a readable FITS, JPEG or PNG"),
        (jpeg_bytes(np.zeros((8, 8), np.uint8)), "mode 'L' is not red, green and blue"),
        (fits_bytes(CUBE[:2]), "has 2 planes but decals has 3 bands"),
        (
            fits_bytes(CUBE, fits.Header({"BANDS": "uiy"})),
            "none of the bands 'u', 'i', 'y' is in decals",
        ),
        (
            fits_bytes(CUBE, fits.Header({"BANDS": "gr"})),
            "has 3 planes but is said to hold bands g, r",
        ),
        (
            fits_bytes(CUBE, fits.Header({"BUNIT": "adu"})),
            "BUNIT says 'adu' but decals is defined in",
        ),
        (fits_bytes(CUBE, tan_header(x=500)), r"lies at pixel \(500, 10\) of a 24 x 20 stamp"),
        (fits_bytes(None), "holds no image"),
    ],
)
def test_bad_images_give_one_clear_line(tmp_path, data, message):
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(CutoutError, match=message):
        read_cutout(row(cutout="bad"), tmp_path, DECALS)


@pytest.mark.parametrize("band", ["g", "r", "i", "z"])
def test_files_of_pan_starrs_name_their_band(band, data):
    cutout = read_image(data / "des_ps1_sdss_fits" / f"PS1_{band}.fits", get_survey("ps1"))
    assert cutout.bands == (band,)

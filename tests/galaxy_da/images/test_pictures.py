"""Pictures of every mode and arrays of every layout: their colours, or a refusal by name."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_cutout, read_cutouts, read_image
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.surveys import get_survey

DECALS, SDSS, DES = (get_survey(name) for name in ("decals", "sdss", "des"))
RGB = np.random.default_rng(1).integers(1, 250, (24, 32, 3)).astype(np.uint8)
UPRIGHT = np.moveaxis(RGB[::-1], -1, 0)
"""Planes of the picture, its last row first, as in FITS."""


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def saved(tmp_path, array, name="a.npy", **row):
    np.save(tmp_path / name, array)
    return read_cutout({"cutout": name, **row}, tmp_path, SDSS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "TGA"])
def test_colour_pictures_of_any_format(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    got = read_image(encoded(Image.fromarray(RGB), kind, **options), SDSS)
    assert got.bands == ("i", "r", "g") and got.missing is None
    assert_array_equal(got.pixels, UPRIGHT)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20}]
)
def test_jpeg_pixels_are_those_of_pillow(options):
    data = encoded(Image.fromarray(RGB), "JPEG", **options)
    expected = np.moveaxis(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[::-1], -1, 0)
    assert_array_equal(read_image(data, SDSS).pixels, expected)


def test_damaged_jpeg_files_are_read_or_refused_as_by_pillow():
    data, rng = encoded(Image.fromarray(RGB), "JPEG"), np.random.default_rng(0)
    read = 0
    for _ in range(60):
        damaged = bytearray(data)
        damaged[rng.integers(150, len(data) - 2)] = rng.integers(256)
        try:
            image = Image.open(io.BytesIO(damaged)).convert("RGB")
        except (OSError, ValueError, SyntaxError):
            with pytest.raises(CutoutError):
                read_image(bytes(damaged), SDSS)
            continue
        if np.ptp(np.asarray(image), axis=-1).max() > 2:  # a grey one is refused
            read += 1
            expected = np.moveaxis(np.asarray(image)[::-1], -1, 0)
            assert_array_equal(read_image(bytes(damaged), SDSS).pixels, expected)
    assert read > 20


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I", "I;16", "F", "CMYK", "YCbCr", "LAB"])
def test_other_modes_are_refused_by_name(mode):
    numbers = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
    if mode in numbers:
        image = Image.fromarray((RGB[..., 0] * 200.0).astype(numbers[mode]))
    else:
        image = Image.fromarray(RGB).convert("L" if mode == "LA" else "RGB").convert(mode)
    data = encoded(image, "PNG" if mode in ("L", "LA", "1", "I;16") else "TIFF")
    with Image.open(io.BytesIO(data)) as back:
        assert back.mode == mode
    with pytest.raises(CutoutError, match=f"mode {mode!r} is not red, green and blue"):
        read_image(data, SDSS)


def chunk(name, body):
    check = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + check


@pytest.mark.parametrize("factor", [257, 16, 1])
@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_sixteen_bit_colours_are_refused(kind, factor):
    """Written by hand: PIL writes none. Numbers of 12 bits would come out 16 times too dark."""
    wide = (RGB.astype(np.uint16) * factor).astype(">u2")
    data = b"P6 32 24 65535\n" + wide.tobytes()
    if kind == "PNG":
        rows = b"".join(b"\0" + row.tobytes() for row in wide)
        header = struct.pack(">IIBBBBB", 32, 24, 16, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(CutoutError, match="16 bits a colour"):
        read_image(data, SDSS)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_pictures_of_several_frames_are_refused(kind):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(CutoutError, match="a picture of 2 frames"):
        read_image(data, SDSS)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "JPEG", "array"])
def test_grey_pictures_in_colour_modes_are_refused(tmp_path, mode):
    grey = np.repeat(RGB[..., :1], 3, 2)
    with pytest.raises(CutoutError, match="a grey picture"):
        if mode == "array":
            saved(tmp_path, grey)
        elif mode == "JPEG":
            read_image(encoded(Image.fromarray(grey), "JPEG"), SDSS)
        elif mode == "P":
            read_image(encoded(Image.fromarray(grey[..., 0]).convert("P")), SDSS)
        else:
            read_image(encoded(Image.fromarray(grey).convert(mode)), SDSS)


@pytest.mark.parametrize("form", ["0..1", "-1..1", "0..255", "interpolated", "grey"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_colours_written_as_floats_are_no_flux(tmp_path, form, dtype):
    blurred = (RGB[1:].astype(float) + RGB[:-1]) / 510 * np.pi / 4
    values = {"0..1": RGB / 255, "-1..1": RGB / 127.5 - 1, "0..255": RGB, "interpolated": blurred,
              "grey": RGB[..., 0] / 255}[form]  # fmt: skip
    arrays = [values] if form in ("interpolated", "grey") else [values, np.moveaxis(values, -1, 0)]
    for array in arrays:
        with pytest.raises(CutoutError, match="are the colours of a picture"):
            saved(tmp_path, array.astype(dtype))
    if form != "interpolated":
        planes = arrays[-1].astype(dtype)
        fits.PrimaryHDU(planes).writeto(tmp_path / "a.fits")
        with pytest.raises(CutoutError, match="are the colours of a picture"):
            read_image(tmp_path / "a.fits", SDSS)
        fits.PrimaryHDU(planes, fits.Header({"BUNIT": "uJy"})).writeto(tmp_path / "b.fits")
        row = {"cutout": "b.fits", "bands": "gri"[: 1 if form == "grey" else 3]}
        assert_allclose(read_cutout(row, tmp_path, SDSS).pixels, planes.reshape(-1, 24, 32) / 3.631,
                        rtol=1e-3)  # fmt: skip


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e3])
def test_flux_is_not_taken_for_colours(tmp_path, factor):
    """Noise around the sky; a model without noise, bands first; counts of a camera."""
    y, x = np.mgrid[:24, :32]
    model = np.exp(-np.hypot(x - 16, y - 12) / 4) * np.ones((3, 1, 1)) * factor
    noisy = np.random.default_rng(0).normal(0.1, 0.05, (24, 32, 3)) * factor
    assert_allclose(saved(tmp_path, model, bands="gri").pixels, model)
    assert_allclose(saved(tmp_path, noisy, bands="gri").pixels, np.moveaxis(noisy, -1, 0))
    np.save(tmp_path / "counts.npy", RGB.astype(float)[..., [0] * 5])
    assert read_cutout({"cutout": "counts.npy"}, tmp_path, DES).pixels.max() > 200


@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_a_shape_that_fits_twice_is_refused(tmp_path, dtype):
    with pytest.raises(CutoutError, match="3 x 3 x 3"):
        saved(tmp_path, (RGB[:3, :3] * 1.3).astype(dtype), bands="gri")


def transparent(mode):
    """Return a picture whose upper left quarter is transparent."""
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[:12, :16] = 0
    if mode == "RGBA":
        return Image.fromarray(np.dstack([RGB, alpha]))
    if mode == "colour key":
        keyed = RGB.copy()
        keyed[:12, :16] = 255
        return Image.fromarray(keyed)
    indices = np.tile(np.arange(32, dtype=np.uint8), (24, 1)) + 1
    indices[:12, :16] = 0
    palette = Image.new("P", (32, 24))
    palette.putdata(indices.ravel().tolist())
    index = np.arange(256, dtype=np.uint8)
    palette.putpalette(np.stack([index, index[::-1], index // 2], 1).ravel().tobytes())
    return palette


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGBA", {}), ("colour key", {"transparency": (255, 255, 255)}), ("P", {"transparency": 0})],
)
def test_transparent_pixels_are_missing_data(mode, options):
    got = read_image(encoded(transparent(mode), **options), SDSS)
    lost = np.zeros(RGB.shape[:2], bool)
    lost[:12, :16] = True
    assert_array_equal(got.missing, lost[::-1])
    flux = to_surface_brightness([got], SDSS)[0].numpy()
    assert_array_equal(np.isnan(flux), np.broadcast_to(lost[::-1], flux.shape))
    if mode == "RGBA":
        assert_array_equal(got.pixels, UPRIGHT)


def test_a_palette_without_transparency_is_converted():
    image = Image.fromarray(RGB).quantize(64)
    got = read_image(encoded(image, "GIF"), SDSS)
    assert_array_equal(got.pixels, np.moveaxis(np.asarray(image.convert("RGB"))[::-1], -1, 0))
    assert got.missing is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_undone(orientation, kind):
    """EXIF 2.3, tag 0x0112: the transformation that stored the upright picture, inverted."""
    stored = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB), 7: np.rot90(RGB, 2).transpose(1, 0, 2), 8: np.rot90(RGB, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    difference = read_image(data, SDSS).pixels.astype(int) - UPRIGHT
    assert np.abs(difference).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("name", ["a.fits", "a.jpg", "a.txt", "a"])
def test_the_content_decides_not_the_extension(tmp_path, name):
    (tmp_path / name).write_bytes(encoded(Image.fromarray(RGB)))
    assert_array_equal(read_cutout({"cutout": name}, tmp_path, SDSS).pixels, UPRIGHT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_truncated_pictures_are_refused_without_an_address(kind):
    data = encoded(Image.fromarray(RGB), kind)
    for end in (1, 10, 40, len(data) // 2, len(data) - 30):
        with pytest.raises(CutoutError) as caught:
            read_image(data[:end], SDSS)
        assert "\n" not in str(caught.value) and " at 0x" not in str(caught.value)


def test_uint8_arrays_are_pictures_with_their_colours_first_or_last(tmp_path):
    assert_array_equal(saved(tmp_path, RGB).pixels, UPRIGHT)
    assert_array_equal(saved(tmp_path, np.moveaxis(RGB, -1, 0)).pixels, UPRIGHT)
    alpha = np.where(RGB[..., :1] > 60, 255, 0).astype(np.uint8)
    for array in (np.dstack([RGB, alpha]), np.moveaxis(np.dstack([RGB, alpha]), -1, 0)):
        got = saved(tmp_path, array)
        assert_array_equal(got.pixels, UPRIGHT)
        assert_array_equal(got.missing, alpha[::-1, :, 0] == 0)


@pytest.mark.parametrize(
    "shape", [(24, 32), (24, 32, 1), (24, 32, 2), (3, 32, 3), (4, 32, 3), (24, 0, 3), (3,), ()]
)
def test_uint8_arrays_that_are_no_colour_picture_are_refused(tmp_path, shape):
    with pytest.raises(CutoutError, match="are no colour picture"):
        saved(tmp_path, np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "i8", "b1", "c8", "S3", "M8[s]"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (3, 24, 32), (24, 32)])
def test_other_integers_are_neither_flux_nor_colour(tmp_path, dtype, shape):
    with pytest.raises(CutoutError, match=r"neither flux in nanomaggy nor 8-bit colour"):
        saved(tmp_path, np.zeros(shape, dtype))


def test_integers_are_counts_of_a_survey_of_counts(tmp_path):
    counts = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(np.uint16)
    np.save(tmp_path / "a.npy", counts)
    got = read_cutout({"cutout": "a.npy"}, tmp_path, DES)
    assert_array_equal(got.pixels, counts)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_flux_arrays_have_their_bands_first_or_last(tmp_path, dtype):
    flux = np.random.default_rng(0).normal(size=(3, 24, 32)).astype(dtype)
    for array in (flux, np.moveaxis(flux, 0, -1)):
        np.save(tmp_path / "a.npy", array)
        got = read_cutout({"cutout": "a.npy"}, tmp_path, DECALS)
        assert_array_equal(got.pixels, flux)
        assert got.bands == ("g", "r", "z")
    for shape in ((3, 24, 3), (0, 24, 32), (5, 24, 32), (24, 32)):
        np.save(tmp_path / "a.npy", np.zeros(shape, dtype))
        with pytest.raises(CutoutError, match=r"first or its last|cube of bands|planes"):
            read_cutout({"cutout": "a.npy"}, tmp_path, DECALS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_pixel_scale_that_is_no_size_refuses_its_row_alone(tmp_path, value):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RGB)))
    table = pa.table({"cutout": ["a.png"] * 3, "pixel_scale_arcsec": [0.4, value, None]})
    good, bad, default = read_cutouts(table, tmp_path, SDSS)
    assert good.pixel_scale_arcsec == 0.4 and default.pixel_scale_arcsec == 0.396
    assert str(bad).startswith(f"pixel_scale_arcsec must be positive but is {value}")


def test_an_inverse_variance_of_nested_images_masks_and_states_noise(tmp_path):
    flux = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
    weight = np.full(flux.shape, 4.0)
    weight[1] = 25.0
    weight[0, 2, 3] = 0.0
    images = [
        {"band": ["r", "g"], "flux": flux.tolist(), "ivar": weight.tolist(), "scale": [0.3] * 2}
    ]
    (got,) = read_cutouts(pa.table({"image": pa.array(images)}), tmp_path, DECALS)
    assert got.bands == ("r", "g") and got.pixel_scale_arcsec == 0.3
    assert_array_equal(got.pixels, np.where(weight > 0, flux, np.nan))
    assert got.noise == pytest.approx((0.5, 0.2))

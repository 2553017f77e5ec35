import io

import numpy as np
import pyarrow as pa
import pytest
from archives_sky import DEC, RA, assert_galaxy, fault_of, fits_bytes, read_back, sky, tan_wcs
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.archives.cache import Cache
from catalogs.archives.fetch import fetch
from catalogs.archives.mosaic import LocalMosaic
from galaxy_da.errors import CatalogError, CutoutError, SurveyError
from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import get_survey

WCS_300 = tan_wcs(RA + 0.002, DEC - 0.001, 0.2, 300, 280)
KIDS_PER_NMGY = 1e-9
DEFINITION = """
name = "mine"
title = "Mine"
pixel_scale_arcsec = 0.2
flux_unit = "nJy"
[[bands]]
name = "r"
wavelength_nm = 620
psf_fwhm_arcsec = 1
depth_mag = 24
"""


def write_mosaic(folder, bands="ugri", survey="kids", **cards):
    for band in bands:
        pixels = sky(WCS_300, 300, 280, band) * KIDS_PER_NMGY
        (folder / f"tile_{band}.fits").write_bytes(fits_bytes(pixels, WCS_300, **cards))
    return str(folder / "tile_{band}.fits")


@pytest.fixture
def tile(tmp_path):
    return write_mosaic(tmp_path)


def test_a_cutout_has_the_mosaics_pixels_in_every_band(tile, tmp_path):
    source = LocalMosaic(survey="kids", files=tile, side_arcsec=12.8)
    data = source.fetch(RA, DEC, None)
    cutout = read_back(data, "kids", tmp_path)
    assert cutout.bands == tuple("ugri") and cutout.pixel_scale_arcsec == pytest.approx(0.2)
    assert_galaxy(cutout, "kids")
    with fits.open(tile.format(band="r")) as hdus:
        position = WCS_300.world_to_pixel_values(RA, DEC)
        expected = Cutout2D(hdus[0].data, position, 64, WCS_300)
    np.testing.assert_array_equal(cutout.pixels[2], expected.data)
    np.testing.assert_allclose(
        cutout.centre_xy, expected.wcs.world_to_pixel_values(RA, DEC), atol=1e-6
    )


@pytest.mark.parametrize("photometric", [True, False])
def test_a_cutout_says_if_its_tile_is_not_photometric(photometric, tmp_path):
    files = write_mosaic(tmp_path, PHOTOMET=photometric)
    data = LocalMosaic(survey="kids", files=files).fetch(RA, DEC, None)
    assert read_back(data, "kids", tmp_path).photometric is photometric


@settings(max_examples=30, deadline=None)
@given(x=st.floats(-0.4, 299.4), y=st.floats(-0.4, 279.4), size=st.integers(1, 90))
def test_any_cut_agrees_with_astropys(x, y, size, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "mosaic"
    if not folder.exists():
        folder.mkdir()
        write_mosaic(folder, "r")
    files = str(folder / "tile_{band}.fits")
    ra, dec = (float(v) for v in WCS_300.pixel_to_world_values(x, y))
    source = LocalMosaic(survey="kids", files=files, side_arcsec=0.2 * size)
    with fits.open(files.format(band="r")) as hdus:
        xy = WCS_300.world_to_pixel_values(ra, dec)
        expected = Cutout2D(hdus[0].data, xy, size, WCS_300, mode="partial", fill_value=np.nan).data
    try:
        got = fits.getdata(io.BytesIO(source.fetch(ra, dec, None)))[0]
    except CutoutError as error:
        assert error.status == "no_data"
        assert len(np.unique(expected[np.isfinite(expected)])) <= 1
    else:
        np.testing.assert_array_equal(got, expected)


def test_positions_off_the_mosaic_are_outside_the_footprint(tile):
    source = LocalMosaic(survey="kids", files=tile)
    assert fault_of(source, None, RA + 0.1, DEC) == "outside_footprint"
    ra = np.array([RA, RA + 0.1, RA + 180, RA])
    dec = np.array([DEC, DEC, -DEC, -85.0])
    np.testing.assert_array_equal(source.covers(ra, dec), [True, False, False, False])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_hole_in_the_mosaic_is_no_data(value, tile):
    for band in "ugri":
        with fits.open(tile.format(band=band), mode="update") as hdus:
            hdus[0].data[:, :100] = value
    source = LocalMosaic(survey="kids", files=tile, side_arcsec=8.0)
    hole = (float(v) for v in WCS_300.pixel_to_world_values(50, 140))
    assert fault_of(source, None, *hole) == "no_data"
    assert source.fetch(RA, DEC, None)


@pytest.mark.parametrize("how", ["compressed", "scaled"])
def test_files_that_cannot_be_memory_mapped_are_read_by_section(how, tile, tmp_path):
    for band in "ugri":
        path = tile.format(band=band)
        with fits.open(path) as hdus:
            pixels, header = hdus[0].data.copy(), hdus[0].header.copy()
        if how == "compressed":
            hdu = fits.CompImageHDU(pixels, header, compression_type="GZIP_2", quantize_level=0)
        else:
            hdu = fits.PrimaryHDU(pixels, header)
            hdu.scale("int32", bscale=1e-16, bzero=1e-9)
        hdu.writeto(path, overwrite=True)
    data = LocalMosaic(survey="kids", files=tile, side_arcsec=12.8).fetch(RA, DEC, None)
    assert_galaxy(read_back(data, "kids", tmp_path), "kids")


def test_only_bands_with_a_file_are_cut(tmp_path):
    files = write_mosaic(tmp_path, "gr")
    source = LocalMosaic(survey="kids", files=files, side_arcsec=12.8)
    assert read_back(source.fetch(RA, DEC, None), "kids", tmp_path).bands == ("g", "r")


def test_identity_changes_with_the_files(tile, tmp_path):
    before = LocalMosaic(survey="kids", files=tile).identity()
    assert LocalMosaic(survey="kids", files=tile).identity() == before
    write_mosaic(tmp_path, "g", NOTE="again")
    assert LocalMosaic(survey="kids", files=tile).identity() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('flux_unit = "nJy"', 'flux_unit = "uJy"'),
        ("pixel_scale_arcsec = 0.2", "pixel_scale_arcsec = 0.3"),
        ('name = "r"', 'name = "g"'),
    ],
)
def test_cutouts_of_another_definition_are_not_used_again(old, new, tmp_path):
    survey, files = tmp_path / "mine.toml", write_mosaic(tmp_path, "gr")
    text = DEFINITION.replace("Mine", "Mine again")
    survey.write_text(text)
    rows = pa.table({"object_id": ["a"], "ra": [RA], "dec": [DEC]})
    cache = Cache(tmp_path / "cache.sqlite")

    def run(name):
        source = LocalMosaic(survey=str(survey), files=files, side_arcsec=12.8)
        return fetch(source, rows, tmp_path / name, cache=cache)

    assert run("out")["requested"] == 1
    survey.write_text(DEFINITION)  # the title decides no pixel
    assert run("out")["resumed"] == 1
    survey.write_text(DEFINITION.replace(old, new))
    with pytest.raises(CatalogError, match="differs in survey_definition"):
        run("out")
    again = run("again")
    assert (again["requested"], again["reused"]) == (1, 0)


def test_a_file_that_is_not_a_mosaic_is_named(tile, tmp_path):
    with pytest.raises(SurveyError, match="no such files; write"):
        LocalMosaic(survey="kids", files=str(tmp_path / "no_{band}.fits"))
    (tmp_path / "text_r.fits").write_text("not FITS")
    text = LocalMosaic(survey="kids", files=str(tmp_path / "text_{band}.fits"))
    with pytest.raises(SurveyError, match=r"text_r\.fits: cannot be read as a tile"):
        text.covers(np.zeros(1), np.zeros(1))
    fits.PrimaryHDU(np.ones((5, 5))).writeto(tmp_path / "bare_r.fits")
    bare = LocalMosaic(survey="kids", files=str(tmp_path / "bare_{band}.fits"))
    with pytest.raises(SurveyError, match="no celestial WCS"):
        bare.covers(np.zeros(1), np.zeros(1))
    with pytest.raises(SurveyError, match="unknown survey"):
        LocalMosaic(survey="nowhere", files=tile)
    with pytest.raises(ValueError, match="side_arcsec must be positive"):
        LocalMosaic(survey="kids", files=tile, side_arcsec=0)


@pytest.mark.parametrize(
    ("axes", "frame", "cards"),
    [
        (("GLON-TAN", "GLAT-TAN"), "galactic", {}),
        (("ELON-TAN", "ELAT-TAN"), "barycentricmeanecliptic", {"EQUINOX": 2000.0}),
        (("RA---TAN", "DEC--TAN"), "fk4", {"RADESYS": "FK4", "EQUINOX": 1950.0}),
        (("RA---TAN", "DEC--TAN"), FK5(equinox="J1975"), {"RADESYS": "FK5", "EQUINOX": 1975.0}),
        (("RA---TAN", "DEC--TAN"), "icrs", {"RADESYS": "ICRS"}),
        (("DEC--TAN", "RA---TAN"), "icrs", {"RADESYS": "ICRS"}),
    ],
)
def test_a_mosaic_in_any_frame_is_cut_at_the_galaxy(tmp_path, axes, frame, cards):
    own = SkyCoord(RA, DEC, unit="deg").transform_to(frame).spherical
    values, steps = [own.lon.deg, own.lat.deg], [-0.2 / 3600, 0.2 / 3600]
    if axes[0].startswith("DEC"):
        values, steps = values[::-1], steps[::-1]
    header = fits.Header(cards)
    for axis in (0, 1):
        header[f"CTYPE{axis + 1}"], header[f"CRVAL{axis + 1}"] = axes[axis], values[axis]
        header[f"CRPIX{axis + 1}"], header[f"CDELT{axis + 1}"] = (101.0, 131.0)[axis], steps[axis]
    pixels = np.random.default_rng(0).normal(size=(280, 300)).astype(np.float32)
    pixels[130, 100] = 1000.0
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "tile_r.fits")
    source = LocalMosaic(survey="kids", files=str(tmp_path / "tile_{band}.fits"), side_arcsec=13.0)
    cube = fits.getdata(io.BytesIO(source.fetch(RA, DEC, None)))
    assert np.unravel_index(cube[0].argmax(), (65, 65)) == (32, 32)


def test_masked_pixels_of_a_mosaic_are_missing(tmp_path):
    header = WCS_300.to_header()
    mask = np.zeros((280, 300), np.int32)
    x, y = (round(float(v)) for v in WCS_300.world_to_pixel_values(RA, DEC))
    mask[y + 5, x - 3] = 1
    pixels = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32)
    image = fits.ImageHDU(pixels, header, name="SCI")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(mask, header, name="MASK"), image]
    fits.HDUList(hdus).writeto(tmp_path / "tile_r.fits")
    source = LocalMosaic(survey="kids", files=str(tmp_path / "tile_{band}.fits"), side_arcsec=6.6)
    cube = fits.getdata(io.BytesIO(source.fetch(RA, DEC, None)))
    assert np.argwhere(np.isnan(cube[0])).tolist() == [[21, 13]]


@pytest.mark.parametrize("blank", [0, 77])
def test_blank_pixels_of_unsigned_integers_are_missing(tmp_path, blank):
    pixels = np.random.default_rng(0).integers(100, 900, (280, 300)).astype(np.uint16)
    pixels[140:150, 100:180] = blank
    hdu = fits.PrimaryHDU(pixels, WCS_300.to_header())
    hdu.header.update({"BLANK": blank - 2**15, "BUNIT": "uJy"})
    hdu.writeto(tmp_path / "tile_r.fits")
    source = LocalMosaic(survey="kids", files=str(tmp_path / "tile_{band}.fits"), side_arcsec=12.8)
    got = fits.getdata(io.BytesIO(source.fetch(RA, DEC, None)))[0]
    position = WCS_300.world_to_pixel_values(RA, DEC)
    expected = Cutout2D(pixels, position, 64, WCS_300).data
    assert (expected == blank).any()
    np.testing.assert_array_equal(np.isnan(got), expected == blank)


def test_the_noise_of_a_tile_goes_with_its_cutouts(tmp_path):
    """The features of fetched cutouts are those of `extract --mosaic`: same pixels, same noise."""
    pixels = np.random.default_rng(0).normal(size=(280, 300)).astype(np.float32)
    depth = np.linspace(1, 4, 300, dtype=np.float32) * np.ones((280, 1), np.float32)
    depth[150:160, 170:180] = 0
    image = fits.ImageHDU(pixels, WCS_300.to_header(), name="SCI")
    for band in "gr":
        hdus = [fits.PrimaryHDU(), image]
        hdus += [fits.ImageHDU(depth, name="VARIANCE")] if band == "g" else []
        fits.HDUList(hdus).writeto(tmp_path / f"tile_{band}.fits")
    files = str(tmp_path / "tile_{band}.fits")
    source = LocalMosaic(survey="kids", files=files, side_arcsec=20.0)
    fetched = read_back(source.fetch(RA, DEC, None), "kids", tmp_path)
    mosaic = Mosaic(files=files, survey=get_survey("kids"), side_arcsec=20.0)
    [cutout] = mosaic.cutouts(0, [{"ra": RA, "dec": DEC}])
    np.testing.assert_array_equal(fetched.pixels, cutout.pixels)
    assert np.isnan(cutout.pixels[0]).any() and np.isfinite(cutout.pixels[1]).all()
    np.testing.assert_allclose(fetched.noise, cutout.noise, rtol=1e-3)
    x = float(WCS_300.world_to_pixel_values(RA, DEC)[0])
    assert cutout.noise[0] ** 2 == pytest.approx(1 + 3 * x / 299, rel=0.02)


def test_many_tiles_are_cut_in_their_order(tmp_path):
    for number in range(3):
        wcs = tan_wcs(RA + 0.02 * number, DEC, 0.2, 300, 280)
        pixels = np.full((280, 300), number + 1.0, np.float32)
        pixels[0, 0] = 9
        fits.PrimaryHDU(pixels, wcs.to_header()).writeto(tmp_path / f"t{number}_r.fits")
    source = LocalMosaic(survey="kids", files=str(tmp_path / "*_{band}.fits"), side_arcsec=90.0)
    ra = RA + 0.02 * np.array([2, 0, 1, 0, 2])
    assert source.order(ra, np.full(5, DEC)).tolist() == [1, 3, 2, 0, 4]
    cube = fits.getdata(io.BytesIO(source.fetch(ra[0], DEC, None)))
    assert np.nanmedian(cube) == 3 and np.isnan(cube).any()

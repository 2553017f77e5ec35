"""Tiles whose bands, noise and neighbours differ in grid, unit, date and scale."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_image
from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import get_survey

SIDE, SIZE = 200, 20.2
ROW = {"ra": 150.0, "dec": 2.0}


def wcs_of(scale=0.262, ra=150.0, mirrored=False, side=SIDE):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, 2.0
    wcs.wcs.crpix = (side + 1) / 2, (side + 1) / 2
    wcs.wcs.cdelt = (scale if mirrored else -scale) / 3600, scale / 3600
    return wcs


def image(seed, side=SIDE):
    return np.random.default_rng(seed).normal(1, 0.1, (side, side)).astype(np.float32)


def write(folder, cards=lambda band: {}, name="t-0", bands="grz", survey="decals", **wcs):
    folder.mkdir(exist_ok=True)
    for band in bands:
        header = wcs_of(**wcs).to_header()
        header.update(cards(band))
        pixels = image(ord(band), wcs.get("side", SIDE))
        fits.PrimaryHDU(pixels, header).writeto(folder / f"{name}-{band}.fits")
    return Mosaic(
        files=str(folder / "t-*-{band}.fits"), survey=get_survey(survey), side_arcsec=SIZE
    )


def cut(mosaic, **row):
    [found] = mosaic.cutouts(0, [{**ROW, **row}])
    if isinstance(found, CutoutError):
        raise found
    return found


def test_bands_of_other_dates_share_a_grid(tmp_path):
    mosaic = write(tmp_path, lambda band: {"DATE-OBS": f"2014-0{'grz'.index(band) + 1}-01"})
    [sections] = mosaic.sections(0, [ROW])
    assert [section.bands for section in sections] == [("g", "r", "z")]


@pytest.mark.parametrize("photometric", [True, False])
def test_a_tile_may_say_that_it_is_not_photometric(tmp_path, photometric):
    mosaic = write(tmp_path, lambda band: {"PHOTOMET": photometric or band != "r"})
    assert cut(mosaic).photometric == photometric


def test_a_mirrored_corner_is_the_flipped_upright_one(tmp_path):
    mosaic = write(tmp_path, mirrored=True)
    ra, dec = (float(v) for v in wcs_of(mirrored=True).pixel_to_world_values(20, 15))
    found = cut(mosaic, ra=ra, dec=dec)
    side = round(SIZE / 0.262)
    x, y = 20 + side // 2, 15 + side // 2
    expected = image(ord("r"))[: y + 1, : x + 1][:, ::-1]
    own = found.pixels[1]
    assert np.abs(np.subtract(own.shape, expected.shape)).max() <= 1
    cx, cy = (round(v) for v in found.centre_xy)
    np.testing.assert_allclose(own[cy, cx], image(ord("r"))[15, 20], rtol=1e-3)
    np.testing.assert_allclose(own[cy, cx + 15], image(ord("r"))[15, 5], rtol=1e-3)
    np.testing.assert_allclose(own[cy, cx - 30], image(ord("r"))[15, 50], rtol=1e-3)


def test_the_farther_edge_is_measured_on_the_sky(tmp_path):
    write(tmp_path, name="t-fine", scale=0.1, side=400)  # the galaxy is 12 arcsec from its edge
    mosaic = write(tmp_path, name="t-wide", scale=0.4, ra=150 + 20 / 3600)
    ra = np.array([150 + 8 / 3600])
    [number] = mosaic.assign(ra, np.array([2.0]))
    assert "wide" in mosaic.tiles[number].first.name


def test_a_tile_with_more_bands_comes_first(tmp_path):
    write(tmp_path, name="t-a", bands="g")
    mosaic = write(tmp_path, name="t-b", ra=150 + 10 / 3600)
    [number] = mosaic.assign(np.array([150.0]), np.array([2.0]))
    assert len(mosaic.tiles[number].images) == 3


def test_a_zeropoint_beside_a_surface_brightness_is_that_of_the_tiles_pixels(tmp_path):
    area = (0.1 / 206264.806) ** 2  # steradian
    zeropoint = 8.9 - 2.5 * np.log10(1e6 * area)  # of MJy / sr
    mosaic = write(
        tmp_path,
        lambda band: {"BUNIT": "MJy/sr", "MAGZERO": zeropoint},
        survey="hsc",
        scale=0.1,
        side=401,
    )
    unit = get_survey("hsc").nanomaggy_per_unit
    expected = image(ord("g"), 401)[200, 200] * 10 ** (-0.4 * (zeropoint - 22.5)) / unit
    found = cut(mosaic)
    x, y = (round(v) for v in found.centre_xy)
    np.testing.assert_allclose(found.pixels[0, y, x], expected, rtol=1e-4)


def test_each_noise_plane_has_its_own_unit(tmp_path):
    header = wcs_of(scale=0.1).to_header()
    header.update({"BUNIT": "MJy/sr", "BAND0": "g", "BAND1": "r", "BAND2": "z"})
    cube = np.stack([image(band) for band in range(3)])
    hdus = [fits.PrimaryHDU(cube, header)]
    for band, unit in zip("GRZ", ("MJy/sr", "uJy", "MJy/sr"), strict=True):
        plane = fits.ImageHDU(np.full((SIDE, SIDE), 0.5, np.float32), name=f"SIGMA_{band}")
        plane.header["BUNIT"] = unit
        hdus.append(plane)
    path = tmp_path / "t-0.fits"
    fits.HDUList(hdus).writeto(path)
    survey = get_survey("hsc")
    mosaic = Mosaic(files=str(tmp_path / "t-*.fits"), survey=survey, side_arcsec=SIZE)
    plain = read_image(path, survey)
    np.testing.assert_allclose(cut(mosaic).noise, plain.noise, rtol=1e-5)


def test_planes_of_another_band_or_place_are_refused(tmp_path):
    mosaic = write(tmp_path)
    header = wcs_of().to_header()
    for band in "grz":
        plane = fits.ImageHDU(np.ones((SIDE, SIDE), np.float32), header, name="INVVAR")
        plane.header["FILTER"] = "r" if band == "g" else band
        fits.HDUList([fits.PrimaryHDU(), plane]).writeto(tmp_path / f"v-0-{band}.fits")
    options = {"files": mosaic.files, "survey": mosaic.survey, "side_arcsec": SIZE}
    named = Mosaic(**options, planes=(str(tmp_path / "v-*-{band}.fits"),))
    with pytest.raises(CutoutError, match="the file name says band g but the plane says r"):
        cut(named)
    for band in "grz":
        moved = fits.ImageHDU(np.ones((SIDE, SIDE), np.float32), header, name="INVVAR")
        moved.header["CRPIX1"] += 40
        fits.HDUList([fits.PrimaryHDU(), moved]).writeto(tmp_path / f"w-0-{band}.fits")
    with pytest.raises(CutoutError, match="INVVAR lies 40 pixels from the image"):
        cut(Mosaic(**options, planes=(str(tmp_path / "w-*-{band}.fits"),)))

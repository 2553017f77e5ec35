"""The order of bands is checked by the colours of the galaxies."""

from itertools import pairwise

import numpy as np
import pyarrow.csv as csv
import pytest
from astropy.io import fits
from folder_helpers import DECALS, IDS, SCALE, SIDE, N, assert_right, header, planes, write
from scipy.ndimage import gaussian_filter

from catalogs.datasets import write_sample
from catalogs.datasets.colour_check import check_colours, plausible_range
from galaxy_da.errors import CatalogError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.surveys import get_survey


@pytest.mark.parametrize("order", ["zrg", "rgz", "gzr"])
def test_planes_in_another_order_than_declared_are_refused(order, tmp_path, catalogue):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes(order, seed=i), header(i))
    images, out = tmp_path / "images", tmp_path / "sample.parquet"
    with pytest.raises(CatalogError, match=f"not those of galaxies.*order {','.join(order)};"):
        write_sample(images, out, "decals", catalog=catalogue, bands=DECALS)
    assert not out.exists()
    report = write_sample(images, out, "decals", catalog=catalogue, bands=tuple(order))
    assert report["rows"] == N and "warning" not in report
    assert_right(out, order)
    report = write_sample(
        images, out, "decals", catalog=catalogue, bands=DECALS, accept_colours=True
    )
    assert report["rows"] == N and "implausible" in report["warning"]


def test_bands_in_the_header_in_the_wrong_order_are_refused(tmp_path):
    for i in range(N):
        write(tmp_path / "images" / f"{IDS[i]}.fits", planes("zrg"), header(i, DECALS))
    with pytest.raises(CatalogError, match=r"g,r,z \(header\).*order z,r,g;"):
        write_sample(tmp_path / "images", tmp_path / "sample.parquet", "decals")
    report = write_sample(
        tmp_path / "images", tmp_path / "sample.parquet", "decals", bands=("z", "r", "g")
    )
    assert report["rows"] == 0
    assert "header says bands g, r, z but z, r, g are declared" in next(iter(report["refused"]))


def test_plausible_ranges_hold_real_galaxies_in_nine_bands(data):
    """Measure KiDS and VIKING galaxies by photutils, and compare with the ranges."""
    photutils = pytest.importorskip("photutils.aperture")
    folder = data / "kids_viking_field"
    rows = csv.read_csv(folder / "galaxies.csv")
    xy = np.stack([rows["x_px"].to_numpy(), rows["y_px"].to_numpy()], axis=1)
    nm = {"u": 355, "g": 477, "r": 623, "i": 763, "Z": 878, "Y": 1021, "J": 1254, "H": 1646,
          "Ks": 2149}  # fmt: skip
    magnitudes = {}
    for band in nm:
        with fits.open(folder / f"{band}.fits.fz") as hdus:
            pixels = np.asarray(hdus[-1].data, float)
        pixels -= np.median(pixels[np.isfinite(pixels)])
        apertures = photutils.CircularAperture(xy, 2 / 0.339)
        flux = photutils.aperture_photometry(pixels, apertures)["aperture_sum"]
        zeropoint = 0 if band in "ugri" else 30
        magnitudes[band] = zeropoint - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    names = list(nm)
    for blue, red in pairwise(names):
        low, high = plausible_range(nm[blue], nm[red])
        q16, q84 = np.nanpercentile(magnitudes[blue] - magnitudes[red], (16, 84))
        assert low < q16 < q84 < high
    low, high = plausible_range(nm["g"], nm["r"])
    assert low > -np.nanmedian(magnitudes["g"] - magnitudes["r"])  # reversed planes are outside


def test_seeing_and_sky_do_not_make_colours_implausible():
    rng = np.random.default_rng(2)
    cutouts = []
    for i in range(8):
        blurred = [gaussian_filter(p, s) for p, s in zip(planes(seed=i), (2.5, 2, 1), strict=True)]
        sky = rng.uniform(0, 0.5, (3, 1, 1))
        cutouts.append(
            Cutout(pixels=(np.array(blurred) + sky).astype(np.float32), bands=DECALS,
                   pixel_scale_arcsec=SCALE, centre_xy=((SIDE - 1) / 2,) * 2)
        )  # fmt: skip
    check = check_colours(cutouts, get_survey("decals"))
    assert check.is_plausible and check.colours["r-z"].galaxies == 8
    reverse = [Cutout(pixels=c.pixels[::-1], bands=DECALS, pixel_scale_arcsec=SCALE,
                      centre_xy=c.centre_xy) for c in cutouts]  # fmt: skip
    assert check_colours(reverse, get_survey("decals")).better[0] == ("z", "r", "g")


def test_real_planes_in_reversed_order_are_refused(tmp_path, data):
    for path in sorted((data / "decals_fits").glob("*.fits")):
        if "incomplete" not in path.name:
            with fits.open(path) as hdus:
                head = hdus[0].header
                for card in ("BANDS", "BAND0", "BAND1", "BAND2"):
                    head.remove(card, ignore_missing=True)
                write(tmp_path / "images" / path.name, hdus[0].data[::-1], head)
    images, out = tmp_path / "images", tmp_path / "s.parquet"
    with pytest.raises(CatalogError, match=r"g-r = -0\.\d+ .*order z,r,g;"):
        write_sample(images, out, "decals", bands=DECALS)
    report = write_sample(images, out, "decals", bands=("z", "r", "g"))
    straight = write_sample(data / "decals_fits", tmp_path / "t.parquet", "decals")
    assert report["colours"] == straight["colours"]


def test_one_galaxy_is_enough_to_find_reversed_planes(tmp_path):
    write(tmp_path / "images" / "one.fits", planes("zrg"), header(0, DECALS))
    with pytest.raises(CatalogError, match="order z,r,g;"):
        write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")


def test_colours_that_no_order_explains_are_told(tmp_path):
    for i in range(N):
        pixels = planes(seed=i) * np.float32([100, 1, 100])[:, None, None]
        write(tmp_path / "images" / f"{i}.fits", pixels, header(i, DECALS))
    report = write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")
    assert report["rows"] == N
    assert "implausible colours, check units and zeropoints: g-r = -4.2" in report["warning"]
    for i in range(N):
        fits.PrimaryHDU(planes(seed=i) * 0, header(i, DECALS)).writeto(
            tmp_path / "images" / f"{i}.fits", overwrite=True
        )
    report = write_sample(tmp_path / "images", tmp_path / "s.parquet", "decals")
    assert report["warning"] == f"none of {N} galaxies is bright enough to check colours"

import io
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutout, read_image
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.io.samples import Flag
from galaxy_da.surveys import Survey, get_survey

FRAME, WIDE = Frame(), Frame(wide_pixel_scale_arcsec=2.096)
DECALS, SDSS, HSC, VIS = (get_survey(name) for name in ("decals", "sdss", "hsc", "euclid-vis"))


def sersic1(survey, scale, side, bands, mag=17.0, radius=3.0, shift=(0.0, 0.0)):
    """An exponential disc of known magnitude, pixel-integrated by fine sampling."""
    fine = 8
    grid = ((np.arange(side * fine) + 0.5) / fine - side / 2) * scale
    r = np.hypot(grid[None] - shift[0] * scale, grid[:, None] - shift[1] * scale)
    h = radius / 1.678
    profile = np.exp(-r / h) / (2 * np.pi * h**2) * (scale / fine) ** 2
    counts = profile.reshape(side, fine, side, fine).sum((1, 3))
    flux = 10 ** ((survey.zeropoint_mag - mag) / 2.5)
    pixels = np.repeat((counts * flux)[None], len(bands), 0).astype(np.float32)
    middle = (side - 1) / 2
    return Cutout(
        pixels=pixels,
        bands=bands,
        pixel_scale_arcsec=scale,
        centre_xy=(middle + shift[0], middle + shift[1]),
    )


def brightness(cutout, survey, bands=("g", "r", "z")):
    prepared = prepare([cutout], survey, FRAME, bands)
    softening = torch.tensor([FRAME.softening_at(survey.band(b).wavelength_nm) for b in bands])
    return torch.sinh(prepared.images[0]) * softening[:, None, None]


def test_total_flux_has_the_input_magnitude():
    for survey, scale, side in ((DECALS, 0.262, 200), (HSC, 0.168, 300), (SDSS, 0.396, 130)):
        total = brightness(sersic1(survey, scale, side, ("g", "r", "z")), survey).sum((1, 2))
        magnitude = 22.5 - 2.5 * torch.log10(total * FRAME.pixel_scale_arcsec**2)
        torch.testing.assert_close(magnitude, torch.full((3,), 17.0), rtol=0, atol=0.01)


def test_surface_brightness_agrees_between_hsc_and_decals_to_a_percent():
    ours = brightness(sersic1(DECALS, 0.262, 140, ("g", "r", "z")), DECALS)
    theirs = brightness(sersic1(HSC, 0.168, 220, ("g", "r", "z")), HSC)
    bright = ours > 0.01 * ours.amax()
    assert ((theirs / ours - 1).abs()[bright]).max() < 0.01


def test_off_centre_stamps_are_recentred():
    centred = brightness(sersic1(DECALS, 0.262, 200, ("g", "r", "z")), DECALS)
    shifted = sersic1(DECALS, 0.262, 200, ("g", "r", "z"), shift=(6.3, -4.6))
    bright = centred > 0.05 * centred.amax()
    assert ((brightness(shifted, DECALS) / centred - 1).abs()[bright]).max() < 0.02


def test_viewer_resampling_does_not_change_flux():
    """Values that the viewer serves at 0.524\" stay nanomaggies per 0.262\" pixel."""
    native = sersic1(DECALS, 0.262, 256, ("g", "r", "z"))
    pixels = native.pixels.reshape(3, 128, 2, 128, 2).mean((2, 4))
    served = Cutout(
        pixels=pixels, bands=native.bands, pixel_scale_arcsec=0.524, centre_xy=(63.5, 63.5)
    )
    torch.testing.assert_close(
        brightness(served, DECALS), brightness(native, DECALS), rtol=1e-3, atol=1e-5
    )


def test_inputs_are_not_modified_and_order_is_kept():
    a = sersic1(DECALS, 0.262, 140, ("g", "r", "z"))
    b = sersic1(DECALS, 0.3, 150, ("g", "r", "z"), mag=18)
    before = a.pixels.copy()
    batch = prepare([a, b, a], DECALS, FRAME, ("g", "r", "z"))
    alone = prepare([b], DECALS, FRAME, ("g", "r", "z"))
    np.testing.assert_array_equal(a.pixels, before)
    torch.testing.assert_close(batch.images[1], alone.images[0])
    torch.testing.assert_close(batch.images[0], batch.images[2])
    assert batch.flags.tolist() == [0, 0, 0]


def test_bands_are_assigned_by_wavelength():
    assert FRAME.assign(HSC, HSC.band_names) == ("g", "r", "z")
    assert FRAME.assign(SDSS, ("i", "r", "g")) == ("g", "r", "i")
    assert FRAME.assign(VIS, ("VIS",)) == (None, "VIS", None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(300, 2500), min_size=1, max_size=5))
def test_no_other_assignment_of_bands_is_nearer(wavelengths):
    """Try every assignment in turn."""
    survey = Survey(
        name="x", title="x", pixel_scale_arcsec=1, flux_unit="nanomaggy",
        bands=[
            {"name": f"b{i}", "wavelength_nm": nm, "psf_fwhm_arcsec": 1, "depth_mag": 20}
            for i, nm in enumerate(wavelengths)
        ],
    )  # fmt: skip
    chosen = FRAME.assign(survey, survey.band_names)
    used = [name for name in chosen if name is not None]
    assert len(used) == len(set(used)) == min(3, len(wavelengths))
    apart = np.log(np.array(FRAME.wavelengths_nm)[:, None] / np.array(wavelengths)) ** 2
    cost = sum(apart[i, int(name[1:])] for i, name in enumerate(chosen) if name is not None)
    have = range(len(wavelengths))
    every = (
        [apart[plane, band] for plane, band in zip(planes, bands, strict=True)]
        for planes in combinations(range(3), len(used))
        for bands in permutations(have, len(used))
    )
    assert cost <= min(map(sum, every)) + 1e-9


NAN_EDGE = Flag.NAN_PIXELS | Flag.PARTIAL_COVERAGE


def with_pixels(change):
    cutout = sersic1(DECALS, 0.262, 140, ("g", "r", "z"))
    pixels = cutout.pixels + np.random.default_rng(0).normal(0, 1e-3, cutout.pixels.shape)
    change(pixels)
    return Cutout(
        pixels=pixels.astype(np.float32), bands=("g", "r", "z"), pixel_scale_arcsec=0.262,
        centre_xy=cutout.centre_xy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "flag", "status"),
    [
        (lambda p: None, 0, None),
        (lambda p: p.__setitem__((0, 40, 40), np.nan), Flag.NAN_PIXELS, None),
        (lambda p: p.__setitem__((0, slice(70, None)), np.nan), NAN_EDGE, "failed_quality"),
        (lambda p: p.fill(np.nan), NAN_EDGE | Flag.BLANK_BAND, "no_data"),
        (lambda p: p.fill(0), Flag.BLANK_BAND | Flag.PARTIAL_COVERAGE, "no_data"),
        (lambda p: p.__setitem__(1, 0), Flag.BLANK_BAND | Flag.PARTIAL_COVERAGE, "failed_quality"),
        (lambda p: p.__setitem__(2, 7.0), Flag.BLANK_BAND, "failed_quality"),
        (lambda p: p.__setitem__((..., slice(0, 30)), 0), Flag.PARTIAL_COVERAGE, None),
        (lambda p: p.__setitem__((0, 30, 30), np.inf), Flag.NAN_PIXELS, None),
        (lambda p: p.__setitem__((0, 3, 3), np.inf), 0, None),  # outside the frame
    ],
)
def test_bad_pixels_become_flags(change, flag, status):
    prepared = prepare([with_pixels(change)], DECALS, FRAME, ("g", "r", "z"))
    assert Flag(int(prepared.flags[0])) == Flag(flag)
    assert (prepared.problems[0] or (None,))[0] == status
    assert torch.isfinite(prepared.images).all()


def test_a_cutout_does_not_depend_on_its_batch():
    """Pixels beyond the frame of the first are inside that of the second, which is larger."""
    small = with_pixels(lambda p: p.__setitem__((0, slice(None), slice(0, 12)), np.nan))
    small = replace(small, pixel_scale_arcsec=0.32)
    batch = [small, with_pixels(lambda p: None)]
    both = prepare(batch, DECALS, WIDE, ("g", "r", "z"))
    for i, cutout in enumerate(batch):
        alone = prepare([cutout], DECALS, WIDE, ("g", "r", "z"))
        torch.testing.assert_close(both.images[i : i + 1], alone.images)
        assert both.flags[i] == alone.flags[0] == 0


def test_one_missing_pixel_hardly_changes_the_image():
    def lose(pixels):
        pixels[:, 75, 75] = np.nan

    whole = prepare([with_pixels(lambda p: None)], DECALS, FRAME, ("g", "r", "z")).images
    holed = prepare([with_pixels(lose)], DECALS, FRAME, ("g", "r", "z")).images
    assert (whole - holed).abs().max() < 0.05


def test_a_missing_band_is_named():
    prepared = prepare([sersic1(SDSS, 0.396, 90, ("g", "r"))], SDSS, FRAME, ("g", "r", "z"))
    assert prepared.problems == [("failed_quality", "band 'z' is missing; it has g, r")]


def test_small_stamps_and_substitutes_are_flagged():
    prepared = prepare([sersic1(SDSS, 0.396, 60, ("g", "r", "i"))], SDSS, FRAME, ("g", "r", "i"))
    assert Flag(int(prepared.flags[0])) == Flag.PARTIAL_COVERAGE | Flag.SUBSTITUTED_BAND


def block_means(plane, factor, pixels=64):
    """Mean of the finite pixels of each block about the middle, NaN where most are missing."""
    pad = (factor * pixels - len(plane)) // 2
    wide = np.pad(plane, max(pad, 0), constant_values=np.nan)
    wide = wide[-min(pad, 0) : len(wide) + min(pad, 0)][:, -min(pad, 0) : len(wide) + min(pad, 0)]
    blocks = wide.reshape(pixels, factor, pixels, factor).astype(float)
    good = np.isfinite(blocks)
    total = np.where(good, blocks, 0).sum((1, 3))
    share = good.mean((1, 3))
    return np.where(share >= 0.5, total / (factor**2 * np.maximum(share, 1e-9)), np.nan)


def test_both_grids_and_their_coverage_are_means_of_the_pixels_with_data():
    """The stamp ends within the wide grid; some pixels of each band are masked."""
    draw = np.random.default_rng(3)
    pixels = draw.uniform(0.1, 2, (3, 140, 140)).astype(np.float32)
    pixels[draw.uniform(size=pixels.shape) < 0.05] = np.nan
    pixels[1, 60:64, 60:64] = np.nan
    stamp = Cutout(
        pixels=pixels, bands=("g", "r", "z"), pixel_scale_arcsec=0.262, centre_xy=(69.5, 69.5)
    )
    made = prepare([stamp], DECALS, WIDE, ("g", "r", "z")).images[0].numpy()
    assert made.shape == (8, 64, 64)
    for number, factor in enumerate((2, 8)):
        means = np.stack([block_means(plane, factor) for plane in pixels])
        softening = np.array(WIDE.softening)[:, None, None]
        expected = np.arcsinh(means / 0.262**2 / softening)
        np.testing.assert_allclose(
            made[3 * number : 3 * number + 3], np.nan_to_num(expected), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_array_equal(made[6 + number], np.isfinite(means).all(0))
    assert 0 < made[7].mean() < 0.1 < 0.9 < made[6].mean() < 1


def test_the_wide_grid_is_an_area_average_at_any_scale():
    """Compare with points on a fine grid within each pixel."""
    side, scale, fine = 130, 0.396, 12
    stamp = sersic1(SDSS, scale, side, ("g", "r", "z"), shift=(1.3, -2.2))
    made = prepare([stamp], SDSS, WIDE, ("g", "r", "z")).images[0]
    for number, pixel in enumerate(WIDE.scales_arcsec):
        offset = ((np.arange(64 * fine) + 0.5) / fine - 32) * pixel / scale
        column, row = (np.floor(offset + c + 0.5).astype(int) for c in stamp.centre_xy)
        inside = ((row >= 0) & (row < side))[:, None] & ((column >= 0) & (column < side))
        light = stamp.pixels[0][np.ix_(row.clip(0, side - 1), column.clip(0, side - 1))]
        blocks = np.where(inside, light, 0).reshape(64, fine, 64, fine).mean((1, 3))
        share = inside.reshape(64, fine, 64, fine).mean((1, 3))
        whole = share > 0.99
        brightness = np.sinh(made[3 * number].numpy()) * WIDE.softening_at(
            SDSS.bands[1].wavelength_nm
        )
        expected = blocks / scale**2 * SDSS.nanomaggy_per_unit
        np.testing.assert_allclose(brightness[whole], expected[whole], rtol=0.06, atol=2e-4)
        sure = np.abs(share - 0.5) > 0.1
        np.testing.assert_array_equal(made[6 + number].numpy()[sure], (share > 0.5)[sure])


def test_a_missing_band_is_dark_and_has_no_conditions():
    stamp = sersic1(SDSS, 0.396, 90, ("g", "r"))
    bands = WIDE.assign(SDSS, ("g", "r"))
    assert bands == ("g", "r", None)
    prepared = prepare([stamp], SDSS, WIDE, bands)
    assert prepared.problems == [None]
    assert (prepared.images[0, [2, 5]] == 0).all() and (prepared.images[0, [0, 1, 3, 4]] > 0).any()
    assert prepared.inputs.conditions[0, 10:15].tolist() == [-1, 0, 0, 0, 0]
    assert Flag(int(prepared.flags[0])) & Flag.SUBSTITUTED_BAND


def conditions(cutout, survey, frame=FRAME):
    """Conditions by band: present, PSF, depth, noise, wavelength; and those of the cutout."""
    made = prepare([cutout], survey, frame, frame.assign(survey, cutout.bands)).inputs.conditions[0]
    return made[:15].reshape(3, 5).numpy(), made[15:].numpy()


def test_conditions_are_those_of_the_definition():
    stamp = sersic1(HSC, 0.168, 220, ("g", "r", "z"))
    bands, cutout = conditions(stamp, HSC)
    for row, name, softening, nm in zip(
        bands, "grz", FRAME.softening, FRAME.wavelengths_nm, strict=True
    ):
        band = HSC.band(name)
        soft = np.interp(band.wavelength_nm, FRAME.wavelengths_nm, np.log(FRAME.softening))
        sigma = band.psf_fwhm_arcsec / 2.3548
        depth = 10 ** (0.4 * (22.5 - band.depth_mag)) / 5 / (np.sqrt(4 * np.pi) * sigma * 0.524)
        expected = [
            1,
            np.log(band.psf_fwhm_arcsec / 1.2) / 0.35,
            np.log(depth / np.exp(soft) / 0.3) / 1.2,
            np.log(band.wavelength_nm / nm) / 0.2,
        ]
        np.testing.assert_allclose(row[[0, 1, 2, 4]], expected, atol=1e-4)
        assert abs(np.exp(soft) / softening - 1) < 0.2
    np.testing.assert_allclose(cutout, [np.log(0.168 / 0.3) / 0.4, -1], atol=1e-5)


def test_the_psf_of_a_cutout_scales_that_of_every_band():
    stamp = sersic1(DECALS, 0.262, 140, ("g", "r", "z"))
    median, _ = conditions(stamp, DECALS)
    sharp, _ = conditions(replace(stamp, psf_fwhm_arcsec=0.9), DECALS)
    widths = 1.2 * np.exp(0.35 * sharp[:, 1])
    medians = [DECALS.band(name).psf_fwhm_arcsec for name in "grz"]
    np.testing.assert_allclose(widths, 0.9 * np.array(medians) / medians[1], rtol=1e-5)
    np.testing.assert_array_equal(np.delete(sharp, 1, 1), np.delete(median, 1, 1))


@pytest.mark.parametrize("side_arcsec", [40, 40.3])  # middle within a pixel, and between two
@pytest.mark.parametrize(("survey", "scale"), [(DECALS, 0.262), (SDSS, 0.396), (HSC, 0.168)])
def test_stated_noise_agrees_with_the_noise_that_the_image_shows(survey, scale, side_arcsec):
    """White noise: the file's number and the image's own measure are of one scale."""
    side = round(side_arcsec / scale)
    sigma = np.array([0.02, 0.03, 0.05]) * scale**2 / survey.nanomaggy_per_unit
    noise = np.random.default_rng(0).normal(0, 1, (3, side, side)) * sigma[:, None, None]
    stamp = sersic1(survey, scale, side, ("g", "r", "z"), mag=19)
    noisy = replace(stamp, pixels=(stamp.pixels + noise).astype(np.float32))
    shown, _ = conditions(noisy, survey)
    stated, _ = conditions(replace(noisy, noise=tuple(sigma)), survey)
    np.testing.assert_allclose(1.2 * stated[:, 3], 1.2 * shown[:, 3], atol=0.15)
    twice, _ = conditions(replace(noisy, noise=(2 * sigma[0], sigma[1], np.nan)), survey)
    np.testing.assert_allclose(
        twice[:, 3], [stated[0, 3] + np.log(2) / 1.2, stated[1, 3], shown[2, 3]], atol=1e-5
    )


def test_a_picture_says_so():
    pixels = np.full((3, 200, 200), 80, np.uint8)
    pixels[:, 90:110, 90:110] = 160
    picture = Cutout(
        pixels=pixels, bands=DECALS.stretch.planes, pixel_scale_arcsec=0.262,
        centre_xy=(99.5, 99.5), stretch=DECALS.stretch,
    )  # fmt: skip
    _, (_, flag) = conditions(picture, DECALS)
    assert flag == 1
    blurred, _ = conditions(replace(picture, psf_fwhm_arcsec=2.0), DECALS)
    assert blurred[1, 1] == pytest.approx(np.log(2.0 / 1.2) / 0.35)


def test_jpeg_and_fits_of_one_cutout_agree(data):
    """Make a JPEG from a real FITS cutout by the documented stretch, and prepare both."""
    names = ("temp_small__d331021", "example_a__ba79bb8", "example_e__a11c605")
    for name in names:
        path = data / "decals_fits" / f"{name}.fits"
        header = fits.getheader(path)
        position = {"ra": header["CRVAL1"], "dec": header["CRVAL2"], "cutout": path.name}
        cutout = read_cutout(position, path.parent, DECALS)
        flux = torch.from_numpy(cutout.pixels[[2, 1, 0]])
        colour = np.moveaxis(apply_stretch(flux, DECALS.stretch).numpy(), 0, -1)
        buffer = io.BytesIO()
        Image.fromarray(colour).save(buffer, "JPEG", quality=95)
        read = Cutout(
            pixels=np.moveaxis(np.asarray(Image.open(buffer)), -1, 0),  # not flipped either time
            bands=DECALS.stretch.planes,
            pixel_scale_arcsec=cutout.pixel_scale_arcsec,
            centre_xy=cutout.centre_xy,
            stretch=DECALS.stretch,
        )
        from_fits = prepare([cutout], DECALS, FRAME, ("g", "r", "z")).images
        from_jpeg = prepare([read], DECALS, FRAME, ("g", "r", "z")).images
        clear = (from_fits > 0.5) & (from_fits < 3)
        assert (from_jpeg - from_fits)[clear].abs().median() < 0.1


def test_real_guide_files_fail_as_documented(data):
    for name in ("example_incomplete__83e22c8", "example_incomplete_backup__83e22c8"):
        with pytest.raises(CutoutError, match="truncated"):
            read_image(data / "decals_fits" / f"{name}.fits", DECALS)

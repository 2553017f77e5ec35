import io

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout, read_cutout, read_image
from galaxy_da.images.preparation import Frame, pick_bands, prepare
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.io.samples import Flag
from galaxy_da.surveys import get_survey

FRAME = Frame()
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


def test_bands_are_picked_by_wavelength():
    assert pick_bands(HSC, HSC.band_names, FRAME) == ("g", "r", "z")
    assert pick_bands(SDSS, ("i", "r", "g"), FRAME) == ("g", "r", "i")
    assert pick_bands(VIS, ("VIS",), FRAME) == ("VIS", "VIS", "VIS")


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

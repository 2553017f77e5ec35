import base64
import io

import numpy as np
import pytest
import torch
from conftest import blobs, make_space, write_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from evaluation.reports.pictures import thumbnails, to_data_uris, to_decals_colour
from galaxy_da.extraction.loading import load_images
from galaxy_da.images.preparation import Frame
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey

FRAME = Frame()
GRZ = ("g", "r", "z")


def pixels_of(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body, validate=True))))


def in_frame(survey, bands, n=4, noise=0.0, seed=0):
    """Images of the same white-noise-covered Gaussians, as `prepare` would make them."""
    rng = np.random.default_rng(seed)
    grid = (np.arange(64) - 31.5) / 6
    shape = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2))
    brightness = np.linspace(0.5, 8, n)[:, None, None, None] * shape
    wavelengths = [survey.band(name).wavelength_nm for name in bands]
    softening = np.array([FRAME.softening_at(nm) for nm in wavelengths])[:, None, None]
    noisy = brightness + rng.normal(0, 1, (n, len(bands), 64, 64)) * noise
    return torch.tensor(np.arcsinh(noisy / softening), dtype=torch.float32)


def in_viewer_colours(images, frame, stretch):
    """The archive's stretch of the anchor's bands, northern row first."""
    brightness = torch.sinh(images) * torch.tensor(frame.softening)[:, None, None]
    flux = brightness[:, [frame.bands.index(name) for name in stretch.planes]]
    return apply_stretch(flux * stretch.pixel_scale_arcsec**2, stretch).flip(2).movedim(1, -1)


def test_the_anchor_without_noise_has_the_colours_of_the_viewer():
    decals = get_survey("decals")
    images = in_frame(decals, GRZ)
    expected = in_viewer_colours(images, FRAME, decals.stretch)
    found = to_decals_colour(images, decals, GRZ, FRAME)
    assert found.dtype == torch.uint8
    assert int((found.int() - expected.int()).abs().max()) <= 1
    assert int(found.max()) > 200


def test_bands_are_found_by_wavelength_not_by_order():
    decals = get_survey("decals")
    images = in_frame(decals, GRZ) * torch.tensor([1.0, 0.7, 0.4])[:, None, None]
    swapped = to_decals_colour(images[:, [2, 0, 1]], decals, ("z", "g", "r"), FRAME)
    assert_array_equal(swapped, to_decals_colour(images, decals, GRZ, FRAME))


@pytest.mark.parametrize(("name", "band"), [("euclid-vis", "VIS"), ("sdss", "r")])
def test_one_band_is_grey(name, band):
    survey = get_survey(name)
    picture = to_decals_colour(in_frame(survey, (band,), noise=0.05), survey, (band,), FRAME).int()
    assert_array_equal(picture[..., 0], picture[..., 1])
    assert_array_equal(picture[..., 0], picture[..., 2])
    assert int(picture.amax()) > 200


def test_a_galaxy_keeps_its_hue_in_another_survey():
    """Flux per band on a power law through the two surveys' wavelengths."""
    pictures = []
    for name, bands in (("decals", GRZ), ("sdss", ("g", "r", "i")), ("hsc", ("g", "r", "z"))):
        survey = get_survey(name)
        wavelengths = np.array([survey.band(band).wavelength_nm for band in bands])
        images = (
            torch.sinh(in_frame(survey, bands)) * torch.tensor(wavelengths / 642)[:, None, None]
        )
        pictures.append(to_decals_colour(torch.asinh(images).float(), survey, bands, FRAME))
    for other in pictures[1:]:
        middle = [picture[0, 30:34, 30:34].float().mean((0, 1)) for picture in (pictures[0], other)]
        assert_allclose(middle[0], middle[1], rtol=0.15)


def test_noise_has_no_colour_but_galaxies_do():
    decals = get_survey("decals")
    images = in_frame(decals, GRZ, noise=1.0)
    images[:, 0] *= 0.6  # redder
    spread = [
        (picture.int().amax(-1) - picture.int().amin(-1)).float()
        for picture in (
            in_viewer_colours(images, FRAME, decals.stretch),
            to_decals_colour(images, decals, GRZ, FRAME),
        )
    ]
    sky = slice(0, 12)
    assert spread[0][:, sky, sky].mean() > 60
    assert spread[1][:, sky, sky].mean() < 10
    assert spread[1][-1, 30:34, 30:34].mean() > 40


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1e4), st.integers(0, 4))
def test_any_image_can_be_shown(seed, scale, n):
    images = torch.asinh(
        torch.tensor(np.random.default_rng(seed).normal(size=(n, 3, 64, 64)) * scale)
    )
    before = images.clone()
    pictures = to_decals_colour(images.float(), get_survey("decals"), GRZ, FRAME)
    assert pictures.shape == (n, 64, 64, 3)
    assert pictures.dtype == torch.uint8
    assert_array_equal(images, before)


def test_uris_hold_the_pixels_losslessly():
    pictures = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3)).astype(np.uint8)
    )
    for uri, picture in zip(to_data_uris(pictures), pictures, strict=True):
        assert_array_equal(pixels_of(uri), picture)


def test_thumbnails_follow_the_given_rows(tmp_path):
    images = blobs(6, 140, 0.262)
    images[4] = np.nan
    sample = Sample(write_sample(tmp_path, images))
    encoder = make_space().encoder("decals")
    uris = thumbnails(sample, np.array([5, -1, 0, 4, 5]), encoder, FRAME)
    assert [uri is None for uri in uris] == [False, True, False, True, False]
    assert uris[0] == uris[4] != uris[2]
    prepared, _ = load_images(sample, np.array([5]), encoder, FRAME)
    expected = to_decals_colour(prepared.images, encoder.survey, GRZ, FRAME)
    assert_array_equal(pixels_of(uris[0]), expected[0])


def test_no_rows_give_no_thumbnails(tmp_path):
    sample = Sample(write_sample(tmp_path, blobs(2, 140, 0.262)))
    encoder = make_space().encoder("decals")
    assert thumbnails(sample, np.array([-1, -1]), encoder, FRAME) == [None, None]
    assert thumbnails(sample, np.zeros(0, int), encoder, FRAME) == []

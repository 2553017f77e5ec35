import galsim
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import curve_fit

from catalogs.simulation.artefacts import ARTEFACTS
from catalogs.simulation.conditions import (
    Conditions,
    draw_conditions,
    frame_bands,
    median_conditions,
)
from catalogs.simulation.galaxies import Galaxies, draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe, pixel_noise, stamp_pixels
from catalogs.simulation.patches import Frequencies, Sky
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.preparation import Frame, prepare
from galaxy_da.surveys import builtin_surveys, get_survey, load_survey


def changed(conditions, **fields):
    return Conditions(**{**vars(conditions), **fields})


def stars(n, flux_nanomaggy, bands):
    frequencies = frequencies_for(bands)
    spectra = torch.full(
        (n, 1, frequencies.side, frequencies.half + 1), flux_nanomaggy, dtype=torch.complex64
    )
    return Sky(spectra, frequencies, lambda wanted: torch.ones(len(wanted), 1))


@pytest.mark.parametrize("name", ["decals", "sdss", "hsc", "euclid-vis", "ukidss"])
def test_a_star_is_galsims_moffat_of_the_surveys_width(name):
    survey = get_survey(name)
    bands = frame_bands(survey)
    median = median_conditions(1, bands)
    images = observe(stars(1, 7.0, bands), survey, bands, median)[0].numpy()
    images *= survey.nanomaggy_per_unit
    for image, band in zip(images, bands, strict=True):
        psf = galsim.Moffat(beta=3.5, fwhm=band.psf_fwhm_arcsec, flux=7.0)
        scale, side = survey.pixel_scale_arcsec, stamp_pixels(survey)
        peer = psf.drawImage(nx=side, ny=side, scale=scale, method="no_pixel").array
        assert_allclose(image, peer, atol=0.005 * peer.max())
        assert image.sum() == pytest.approx(7.0, rel=0.01)
        assert fitted_fwhm(image, scale) == pytest.approx(band.psf_fwhm_arcsec, rel=0.01)


def fitted_fwhm(image, scale):
    along = (np.arange(len(image)) - (len(image) - 1) / 2) * scale
    square = (along[:, None] ** 2 + along**2).ravel()

    def moffat(square, peak, alpha, beta):
        return peak * (1 + square / alpha**2) ** -beta

    (_, alpha, beta), _ = curve_fit(moffat, square, image.ravel(), (image.max(), 3 * scale, 3))
    return 2 * abs(alpha) * np.sqrt(2 ** (1 / beta) - 1)


def test_noise_is_that_measured_in_decals():
    # Median pixel noise of DR9 south, Stein et al. 2021: the depths of the definition imply it.
    survey = get_survey("decals")
    median = median_conditions(1, frame_bands(survey))
    expected = pixel_noise(median.depth_mag, median.psf_fwhm_arcsec, survey.pixel_scale_arcsec)
    assert_allclose(expected, [[0.0031, 0.0044, 0.0117]], rtol=0.05)  # depths have one decimal


@pytest.mark.parametrize("name", ["sdss", "hsc"])
def test_blank_sky_has_the_noise_that_makes_the_depth(name):
    survey = get_survey(name)
    bands = frame_bands(survey)
    median = median_conditions(4, bands)
    images = observe(stars(4, 0.0, bands), survey, bands, median, np.random.default_rng(1))
    images = images.double() * survey.nanomaggy_per_unit
    for i, band in enumerate(bands):
        psf = galsim.Gaussian(fwhm=band.psf_fwhm_arcsec)
        weight = psf.drawImage(nx=99, ny=99, scale=survey.pixel_scale_arcsec, method="no_pixel")
        rms = float(images[:, i].std())
        signal_to_noise = 10 ** (0.4 * (22.5 - band.depth_mag)) * np.sqrt((weight.array**2).sum())
        assert signal_to_noise / rms == pytest.approx(5, rel=0.02)
        assert abs(float(images[:, i].mean())) < 5 * rms / np.sqrt(images[:, i].numel())


def test_photon_noise_grows_with_the_source():
    survey = get_survey("decals")
    bands = frame_bands(survey)[1:2]
    n = 500
    sky = stars(1, 300.0, bands)
    clean = observe(sky, survey, bands, median_conditions(1, bands))[0, 0]
    many = Sky(sky.spectra.expand(n, -1, -1, -1), sky.frequencies, sky.mix)
    noisy = observe(many, survey, bands, median_conditions(n, bands), np.random.default_rng(2))
    middle = stamp_pixels(survey) // 2
    peak = float(clean[middle, middle])
    sky_flux = 10 ** (0.4 * (22.5 - 21.09)) * 0.262**2  # of the dark sky at 642 nm, per pixel
    expected = 0.00443 * np.sqrt(1 + peak / sky_flux)
    assert float(noisy[:, 0, middle, middle].std()) == pytest.approx(expected, rel=0.1)


def test_the_galaxy_is_off_centre_by_the_catalogue_error():
    survey = get_survey("decals")
    bands = frame_bands(survey)[:1]
    east, north = np.array([1.3, 0.0, -0.7]), np.array([0.0, 0.9, -2.2])
    conditions = changed(median_conditions(3, bands), east_arcsec=east, north_arcsec=north)
    images = observe(stars(3, 1.0, bands), survey, bands, conditions)[:, 0].numpy()
    along = (np.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2) * survey.pixel_scale_arcsec
    total = images.sum((1, 2))
    x = (images.sum(1) * along).sum(1) / total
    y = (images.sum(2) * along).sum(1) / total
    assert_allclose(x, east, atol=0.03)  # the stamp is centred east, so the galaxy lies west: +x
    assert_allclose(y, -north, atol=0.03)


def test_surface_brightness_agrees_between_hsc_and_decals():
    frequencies = frequencies_for(get_survey("hsc").bands)
    drawn = draw_galaxies(40, np.random.default_rng(3))
    alone = Galaxies(drawn.truth, drawn.neighbours.slice(0, 0), drawn.knots)
    resolved = torch.from_numpy(drawn.truth["half_light_arcsec"].to_numpy() > 1.5)
    everyone = alone.render(frequencies)
    sky = Sky(everyone.spectra[resolved], frequencies, everyone.mix)
    assert len(sky) > 10
    frame = Frame()
    seen = {}
    for name in ("decals", "hsc"):
        survey = get_survey(name)
        bands = tuple(b.model_copy(update={"wavelength_nm": 642.0}) for b in frame_bands(survey))
        bands = tuple(b.model_copy(update={"psf_fwhm_arcsec": 1.33}) for b in bands)
        flux = observe(sky, survey, bands, median_conditions(len(sky), bands))
        middle = (flux.shape[-1] - 1) / 2
        cutouts = [
            Cutout(
                pixels=pixels,
                bands=("g", "r", "z"),
                pixel_scale_arcsec=survey.pixel_scale_arcsec,
                centre_xy=(middle, middle),
            )
            for pixels in flux.numpy()
        ]
        prepared = prepare(cutouts, survey, frame, ("g", "r", "z")).images
        softening = [frame.softening_at(survey.band(b).wavelength_nm) for b in "grz"]
        seen[name] = torch.sinh(prepared) * torch.tensor(softening)[:, None, None]
    peak = seen["decals"].amax((1, 2, 3), keepdim=True)
    assert float(((seen["hsc"] - seen["decals"]).abs() / peak).max()) < 0.01
    ratio = seen["hsc"].sum((1, 2, 3)) / seen["decals"].sum((1, 2, 3))
    assert_allclose(ratio, 1, atol=0.01)


def test_conditions_scatter_as_the_survey_says():
    survey = get_survey("decals")
    drawn = draw_conditions(20_000, survey.bands, np.random.default_rng(4))
    for i, band in enumerate(survey.bands):
        log_width = np.log(drawn.psf_fwhm_arcsec[:, i] / band.psf_fwhm_arcsec)
        assert np.median(log_width) == pytest.approx(0, abs=0.01)
        assert log_width.std() == pytest.approx(band.psf_scatter, rel=0.05)
        assert drawn.depth_mag[:, i].std() == pytest.approx(band.depth_scatter, rel=0.05)
    assert drawn.zeropoint_error_mag.std() == pytest.approx(0.02, rel=0.05)
    assert drawn.east_arcsec.std() == pytest.approx(0.1, rel=0.05)
    spoiled = [kind for kind in drawn.artefact if kind]
    assert len(spoiled) / 20_000 == pytest.approx(0.02, rel=0.2)
    assert set(spoiled) == set(ARTEFACTS)


def test_a_calibration_error_scales_the_flux():
    survey = get_survey("sdss")
    bands = frame_bands(survey)
    wrong = changed(median_conditions(1, bands), zeropoint_error_mag=np.array([[0.1, 0.0, -0.1]]))
    total = observe(stars(1, 1.0, bands), survey, bands, wrong).sum((2, 3))[0].numpy()
    assert_allclose(-2.5 * np.log10(total / total[1]), [-0.1, 0, 0.1], atol=1e-3)


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_artefacts_change_only_the_recorded_cutouts(kind):
    survey = get_survey("decals")
    bands = frame_bands(survey)
    clean = median_conditions(8, bands)
    artefact = np.array([kind, None] * 4, object)
    sky = stars(8, 1.0, bands)
    before = observe(sky, survey, bands, clean, np.random.default_rng(5))
    after = observe(sky, survey, bands, changed(clean, artefact=artefact), np.random.default_rng(5))
    assert torch.equal(before[1::2], after[1::2])
    differs = ~torch.isclose(before[::2], after[::2])
    assert bool(differs.flatten(1).any(1).all())
    touched = differs.float().mean((2, 3))
    if kind == "satellite":
        assert_allclose((touched > 0).sum(1), 1)  # one band
    if kind == "chip-edge":
        gone = after[::2].isnan() | (after[::2] == 0)
        assert torch.equal(gone, differs)
        assert float(touched.max()) < 0.5


def test_bands_are_chosen_by_wavelength(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\npixel_scale_arcsec = 0.339\nflux_unit = "count"\n'
        "zeropoint_mag = 30.0\n"
        '[[bands]]\nname = "V"\nwavelength_nm = 551\npsf_fwhm_arcsec = 1.0\ndepth_mag = 24\n'
        '[[bands]]\nname = "I"\nwavelength_nm = 806\npsf_fwhm_arcsec = 0.9\ndepth_mag = 23\n'
    )
    chosen = {
        name: [band.name for band in frame_bands(survey)]
        for name, survey in {
            **builtin_surveys(),
            "mine": load_survey(tmp_path / "mine.toml"),
        }.items()
    }
    assert chosen["mine"] == ["V", "I"]
    assert chosen["sdss"] == ["g", "r", "z"]
    assert chosen["hsc"] == ["g", "r", "z"]
    assert chosen["euclid-vis"] == ["VIS"]
    assert chosen["ukidss"] == ["Y", "J", "H"]
    assert len(frame_bands(get_survey("hsc"), every=True)) == 5


def test_frequencies_transform_as_numpy_does():
    frequencies = Frequencies(10)
    image = torch.from_numpy(np.random.default_rng(6).normal(size=(21, 21))).float()
    x = frequencies.offsets.double().numpy()
    kernel_x = np.exp(-2j * np.pi * frequencies.east.double().numpy()[:, None] * x)
    kernel_y = np.exp(-2j * np.pi * frequencies.north.double().numpy()[:, None] * x)
    expected = kernel_y @ image.double().numpy() @ kernel_x.T * frequencies.pixel_arcsec**2
    assert_allclose(frequencies.spectrum(image).numpy(), expected, atol=1e-3)
    other = frequencies.transform(image, frequencies.pixel_arcsec)
    assert_allclose(other.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("rotation_deg", "mirrored"), [(0, True), (30, False), (-100, True)])
def test_a_rotated_camera_agrees_with_galsim(rotation_deg, mirrored):
    survey = get_survey("decals")
    bands = frame_bands(survey)[:1]
    frequencies = frequencies_for(bands)
    galaxy = galsim.Exponential(half_light_radius=2.0, flux=50).shear(g1=0.4, g2=0.2)
    galaxy += galsim.Gaussian(half_light_radius=0.8, flux=20).shift(4.0, 2.0)
    east, north = np.meshgrid(frequencies.east.numpy(), frequencies.north.numpy())
    k = 2 * np.pi * np.stack([-east.ravel(), north.ravel()])  # x is west
    spectrum = np.array([galaxy.kValue(*place) for place in k.T]).reshape(east.shape)
    spectra = torch.from_numpy(spectrum)[None, None].to(torch.complex64)
    sky = Sky(spectra, frequencies, lambda wanted: torch.ones(len(wanted), 1))
    camera = {"rotation_deg": np.array([rotation_deg]), "mirrored": np.array([mirrored])}
    seen = observe(sky, survey, bands, changed(median_conditions(1, bands), **camera))[0, 0]
    psf = galsim.Moffat(beta=3.5, fwhm=bands[0].psf_fwhm_arcsec)
    expected = galsim.Convolve(galaxy.rotate(-rotation_deg * galsim.degrees), psf)
    if mirrored:
        expected = expected.transform(-1, 0, 0, 1)
    scale, side = survey.pixel_scale_arcsec, stamp_pixels(survey)
    image = expected.drawImage(nx=side, ny=side, scale=scale, method="no_pixel").array
    assert_allclose(seen.numpy(), image, atol=0.005 * image.max())

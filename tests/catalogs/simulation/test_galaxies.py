import galsim
import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose

from catalogs.simulation.components import DE_VAUCOULEURS
from catalogs.simulation.conditions import frame_bands, median_conditions
from catalogs.simulation.galaxies import LABELS, Galaxies, draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe, stamp_pixels
from catalogs.simulation.patches import Frequencies
from catalogs.simulation.rendering import profile_transform
from galaxy_da.surveys import builtin_surveys, get_survey

PLAIN = {
    "r_mag": 19.0,
    "bulge_fraction": 0.0,
    "arm_strength": 0.0,
    "bar_strength": 0.0,
    "ring_strength": 0.0,
    "clumpiness": 0.0,
    "dust_strength": 0.0,
    "merger_mass_ratio": 0.0,
    "tail_strength": 0.0,
    "n_arms": 0,
    "half_light_arcsec": 2.0,
    "disc_half_light_arcsec": 2.0,
    "bulge_half_light_arcsec": 0.8,
    "bar_half_length_arcsec": 1.6,
}


def one(neighbours=False, **parameters):
    """A galaxy with the given parameters."""
    drawn = draw_galaxies(1, np.random.default_rng(0))
    truth = drawn.truth
    for name, value in {**PLAIN, **parameters}.items():
        truth = truth.set_column(truth.column_names.index(name), name, pa.array([value]))
    near = drawn.neighbours if neighbours else drawn.neighbours.slice(0, 0)
    return Galaxies(truth, near, drawn.knots)


def seen(galaxies, name="hsc", band="r", frequencies=None):
    survey = get_survey(name)
    bands = (survey.band(band).model_copy(update={"wavelength_nm": 642.0}),)
    sky = galaxies.render(frequencies or frequencies_for(bands))
    flux = observe(sky, survey, bands, median_conditions(len(sky), bands))
    return flux[:, 0].numpy() * survey.nanomaggy_per_unit


def peer(profile, name="hsc", band="r"):
    survey = get_survey(name)
    psf = galsim.Moffat(beta=3.5, fwhm=survey.band(band).psf_fwhm_arcsec)
    side, scale = stamp_pixels(survey), survey.pixel_scale_arcsec
    image = galsim.Convolve(profile, psf).drawImage(
        nx=side, ny=side, scale=scale, method="no_pixel"
    )
    return image.array


def on_sky(profile, axis_ratio, position_angle_deg):
    """Rotate a profile by an angle east of north; east is left."""
    return profile.shear(q=axis_ratio, beta=(position_angle_deg + 90) * galsim.degrees)


FLUX = 10 ** (0.4 * (22.5 - 19))


@pytest.mark.parametrize("name", ["decals", "hsc"])
@pytest.mark.parametrize(
    ("bulge_fraction", "axis_ratio", "angle"), [(0.0, 0.4, 30.0), (0.5, 0.7, 110.0), (1.0, 0.6, 70)]
)
def test_bulge_and_disc_are_galsims(name, bulge_fraction, axis_ratio, angle):
    galaxy = one(
        bulge_fraction=bulge_fraction, axis_ratio=axis_ratio, position_angle_deg=float(angle)
    )
    bulge_ratio = axis_ratio if bulge_fraction == 1 else 1 - (1 - axis_ratio) / 2
    # A galaxy of axis ratio q is squeezed to q and sqrt(q) is taken out of GalSim's area-preserving
    # shear, so that radii are along the major axis.
    parts = []
    if bulge_fraction < 1:
        disc = galsim.Exponential(half_light_radius=2.0 * np.sqrt(axis_ratio))
        parts.append((1 - bulge_fraction) * on_sky(disc, axis_ratio, angle))
    if bulge_fraction > 0:
        bulge = galsim.DeVaucouleurs(half_light_radius=0.8 * np.sqrt(bulge_ratio))
        parts.append(bulge_fraction * on_sky(bulge, bulge_ratio, angle))
    expected = peer(galsim.Add(parts) * FLUX, name)
    image = seen(galaxy, name)[0]
    assert_allclose(image, expected, atol=0.01 * expected.max())
    assert image.sum() == pytest.approx(expected.sum(), rel=0.01)


def test_a_bar_lies_in_the_plane_of_the_disc():
    length, ratio, bar_angle, q, angle = 3.0, 0.3, 40.0, 0.6, 25.0
    galaxy = one(
        bar_strength=1.0,
        bar_half_length_arcsec=length,
        bar_axis_ratio=ratio,
        bar_angle_deg=bar_angle,
        axis_ratio=q,
        position_angle_deg=angle,
    )
    bar = galsim.Gaussian(sigma=length / 2).transform(ratio, 0, 0, 1)  # along y, towards north
    rotated = bar.rotate(bar_angle * galsim.degrees).transform(q, 0, 0, 1) / (ratio * q)
    expected = peer(rotated.rotate(angle * galsim.degrees) * FLUX)
    assert_allclose(seen(galaxy)[0], expected, atol=0.01 * expected.max())


def test_neighbours_and_stars_are_at_the_tables_positions():
    galaxy = one(neighbours=False)
    near = pa.table(
        {
            "host": [0, 0],
            "east_arcsec": [5.0, -3.0],
            "north_arcsec": [-2.0, 6.5],
            "r_mag": [19.0, 20.0],
            "half_light_arcsec": [1.2, 0.0],
            "axis_ratio": [0.5, 1.0],
            "position_angle_deg": [60.0, 0.0],
            "is_bulge": [False, False],
            "g_minus_r": [0.5, 0.5],
        }
    )
    disc = galsim.Exponential(half_light_radius=1.2 * np.sqrt(0.5))
    star = galsim.Gaussian(sigma=1e-3)
    added = seen(Galaxies(galaxy.truth, near, galaxy.knots))[0] - seen(galaxy)[0]
    expected = peer(
        galsim.Add(
            on_sky(disc, 0.5, 60.0).shift(-5.0, -2.0) * FLUX, star.shift(3.0, 6.5) * FLUX / 10**0.4
        )
    )
    assert_allclose(added, expected, atol=0.01 * expected.max())


def test_a_sum_of_discs_is_de_vaucouleurs():
    k = np.geomspace(0.01, 100, 60)
    law = galsim.DeVaucouleurs(half_light_radius=1.0)
    expected = [law.kValue(x, 0).real for x in k]
    ours = profile_transform(DE_VAUCOULEURS, torch.from_numpy(k**2))
    assert_allclose(ours, expected, atol=0.004)


def bright(label, n, seed):
    """Large galaxies of one class, their truth, and their r images by a narrow PSF."""
    drawn = draw_galaxies(40 * n, np.random.default_rng(seed), (12.5, 14), 168.0)
    labels = drawn.truth["label"].to_numpy(zero_copy_only=False)
    size = drawn.truth["half_light_arcsec"].to_numpy()
    rows = np.flatnonzero((labels == label) & (size > 9) & (size < 18))[:n]
    some = Galaxies(drawn.truth.take(rows), drawn.neighbours.slice(0, 0), drawn.knots[rows])
    frequencies = Frequencies(320, 168.0)
    sky = some.render(frequencies).at([481, 642, 925], frequencies)
    smooth = torch.exp(
        -2 * (np.pi * 0.35) ** 2 * (frequencies.north[:, None] ** 2 + frequencies.east**2)
    )
    whole = torch.fft.ifftshift(sky * smooth, dim=-2)
    images = torch.fft.irfft2(whole, s=(frequencies.side, frequencies.side))
    images = torch.fft.fftshift(images, dim=(-2, -1)).numpy() / frequencies.pixel_arcsec**2
    return some.truth.to_pylist(), images, frequencies


def plane(row, frequencies):
    """Coordinates in the plane of the disc, along and across the major axis [arcsec]."""
    x = frequencies.offsets.numpy()
    angle = np.radians(row["position_angle_deg"])
    east, north = x[None, :], x[:, None]
    along = east * np.sin(angle) + north * np.cos(angle)
    return along, (east * np.cos(angle) - north * np.sin(angle)) / row["axis_ratio"]


@pytest.mark.parametrize("label", LABELS)
def test_half_the_light_is_within_the_half_light_radius(label):
    rows, images, frequencies = bright(label, 6, 2)
    for row, image in zip(rows, images[:, 1], strict=True):
        radius = np.hypot(*plane(row, frequencies)).ravel()
        order = np.argsort(radius)
        held = np.cumsum(image.ravel()[order]) * frequencies.pixel_arcsec**2
        half = 0.5 * 10 ** (0.4 * (22.5 - row["r_mag"]))
        found = radius[order][np.searchsorted(held, half)]
        assert found == pytest.approx(row["half_light_arcsec"], rel=0.1)


@pytest.mark.parametrize("label", LABELS)
def test_no_light_is_negative(label):
    _, images, _ = bright(label, 6, 3)
    peak = images.max((2, 3), keepdims=True)
    assert (images / peak).min() > -5e-4  # of the peak: the ringing of a cut spectrum


def test_every_drawn_patch_is_finite():
    frequencies = Frequencies(60, 168.0)
    for seed in range(6):
        drawn = draw_galaxies(200, np.random.default_rng(seed), (11, 17), 168.0)
        drawn = Galaxies(drawn.truth, drawn.neighbours.slice(0, 0), drawn.knots)
        assert bool(torch.isfinite(torch.view_as_real(drawn.render(frequencies).spectra)).all())


def test_a_dust_lane_darkens_and_reddens_the_middle_of_an_edge_on_disc():
    dusty, clear = (
        one(
            axis_ratio=0.2,
            disc_half_light_arcsec=8.0,
            position_angle_deg=90.0,
            dust_strength=strength,
            dust_thickness=0.3,
            dust_offset_arcsec=0.0,
            disc_g_minus_r=0.6,
        )
        for strength in (0.65, 0.0)
    )
    image = {}
    for name, galaxy in (("dusty", dusty), ("clear", clear)):
        sky = galaxy.render(Frequencies(145))
        spectra = sky.at([481, 642], sky.frequencies)[0]
        whole = torch.fft.ifftshift(spectra, dim=-2)
        image[name] = torch.fft.fftshift(
            torch.fft.irfft2(whole, s=(291, 291)), dim=(-2, -1)
        ).numpy()
        assert spectra[1, 145, 0].real == pytest.approx(FLUX, rel=1e-3)
    lane, side = (slice(None), 145, 160), (slice(None), 150, 160)  # 0 and 0.7 arcsec from the plane
    assert image["dusty"][lane][1] < 0.75 * image["clear"][lane][1]
    g, r = image["dusty"][lane] / image["dusty"][side]
    assert g < 0.97 * r


def test_a_merger_has_two_nuclei_in_the_ratio_of_its_masses():
    galaxy = one(
        axis_ratio=1.0,
        disc_half_light_arcsec=1.0,
        merger_mass_ratio=0.5,
        companion_east_arcsec=6.0,
        companion_north_arcsec=0.0,
        companion_half_light_arcsec=1.0,
        companion_axis_ratio=1.0,
        companion_bulge_fraction=0.0,
    )
    image = seen(galaxy)[0]
    along = -(np.arange(len(image)) - (len(image) - 1) / 2) * 0.168  # east is left
    ratio = image[:, along > 3].sum() / image[:, along < 3].sum()
    assert ratio == pytest.approx(0.5, rel=0.05)
    assert image.sum() == pytest.approx(FLUX, rel=0.01)


def test_a_ring_is_brightest_at_its_radius():
    rows, images, frequencies = bright("ring", 12, 4)
    checked = 0
    for row, image in zip(rows, images[:, 1], strict=True):
        if row["ring_strength"] < 0.2 or row["ring_radius"] < 0.9 or row["arm_strength"]:
            continue
        along, across = plane(row, frequencies)
        radius = np.hypot(along - row["ring_offset_arcsec"], across)
        edges = np.arange(0, 3 * row["ring_radius_arcsec"], 0.9)
        bins = np.digitize(radius.ravel(), edges)
        profile = np.array([np.median(image.ravel()[bins == i]) for i in range(1, len(edges))])
        middle = edges[:-1] + 0.45
        # Above a smooth disc, which falls exponentially, the ring is a bump.
        trend = np.polyval(np.polyfit(middle, np.log(profile.clip(1e-9)), 1), middle)
        bump = np.log(profile.clip(1e-9)) - trend
        near = (middle > 0.5 * row["ring_radius_arcsec"]) & (
            middle < 1.6 * row["ring_radius_arcsec"]
        )
        peak = middle[near][np.argmax(bump[near])]
        assert peak == pytest.approx(row["ring_radius_arcsec"], rel=0.2)
        checked += 1
    assert checked >= 3


def test_flux_and_colour_are_the_truths():
    drawn = draw_galaxies(64, np.random.default_rng(5))
    alone = Galaxies(drawn.truth, drawn.neighbours.slice(0, 0), drawn.knots)
    frequencies = frequencies_for(get_survey("decals").bands)
    total = (
        alone.render(frequencies)
        .at([481, 642], frequencies)[:, :, frequencies.half, 0]
        .real.numpy()
    )
    magnitude = 22.5 - 2.5 * np.log10(total)
    assert_allclose(magnitude[:, 1], drawn.truth["r_mag"], atol=0.005)
    assert_allclose(magnitude[:, 0] - magnitude[:, 1], drawn.truth["g_minus_r"], atol=0.005)


def test_any_band_of_any_survey_has_a_flux():
    frequencies = frequencies_for(get_survey("sdss").bands)
    sky = draw_galaxies(4, np.random.default_rng(6)).render(frequencies)
    for survey in builtin_surveys().values():
        wavelengths = [band.wavelength_nm for band in survey.bands]
        total = sky.at(wavelengths, frequencies)[:, :, frequencies.half, 0].real
        assert bool((total > 0).all())
        colour = 2.5 * torch.log10(total[:, 1:] / total[:, :-1])
        assert float(colour.abs().max() if colour.numel() else 0) < 3


@pytest.mark.parametrize("arms", [2, 3, 4])
def test_arms_have_their_number(arms):
    galaxy = one(
        arm_strength=0.6, n_arms=arms, axis_ratio=1.0, disc_half_light_arcsec=4.0, knot_share=0.0
    )
    image = seen(galaxy)[0]
    along = np.arange(len(image)) - (len(image) - 1) / 2
    angle, radius = np.arctan2(along[:, None], along), np.hypot(along[:, None], along)
    ring = (radius * 0.168 > 2.5) & (radius * 0.168 < 3.5)
    power = [abs((image[ring] * np.exp(1j * m * angle[ring])).sum()) for m in range(1, 7)]
    assert np.argmax(power[1:]) + 2 == arms  # the first harmonic is lopsidedness


def test_the_image_does_not_depend_on_the_frequencies():
    drawn = draw_galaxies(24, np.random.default_rng(7))
    fine = seen(drawn, "decals", frequencies=frequencies_for(frame_bands(get_survey("hsc"))))
    coarse = seen(drawn, "decals")
    peak = fine.max((1, 2), keepdims=True)
    assert np.abs((coarse - fine) / peak).max() < 0.03


def test_drawn_galaxies_span_the_classes_and_magnitudes():
    truth = draw_galaxies(4000, np.random.default_rng(8)).truth
    r_mag, label = truth["r_mag"].to_numpy(), truth["label"].to_numpy(zero_copy_only=False)
    assert 17 <= r_mag.min() < 17.1
    assert 21.4 < r_mag.max() <= 21.5
    counts, _ = np.histogram(r_mag, np.linspace(17, 21.5, 10))
    assert np.corrcoef(counts, np.arange(9))[0, 1] > 0.95
    assert counts[0] > 0.02 * len(r_mag)
    assert set(label) == set(LABELS)
    half_light = truth["half_light_arcsec"].to_numpy()
    assert np.median(half_light[r_mag < 18]) > 2.2
    assert np.median(half_light[r_mag > 21]) < 1.2
    q = truth["axis_ratio"].to_numpy()
    assert q[label == "edge-on"].max() < 0.25
    assert (truth["n_arms"].to_numpy()[label == "spiral"] >= 2).all()
    assert (truth["bar_strength"].to_numpy()[label == "barred"] > 0.07).all()
    assert (truth["ring_strength"].to_numpy()[label == "ring"] > 0.1).all()


def test_magnitudes_stay_in_the_requested_range():
    truth = draw_galaxies(2000, np.random.default_rng(8), (14.5, 18)).truth
    r_mag = truth["r_mag"].to_numpy()
    assert 14.5 <= r_mag.min() < 14.6
    assert 17.9 < r_mag.max() <= 18
    bright = truth["half_light_arcsec"].to_numpy()[r_mag < 15.5]
    assert np.median(bright) > 5


def test_same_seed_same_galaxies():
    one, two = (draw_galaxies(16, np.random.default_rng(9)) for _ in range(2))
    assert one.truth.equals(two.truth)
    assert one.neighbours.equals(two.neighbours)
    frequencies = frequencies_for(get_survey("sdss").bands)
    assert torch.equal(one.render(frequencies).spectra, two.render(frequencies).spectra)

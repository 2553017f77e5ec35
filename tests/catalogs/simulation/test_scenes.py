import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix
from numpy.testing import assert_allclose
from PIL import Image

from catalogs.simulation.conditions import frame_bands, median_conditions
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.patches import Frequencies
from catalogs.simulation.scene_tables import scene_table
from catalogs.simulation.scenes import SHRINK, ScenePool
from galaxy_da.errors import SurveyError, TableError
from galaxy_da.images.stretches import apply_stretch
from galaxy_da.surveys import get_survey

PIXEL, SIDE, SIGMA = 0.262, 100, 2.5


def gaussian(side=SIDE, sigma=SIGMA, ratio=1.0, centre=(0.0, 0.0)):
    along = (np.arange(side) - (side - 1) / 2) * PIXEL
    x, y = along[None, :] - centre[0], along[:, None] - centre[1]
    shape = np.exp(-0.5 * (x**2 + (y / ratio) ** 2) / sigma**2)
    return shape / shape.sum()


def write(folder, images, survey="decals", **columns):
    """Sample table of (n, bands, y, x) fluxes or of encoded image bytes."""
    n = len(images)
    table = {
        "object_id": [f"scene-{i}" for i in range(n)],
        "survey": [survey] * n,
        "ra": np.linspace(10, 300, n),
        "dec": np.linspace(-60, 70, n),
        **columns,
    }
    if isinstance(images[0], bytes):
        table["image"] = images
    else:
        np.save(folder / "stamps.npy", np.stack(images).astype(np.float32))
        table["cutout"] = [f"stamps.npy#{i}" for i in range(n)]
    pq.write_table(pa.table(table), folder / "scenes.parquet")
    return folder / "scenes.parquet"


def noisy(image, rng, scale=(60.0, 100.0, 140.0)):
    planes = image[None] * np.array(scale)[:, None, None]
    return planes + 0.05 + rng.normal(0, 0.004, planes.shape)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = [noisy(gaussian(ratio=q), rng) for q in (1.0, 0.8, 0.6, 0.5)]
    return ScenePool.open(write(tmp_path_factory.mktemp("scenes"), images))


def test_scenes_keep_their_flux_colour_and_size(pool):
    assert list(pool.scene_id) == [f"scene-{i}" for i in range(4)]
    assert_allclose(pool.images[0].wavelengths_nm, [481, 642, 925])
    assert_allclose(pool.images[0].flux, np.tile([60, 100, 140], (4, 1)), rtol=0.03)
    round_one = SIGMA * np.sqrt(2 * np.log(2))  # half-light radius of a round Gaussian
    assert pool.images[0].half_light_arcsec[0] == pytest.approx(round_one, rel=0.03)


def test_rendered_scenes_have_the_drawn_magnitude_colour_and_size(pool):
    drawn = pool.draw(16, np.random.default_rng(1))
    alone = type(drawn)(pool, drawn.truth, drawn.neighbours.slice(0, 0))
    frequencies = frequencies_for(get_survey("hsc").bands)
    sky = alone.render(frequencies)
    total = sky.at([481, 642], frequencies)[:, :, frequencies.half, 0].real.numpy()
    magnitude = 22.5 - 2.5 * np.log10(total)
    assert_allclose(magnitude[:, 1], drawn.truth["r_mag"], atol=0.02)
    assert_allclose(magnitude[:, 0] - magnitude[:, 1], drawn.truth["g_minus_r"], atol=0.01)
    assert_allclose(drawn.truth["g_minus_r"], 2.5 * np.log10(100 / 60), atol=0.05)

    # A Gaussian's spectrum falls as exp(-2 (pi k sigma)^2): sizes without a fit. Axis ratios do
    # not matter to the geometric mean of two directions, orientations do not to the trace.
    spectrum = sky.at([642], frequencies)[:, 0]
    k = float(frequencies.east[1])
    ratio = (spectrum.abs() / spectrum[:, frequencies.half, 0].abs()[:, None, None]).numpy()
    sigma2_east = -np.log(ratio[:, frequencies.half, 1]) / (2 * (np.pi * k) ** 2)
    sigma2_north = -np.log(ratio[:, frequencies.half + 1, 0]) / (2 * (np.pi * k) ** 2)
    shrink = drawn.truth["shrink"].to_numpy()
    axis = np.array([1.0, 0.8, 0.6, 0.5])[drawn.truth["scene"].to_numpy()]
    expected = SIGMA**2 * (1 + axis**2) / shrink**2
    assert_allclose(sigma2_east + sigma2_north, expected, rtol=0.06)


def test_scenes_rotate_by_the_angle_in_the_truth(pool):
    drawn = pool.draw(32, np.random.default_rng(2))
    alone = type(drawn)(pool, drawn.truth, drawn.neighbours.slice(0, 0))
    survey = get_survey("hsc")
    bands = frame_bands(survey)[1:2]
    images = observe(
        alone.render(frequencies_for(bands)), survey, bands, median_conditions(32, bands)
    )[:, 0].double()
    along = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    xx = (images * along**2).sum((1, 2))
    yy = (images * along[:, None] ** 2).sum((1, 2))
    xy = (images * along * along[:, None]).sum((1, 2))
    angle = 0.5 * torch.atan2(2 * xy, xx - yy).numpy()  # of the major axis, from +x
    wanted = np.radians(drawn.truth["angle_deg"].to_numpy())
    flat = drawn.truth["scene"].to_numpy() == 3
    assert flat.sum() > 3
    same_axis = np.minimum(
        abs(np.sin(angle - wanted)), abs(np.sin(angle + wanted))
    )  # mirrored or not
    assert same_axis[flat].max() < 0.05


def test_draws_follow_the_limits(pool):
    drawn = pool.draw(400, np.random.default_rng(3))
    shrink = drawn.truth["shrink"].to_numpy()
    assert (shrink >= SHRINK[0]).all()
    assert (shrink <= SHRINK[1]).all()
    assert_allclose(
        drawn.truth["half_light_arcsec"],
        pool.images[0].half_light_arcsec[drawn.truth["scene"]] / shrink,
    )
    assert drawn.truth["n_neighbours"].to_numpy().sum() == drawn.neighbours.num_rows


@pytest.mark.parametrize("nside", [32, 64, 256])
def test_a_galaxy_stays_in_the_cell_of_its_scene(pool, nside):
    truth = pool.draw(200, np.random.default_rng(4)).truth
    scene = truth["scene"].to_numpy()
    cells = HEALPix(nside)
    home = cells.lonlat_to_healpix(pool.ra[scene] * u.deg, pool.dec[scene] * u.deg)
    ra, dec = truth["ra"].to_numpy(), truth["dec"].to_numpy()
    assert_allclose(cells.lonlat_to_healpix(ra * u.deg, dec * u.deg), home)
    places = SkyCoord(ra, dec, unit="deg")
    _, nearest, _ = places.match_to_catalog_sky(places, nthneighbor=2)
    assert np.median(nearest.arcsec) > 10


def test_bands_beyond_the_images_follow_the_colour(tmp_path):
    rng = np.random.default_rng(5)
    images = [noisy(gaussian(), rng, scale=(50.0, 100.0)) for _ in range(2)]
    pool = ScenePool.open(write(tmp_path, images, bands=["g,r"] * 2))
    frequencies = frequencies_for(get_survey("decals").bands)
    drawn = pool.draw(4, rng)
    sky = replace(drawn, neighbours=drawn.neighbours.slice(0, 0)).render(frequencies)
    total = sky.at([481, 642, 925], frequencies)[:, :, frequencies.half, 0].real
    slope = np.log(100 / 50) / np.log(642 / 481)
    expected = (925 / 642) ** min(slope, 2.5)
    assert_allclose(total[:, 2] / total[:, 1], expected, rtol=0.05)


def test_unsuitable_images_are_left_out(tmp_path):
    rng = np.random.default_rng(6)
    hole = noisy(gaussian(), rng)
    hole[:, 48:52, 48:52] = np.nan
    images = [
        noisy(gaussian(), rng),
        noisy(gaussian(sigma=30.0), rng, scale=(6e3, 1e4, 1.4e4)),  # larger than its image
        noisy(gaussian(centre=(10.0, 8.0)), rng),  # not in the middle
        np.full((3, SIDE, SIDE), 0.05) + rng.normal(0, 0.004, (3, SIDE, SIDE)),  # nothing
        hole,
        np.zeros((3, SIDE, SIDE)),
    ]
    assert list(ScenePool.open(write(tmp_path, images)).scene_id) == ["scene-0"]


def test_saturated_colour_images_are_left_out(tmp_path):
    survey = get_survey("sdss")

    def encode(flux):
        planes = torch.from_numpy(gaussian()[None] * flux).float().expand(3, -1, -1)
        colour = apply_stretch(planes, survey.stretch).movedim(0, -1).numpy()
        file = io.BytesIO()
        Image.fromarray(colour).save(file, "png")
        return file.getvalue()

    images = [encode(300.0), encode(300_000.0), b"not an image"]
    pool = ScenePool.open(write(tmp_path, images, survey="sdss", pixel_scale_arcsec=[PIXEL] * 3))
    assert list(pool.scene_id) == ["scene-0"]
    # Flux in a JPEG refers to the archive's own pixel.
    expected = 300 * (PIXEL / survey.stretch.pixel_scale_arcsec) ** 2
    assert_allclose(pool.images[0].flux, expected, rtol=0.05)


def test_large_images_are_binned(tmp_path):
    rng = np.random.default_rng(7)
    pool = ScenePool.open(
        write(tmp_path, [noisy(gaussian(side=300, sigma=8.0), rng, scale=(6e2, 1e3, 1.4e3))])
    )
    assert pool.images[0].stamps.shape[-1] == 128
    # No coarser than the galaxy needs: detected over 55 of 79 arcsec.
    assert PIXEL * 1.4 < pool.images[0].pixel_arcsec[0] < PIXEL * 300 / 128
    assert_allclose(pool.images[0].half_light_arcsec, 8.0 * np.sqrt(2 * np.log(2)), rtol=0.05)


def test_tables_of_different_bands_make_one_pool(tmp_path):
    rng = np.random.default_rng(8)
    paths = []
    for name, bands, scale in (("a", "g,r,z", (60.0, 100.0, 140.0)), ("b", "g,r", (50.0, 100.0))):
        (tmp_path / name).mkdir()
        images = [noisy(gaussian(), rng, scale=scale) for _ in range(3)]
        ids = [f"{name}-{i}" for i in range(3)]
        paths.append(write(tmp_path / name, images, bands=[bands] * 3, object_id=ids))
    pool = ScenePool.open(paths, shrink=(0.75, 1.5))
    assert len(pool) == 6
    drawn = pool.draw(64, rng, (15.0, 16.0))
    sky = replace(drawn, neighbours=drawn.neighbours.slice(0, 0)).render(Frequencies(40))
    total = sky.at([481, 642], Frequencies(40))[:, :, 40, 0].real.numpy()
    colour = -2.5 * np.log10(total[:, 0] / total[:, 1])
    second = np.array([name.startswith("b") for name in drawn.truth["scene_id"].to_pylist()])
    assert 10 < second.sum() < 54
    assert_allclose(colour[second], 2.5 * np.log10(2), atol=0.05)
    assert_allclose(colour[~second], 2.5 * np.log10(100 / 60), atol=0.05)
    assert drawn.truth["shrink"].to_numpy().max() <= 1.5


def test_rare_classes_are_drawn_more_often(tmp_path):
    images = [noisy(gaussian(), np.random.default_rng(9)) for _ in range(20)]
    classes = ["merger"] + ["spiral"] * 16 + [""] * 3
    pool = ScenePool.open(write(tmp_path, images, scene_class=classes))
    drawn = pool.draw(4000, np.random.default_rng(10)).truth["scene_class"].to_pylist()
    expected = 1 / (1 + 4 + np.sqrt(3))
    assert drawn.count("merger") / 4000 == pytest.approx(expected, rel=0.15)
    assert drawn.count("spiral") / 4000 == pytest.approx(4 * expected, rel=0.05)


def test_scenes_without_positions_get_one_of_their_own():
    images = pa.table(
        {
            "object_id": ["a", "b", "copy of a"],
            "survey": ["sdss"] * 3,
            "image": [picture(1), picture(2), picture(1, "png")],
        }
    )
    table = scene_table(images, 0.3)
    assert table["object_id"].to_pylist() == ["a", "b"]
    assert table["pixel_scale_arcsec"].to_pylist() == [0.3, 0.3]
    assert len(set(table["ra"].to_pylist())) == 2
    again = scene_table(images.slice(1), 0.3)
    assert again["ra"][0] == table["ra"][1]
    assert again["dec"][0] == table["dec"][1]


def test_a_scene_whose_position_is_not_known_gets_one_of_its_own(tmp_path):
    images = [noisy(gaussian(), np.random.default_rng(6)) for _ in range(3)]
    whole = ScenePool.open(write(tmp_path, images))
    known = np.array([False, True, False])
    for own in (images, images[::-1]):  # the place depends on the id alone
        part = ScenePool.open(write(tmp_path, own, position_known=known))
        for place, all_known in ((part.ra, whole.ra), (part.dec, whole.dec)):
            assert np.isfinite(place).all() and len(set(place)) == 3
            assert_allclose(place == all_known, known)
    again = ScenePool.open(write(tmp_path, images[:1], position_known=[False]))
    assert again.ra[0] == part.ra[0]


def picture(seed, kind="bmp"):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_no_usable_image_is_an_error(tmp_path):
    path = write(tmp_path, [np.zeros((3, SIDE, SIDE))] * 3)
    with pytest.raises(TableError, match=r"scenes\.parquet: none of 3 images can be a scene"):
        ScenePool.open(path)


def test_an_unknown_survey_is_an_error(tmp_path):
    with pytest.raises(SurveyError, match="unknown survey 'nosuch'"):
        ScenePool.open(write(tmp_path, [np.zeros((3, 40, 40))], survey="nosuch"))


def test_real_spirals_are_scenes(data):
    pool = ScenePool.open(data / "sdss_spirals.parquet", limit=200)
    assert 120 < len(pool) <= 200
    r = 22.5 - 2.5 * np.log10(pool.images[0].flux[:, 1])
    assert 16 < np.median(r) < 18.5
    g_minus_r = -2.5 * np.log10(pool.images[0].flux[:, 0] / pool.images[0].flux[:, 1])
    assert 0.4 < np.median(g_minus_r) < 1.0
    assert 2 < np.median(pool.images[0].half_light_arcsec) < 6


def test_real_scenes_of_every_class_are_kept(data, tmp_path):
    images = pq.read_table(data / "sdss_galaxy_zoo1.parquet")
    classes = np.array(images["gz1_class"].to_pylist())
    some = np.concatenate([np.flatnonzero(classes == name)[:40] for name in np.unique(classes)])
    images = images.take(some).rename_columns(["object_id", "survey", "scene_class", "image"])
    pq.write_table(scene_table(images, 0.3), tmp_path / "scenes.parquet")
    pool = ScenePool.open(tmp_path / "scenes.parquet")
    for name in np.unique(classes):
        if name != "unknown":  # stars and satellites
            assert (pool.scene_class == name).sum() >= 28, name

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from benchmarks.measures.image_quality import (
    aperture_flux,
    best_gaussian_sigma,
    compare_images,
    flux_bias,
    gaussian_filtered,
    pca_reconstruction,
    ssim,
)
from galaxy_da.images.preparation import Frame

SOFTENING = (0.07, 0.1, 0.25)


def pictures(n=4, side=32, seed=0):
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(n, 3, side, side)), (0, 0, 3, 3)) * 20
    return torch.from_numpy(smooth).float()


def test_ssim_and_psnr_against_skimage():
    metrics = pytest.importorskip("skimage.metrics")
    clean = pictures()
    noisy = clean + torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, clean.shape)).float()
    found, pairs = ssim(noisy, clean, 8.0), [x.double().numpy() for x in (noisy, clean)]
    for i in range(len(clean)):
        expected = metrics.structural_similarity(
            pairs[0][i],
            pairs[1][i],
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=8.0,
        )
        assert_allclose(found[i], expected, atol=1e-5)
    psnr = [
        metrics.peak_signal_noise_ratio(b, a, data_range=8.0) for a, b in zip(*pairs, strict=True)
    ]
    found = compare_images(noisy, clean, 8.0)
    assert_allclose(found["psnr"], np.mean(psnr), rtol=1e-5)
    assert_allclose(found["mse"], 0.09, rtol=0.1)


def test_equal_images_have_unit_ssim():
    clean = pictures()
    assert_allclose(ssim(clean, clean, 8.0), np.ones(4), atol=1e-5)
    assert compare_images(clean, clean, 8.0)["mse"] < 1e-11


def test_filter_against_scipy_in_linear_flux():
    images = pictures() / 4
    soft = np.array(SOFTENING)[:, None, None]
    linear = np.sinh(images.double().numpy()) * soft
    expected = np.arcsinh(gaussian_filter(linear, (0, 0, 1.3, 1.3), mode="nearest") / soft)
    assert_allclose(gaussian_filtered(images, 1.3, SOFTENING), expected, atol=2e-4)
    assert gaussian_filtered(images, 0, SOFTENING) is images


def test_best_width_raises_the_psnr():
    clean = pictures(8)
    noisy = clean + torch.from_numpy(np.random.default_rng(2).normal(0, 1.0, clean.shape)).float()
    best = best_gaussian_sigma(noisy, clean, SOFTENING, 8.0)
    assert best > 0.5
    assert best_gaussian_sigma(clean, clean, SOFTENING, 8.0) == 0
    better = compare_images(gaussian_filtered(noisy, best, SOFTENING), clean, 8.0)
    assert better["psnr"] > compare_images(noisy, clean, 8.0)["psnr"] + 1


def test_pca_against_sklearn():
    images, other = pictures(30, 8), pictures(5, 8, seed=1)
    pca = PCA(6, svd_solver="full").fit(images.flatten(1).numpy())
    expected = pca.inverse_transform(pca.transform(other.flatten(1).numpy()))
    assert_allclose(pca_reconstruction(images, other, 6).flatten(1), expected, atol=0.05)


def test_flux_of_a_round_gaussian():
    frame = Frame()
    along = (np.arange(64) - 31.5) * frame.pixel_scale_arcsec
    radius2 = along[:, None] ** 2 + along**2
    brightness = 100 / (2 * np.pi * 4) * np.exp(-radius2 / 8)  # 100 nanomaggies, sigma 2 arcsec
    images = np.arcsinh(brightness / np.array(frame.softening)[:, None, None])[None]
    flux = aperture_flux(torch.from_numpy(images), frame, 5.0)
    assert_allclose(flux, np.full((1, 3), 100 * (1 - np.exp(-25 / 8))), rtol=0.005)


def test_bias_of_known_ratios():
    rng = np.random.default_rng(3)
    reference = rng.uniform(1, 100, 4000)
    found = flux_bias(reference * rng.normal(1.03, 0.1, 4000), reference)
    assert found["low"] < 0.03 < found["high"]
    assert_allclose([found["bias"], found["scatter"]], [0.03, 0.1], atol=0.006)
    with_gaps = flux_bias(np.append(reference, 1.0), np.append(reference, -5.0))
    assert with_gaps["bias"] == 0


def test_images_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3, 32, 32\) and \(2, 3, 32, 32\)"):
        compare_images(pictures(), pictures(2), 8.0)
    with pytest.raises(ValueError, match="value_range must be positive"):
        ssim(pictures(), pictures(), 0.0)

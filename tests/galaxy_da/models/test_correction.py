import numpy as np
import torch
from numpy.testing import assert_allclose

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.correction import InstrumentCorrection

BANDS, CONDITIONS = 3, 17


def inputs(grids=2):
    """Images with dark pixels, coverage planes, and a band that is missing."""
    draw = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(4, BANDS * grids + grids, 16, 16, generator=draw)
    images[:, BANDS * grids :] = 1
    images[..., :3] = 0
    images[1, [2, 5]] = 0
    conditions = torch.randn(4, CONDITIONS, generator=draw)
    conditions[:, 0:15:5] = 1
    conditions[0, 1] = 0  # a PSF like any other
    conditions[1, 10:15] = torch.tensor([-1.0, 0, 0, 0, 0])  # the third band is missing
    return Inputs(images, conditions)


def correction(**values):
    made = InstrumentCorrection(bands=BANDS, grids=2, conditions=CONDITIONS)
    with torch.no_grad():
        for name, value in values.items():
            getattr(made, name).copy_(torch.tensor(value))
    return made


def test_at_first_nothing_is_corrected():
    given = inputs()
    made = correction()(given)
    assert_allclose(made.images.detach(), given.images, atol=1e-5)
    assert torch.equal(made.conditions.detach(), given.conditions)


def test_gain_and_sky_match_numpy():
    given, gain, sky = inputs(), np.array([0.2, -0.1, 0.4]), np.array([0.3, 0.0, -0.2])
    made = correction(log_gain=gain.tolist(), sky=sky.tolist())(given).images.detach().numpy()
    light = given.images.double().numpy()
    for grid in range(2):
        for band in range(BANDS):
            plane = light[:, grid * BANDS + band]
            expected = np.arcsinh(np.sinh(plane) * np.exp(gain[band]) - sky[band])
            expected[plane == 0] = 0
            assert_allclose(made[:, grid * BANDS + band], expected, atol=2e-5)
    assert_allclose(made[:, 6:], light[:, 6:])


def test_a_missing_band_stays_without_conditions():
    given = inputs()
    made = correction(conditions=[0.5] * CONDITIONS)(given).conditions.detach()
    known = np.ones((4, CONDITIONS), bool)
    known[1, 10:15] = False
    assert_allclose(made, given.conditions.numpy() + 0.5 * known)


def test_a_gain_in_magnitudes_is_that_of_pogson():
    gain = np.log(10 ** (0.4 * np.array([0.1, -0.3, 0.0])))
    assert_allclose(correction(log_gain=gain.tolist()).magnitudes(), [0.1, -0.3, 0], atol=1e-6)


def test_bright_light_is_corrected_without_overflow_in_bf16():
    bright = Inputs(torch.full((1, 8, 16, 16), 60.0), torch.zeros(1, CONDITIONS))
    with torch.autocast("cpu", torch.bfloat16):
        made = correction(log_gain=[1.0, 1.0, 1.0])(bright)
    assert torch.isfinite(made.images).all()

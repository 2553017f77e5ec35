import numpy as np
import pytest
import torch

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.models.networks import Architecture, Decoder, Encoder, VariationalAutoencoder
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

SMALL = Architecture(widths=(8, 16), blocks=(1, 1), features=32, latents=5, pixels=32)
CONDITIONED = SMALL.model_copy(update={"grids": 2, "conditioned": True})


def conditioned_inputs(n, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shape = n, CONDITIONED.input_planes, 32, 32
    return Inputs(torch.randn(shape, generator=draw), torch.randn(n, 17, generator=draw))


def trained(seed=0):
    """Return a conditioned encoder whose modulation has left its start, zero."""
    torch.manual_seed(seed)
    encoder = Encoder(CONDITIONED).eval()
    torch.nn.init.normal_(encoder.body.modulation[-1].weight, std=0.1)
    return encoder


def test_shapes():
    torch.manual_seed(0)
    model = VariationalAutoencoder(SMALL)
    images = torch.randn(4, 3, 32, 32)
    posterior, decoded = model(Inputs.plain(images))
    assert posterior.mean.shape == posterior.variance.shape == (4, 5)
    assert (posterior.variance > 0).all()
    assert decoded.shape == images.shape


def test_a_model_of_two_grids_draws_the_bands_of_both():
    torch.manual_seed(0)
    posterior, decoded = VariationalAutoencoder(CONDITIONED)(conditioned_inputs(4))
    assert posterior.mean.shape == (4, 5) and decoded.shape == (4, 6, 32, 32)


def test_latents_do_not_depend_on_the_batch():
    encoder, inputs = trained(), conditioned_inputs(6)
    torch.testing.assert_close(encoder(inputs).mean[2:3], encoder(inputs[2:3]).mean)


def test_conditions_change_nothing_before_training():
    torch.manual_seed(0)
    encoder, inputs = Encoder(CONDITIONED).eval(), conditioned_inputs(4)
    other = Inputs(inputs.images, inputs.conditions + 1)
    assert torch.equal(encoder(inputs).mean, encoder(other).mean)
    assert not torch.equal(trained()(inputs).mean, trained()(other).mean)


def test_one_step_of_training_reaches_the_conditions():
    """A loss that asks for the first condition moves the modulation from zero."""
    torch.manual_seed(0)
    encoder, inputs = Encoder(CONDITIONED), conditioned_inputs(16)
    step = torch.optim.SGD(encoder.parameters(), 0.1)
    (encoder(inputs).mean[:, 0] - inputs.conditions[:, 0]).square().mean().backward()
    step.step()
    other = Inputs(inputs.images, inputs.conditions + 1)
    assert (encoder(inputs).mean - encoder(other).mean).abs().max() > 1e-4


def test_conditions_scale_and_shift_the_features():
    """Recompute the last layer with numpy from the features before it."""
    encoder, inputs = trained(), conditioned_inputs(3)
    last, kept = encoder.body.last, {}
    last.register_forward_hook(lambda _, given, made: kept.update(made=made.detach()))
    with torch.no_grad():
        found = encoder.features(inputs).numpy()
        change = encoder.body.modulation(inputs.conditions).numpy()[:, -2 * 32 :]
        before = torch.nn.functional.gelu(kept["made"]).numpy()
    np.testing.assert_allclose(found, before * (1 + change[:, :32]) + change[:, 32:], rtol=1e-4)


def test_a_corrected_encoder_sees_corrected_inputs():
    plain, inputs = trained(), conditioned_inputs(4)
    correction = InstrumentCorrection(bands=3, grids=2, conditions=17)
    with torch.no_grad():
        correction.log_gain.copy_(torch.tensor([0.1, -0.2, 0.3]))
    corrected = plain.corrected(correction)
    torch.testing.assert_close(corrected(inputs).mean, plain(correction(inputs)).mean)
    assert not torch.equal(corrected(inputs).mean, plain(inputs).mean)
    assert isinstance(plain.correction, torch.nn.Identity)


@pytest.mark.parametrize("corrected", [False, True])
def test_pooled_galaxy_latents_of_rotated_images_are_the_same(corrected):
    torch.manual_seed(0)
    sizes = CONDITIONED.model_dump() | {"symmetric": True, "nuisance_latents": 2}
    encoder, inputs = Encoder(Architecture(**sizes)).eval(), conditioned_inputs(2)
    if corrected:
        correction = InstrumentCorrection(bands=3, grids=2, conditions=17)
        torch.nn.init.normal_(correction.sky, std=0.2)
        encoder = encoder.corrected(correction)
    expected = encoder.pooled(inputs).mean[:, :3]
    for k in range(SYMMETRIES):
        turned = inputs.with_images(apply_symmetry(inputs.images, k))
        torch.testing.assert_close(encoder.pooled(turned).mean[:, :3], expected)


def test_sky_may_be_negative():
    torch.manual_seed(0)
    images = Decoder(SMALL)(torch.randn(8, 5))
    assert images.min() < 0 < images.max()


@pytest.mark.parametrize(
    "change",
    [{}, {"pixels": 30}, {"patch": 2}, {"kind": "galaxy-vae", "widths": (8, 16)}],
)
@pytest.mark.parametrize("planes", [slice(0, 3), slice(3, 6), slice(1, 2)])
def test_single_planes_are_those_of_the_whole_image(change, planes):
    torch.manual_seed(1)
    decoder = Decoder(CONDITIONED.model_copy(update=change)).eval()
    latents = torch.randn(4, 5)
    with torch.inference_mode():
        expected, found = decoder(latents)[:, planes], decoder(latents, planes)
    assert found.std() > 0
    torch.testing.assert_close(found, expected)


def test_draws_follow_the_posterior():
    torch.manual_seed(0)
    model = VariationalAutoencoder(SMALL)
    model.decoder = torch.nn.Identity()
    images = torch.randn(1, 3, 32, 32).expand(20_000, -1, -1, -1)
    posterior, draws = model(Inputs.plain(images))
    np.testing.assert_allclose(draws.mean(0).detach(), posterior.mean[0].detach(), atol=0.04)
    np.testing.assert_allclose(draws.var(0).detach(), posterior.variance[0].detach(), rtol=0.05)

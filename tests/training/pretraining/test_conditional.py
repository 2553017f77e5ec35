import pytest
import torch

from galaxy_da.errors import StorageError
from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Architecture
from training.pretraining.conditional import (
    ConditionalAutoencoder,
    load_conditional,
    save_conditional,
)
from training.pretraining.learner import Batch

SMALL = Architecture(
    pixels=16, bands=2, patch=2, widths=(8, 8), blocks=(1, 1), features=16, latents=4
)
CONDITIONS = ("cvae", "cvae2", "cvae-predict")


def make(condition, seed=0):
    torch.manual_seed(seed)
    model = ConditionalAutoencoder(SMALL, condition, centre=0.5, spread=0.2)
    for parameter in model.parameters():  # away from the zeros of the initial state
        torch.nn.init.normal_(parameter, std=0.2)
    return model.requires_grad_(False).eval()


def batch(n, redshift):
    images = torch.randn(n, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.full((n,), redshift), torch.full((n,), -1))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_at_one_redshift_it_is_a_plain_autoencoder(condition):
    model, some = make(condition), batch(5, 0.83)
    posterior, _ = model.encode(some)
    plain = model.plain(0.83)
    same = plain.encoder(Inputs.plain(some.images))
    torch.testing.assert_close(same.mean, posterior.mean)
    torch.testing.assert_close(same.variance, posterior.variance)
    torch.testing.assert_close(
        plain.decoder(posterior.mean), model.decode(posterior.mean, some.redshift)
    )


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_redshift_enters_where_it_should(condition):
    model = make(condition)
    near, far = (model.encode(batch(5, z))[0].mean for z in (0.1, 0.9))
    assert torch.equal(near, far) == (condition == "cvae-predict")
    latents = torch.randn(5, 4)
    decoded = [model.decode(latents, torch.full((5,), z)) for z in (0.1, 0.9)]
    assert not torch.allclose(*decoded)


def test_only_one_of_them_predicts():
    some = batch(5, 0.5)
    model = make("cvae-predict")
    scaled = model.encode(some)[1]
    torch.testing.assert_close(model.predict(some.images), 0.5 + 0.2 * scaled)
    with pytest.raises(ValueError, match="cvae2 does not predict redshifts"):
        make("cvae2").predict(some.images)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_it_is_saved_and_loaded(condition, tmp_path):
    model, some = make(condition), batch(3, 0.4)
    save_conditional(model, tmp_path)
    again = load_conditional(tmp_path)
    assert torch.equal(again.reconstruct(some), model.reconstruct(some))


def test_a_folder_without_one_and_equal_redshifts_are_refused(tmp_path):
    with pytest.raises(StorageError, match="holds no conditional network"):
        load_conditional(tmp_path)
    with pytest.raises(ValueError, match=r"must differ.*spread by 0"):
        ConditionalAutoencoder(SMALL, "cvae", centre=0.5, spread=0.0)
